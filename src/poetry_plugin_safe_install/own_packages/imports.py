"""Whether what some distributions import of some modules is there.

Run as a program of its own, with the names of both as JSON for its argument: it imports
what may be broken, and must see what a fresh process sees. It needs nothing of ours.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import sys

from importlib import metadata
from pathlib import Path


def statements(source: str, modules: set[str]) -> set[tuple[str, str]]:
    """The modules that are imported, each with a name in it, or with none.

    What stands in a ``try``, or is for type checkers or other systems alone, may be
    missing.
    """
    found = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Try):
            waiting += [*node.orelse, *node.finalbody]
        elif isinstance(node, ast.If):
            holds = holds_here(node.test)
            waiting += node.body if holds is not False else ()
            waiting += node.orelse if holds is not True else ()
        elif isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {(node.module or "", alias.name) for alias in node.names}
        else:
            waiting += ast.iter_child_nodes(node)
    return {one for one in found if one[0].partition(".")[0] in modules}


def holds_here(test: ast.expr) -> bool | None:
    """Whether a condition holds on this system and Python; ``None`` if it is another."""
    parts = list(ast.walk(test))
    if "TYPE_CHECKING" in ast.dump(test):
        return False
    names = {part.id for part in parts if isinstance(part, ast.Name)}
    called = any(isinstance(part, ast.Call) for part in parts)
    if called or not names or not names <= {"os", "sys"}:
        return None
    try:
        code = compile(ast.Expression(test), "<condition>", "eval")
        return bool(eval(code, {"os": os, "sys": sys}))
    except Exception:
        return None


def problem(module: str, name: str) -> str:
    """Why such an import fails; empty if it does not."""
    try:
        imported = importlib.import_module(module)
        if name not in ("", "*") and not hasattr(imported, name):
            importlib.import_module(f"{module}.{name}")
    except BaseException as error:  # a module may even end the process
        return f"{type(error).__name__}: {error}"
    return ""


def problems(importers: list[str], modules: set[str]) -> dict[str, str]:
    """What fails, in words, by the import statement and who needs it."""
    wanted: dict[tuple[str, str], str] = {}
    for importer in importers:
        try:
            files = metadata.distribution(importer).files or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            path = Path(str(file.locate()))
            if path.suffix != ".py" or not path.is_file():
                continue
            source = path.read_bytes().decode("utf-8", errors="replace")
            if any(module in source for module in modules):
                for statement in statements(source, modules):
                    wanted.setdefault(statement, importer)
    found = {}
    for (module, name), importer in sorted(wanted.items()):
        if why := problem(module, name):
            text = f"from {module} import {name}" if name else f"import {module}"
            found[f"{importer}: {text}"] = why
    return found


if __name__ == "__main__":
    importers, modules = json.loads(sys.argv[1])
    print(json.dumps(problems(importers, set(modules))))
