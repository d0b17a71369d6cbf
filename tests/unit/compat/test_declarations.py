"""An internal of Poetry's cannot be used undeclared: the source is read for it."""

from __future__ import annotations

import ast
import sys

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import poetry_plugin_safe_install


if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(poetry_plugin_safe_install.__file__).parent
MODULES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))
COMPAT = [name for name in MODULES if name.startswith("compat/")]
MACHINERY = "compat/internals.py"
OTHERS = [name for name in MODULES if name not in COMPAT]

THEIRS = ("poetry", "cleo", "virtualenv", "build")

BASE_CLASSES = {
    "plugin.py": {"poetry.plugins.application_plugin.ApplicationPlugin"},
    "safe_install.py": {
        "cleo.commands.command.Command",
        "poetry.console.commands.install.InstallCommand",
    },
}
"""The public classes that the plugin and its command are made from."""

PUBLIC = ("cleo.exceptions", "cleo.formatters", "cleo.helpers", "cleo.io")
"""What of cleo is no internal: what plugins and commands are written with."""

DECLARED_IN = {"compat/http_cache.py": "compat/caches.py"}
"""A module that is imported only where its internals are known to be there."""

OF_PYTHON = ("_replace", "_multiarch", "_base_executable")
"""Of named tuples, ``sys.implementation`` and ``sys``."""


@cache
def tree(name: str) -> ast.Module:
    return ast.parse((SOURCE / name).read_text(encoding="utf-8"))


@cache
def declared(name: str, *ways: str) -> set[str]:
    """``poetry.module.Class.name`` of every internal that a module declares.

    In plain strings, or the name of a constant of the module.
    """
    constants = {
        node.targets[0].id: str(node.value.value)
        for node in tree(name).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    found = set()
    for node in ast.walk(tree(name)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr in (ways or ("uses", "around")):
            given = [
                *node.args,
                *(it.value for it in node.keywords if it.arg == "instead"),
            ]
            module, *names = (
                constants[it.id] if isinstance(it, ast.Name) else ast.literal_eval(it)
                for it in given
            )
            found |= {f"{module}.{name}" for name in names}
    return found


def imported(name: str) -> Iterator[str]:
    """The dotted name of all that is imported of theirs when the module runs."""
    for node, _ in walk(tree(name), ()):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name for name in names if name.partition(".")[0] in THEIRS)


def used(name: str) -> Iterator[str]:
    """The names, and where they stand, of what may be an internal of theirs.

    What is private, what is assigned to, and what is named in ``getattr``, ``setattr``
    and the like; not what belongs to a class of the plugin's own.
    """
    yield from (path for path in imported(name) if is_private(*path.split(".")))
    for node, around in walk(tree(name), ()):
        if isinstance(node, ast.Attribute):
            is_changed = not isinstance(node.ctx, ast.Load)
            if (is_private(node.attr) or is_changed) and not is_own(node, around):
                yield f"{node.lineno}.{node.attr}"
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.lineno}.{member}" for member in overridden(name, node))
        elif isinstance(node, (ast.Call, ast.Subscript)):
            yield from (f"{node.lineno}.{attribute}" for attribute in named(node))


def overridden(name: str, node: ast.ClassDef) -> Iterator[str]:
    """The private methods of a class that are methods of its base too."""
    bases = {getattr(base, "id", "") for base in node.bases}
    for path in imported(name):
        module, _, base = path.rpartition(".")
        if base in bases:
            theirs = getattr(import_module(module), base)
            for member in node.body:
                method = getattr(member, "name", "")
                if is_private(method) and hasattr(theirs, method):
                    yield method


def walk(
    node: ast.AST, around: tuple[ast.AST, ...]
) -> Iterator[tuple[ast.AST, tuple[ast.AST, ...]]]:
    """Every node that is run, with the classes and functions around it."""
    if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
        return
    yield node, around
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        around = (*around, node)
    for child in ast.iter_child_nodes(node):
        yield from walk(child, around)


def is_private(*names: str) -> bool:
    return any(name.startswith("_") and not name.endswith("__") for name in names)


def is_own(node: ast.Attribute, around: tuple[ast.AST, ...]) -> bool:
    """Whether this is an attribute of an object of a class of the plugin's."""
    owner = node.value
    if not isinstance(owner, ast.Name):
        return False
    if any(node.attr in methods(outer) for outer in around):
        return True
    for outer in reversed(around):
        if owner.id in ("self", "cls") and isinstance(outer, ast.ClassDef):
            return outer.name in own_classes()
        if isinstance(outer, ast.FunctionDef):
            given = (*outer.args.args, *outer.args.kwonlyargs)
            for argument in given:
                if argument.arg == owner.id and argument.arg not in ("self", "cls"):
                    return getattr(argument.annotation, "id", "") in own_classes()
    return owner.id in sys.stdlib_module_names


def methods(node: ast.AST) -> set[str]:
    """Those of a class. Whether one is an override, ``overridden`` finds out."""
    body = node.body if isinstance(node, ast.ClassDef) else []
    return {member.name for member in body if isinstance(member, ast.FunctionDef)}


@cache
def own_classes() -> set[str]:
    classes = {}
    for name in MODULES:
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.ClassDef):
                classes[node.name] = {getattr(base, "id", "") for base in node.bases}
    theirs = {path.rpartition(".")[2] for name in MODULES for path in imported(name)}
    return {name for name, bases in classes.items() if not bases & theirs}


def named(node: ast.Call | ast.Subscript) -> Iterator[str]:
    """Attributes that are named in a string."""
    name: ast.expr | None = None
    if isinstance(node, ast.Subscript):
        if is_vars(node.value):
            name = node.slice
    elif isinstance(node.func, ast.Attribute) and is_vars(node.func.value):
        name = node.args[0] if node.args else None
    elif getattr(node.func, "id", "") in ("getattr", "setattr", "hasattr", "delattr"):
        name = node.args[1]
    if isinstance(name, ast.Constant) and not str(name.value).endswith("__"):
        yield str(name.value)


def is_vars(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", "") == "vars"
    return getattr(node, "attr", "") == "__dict__"


@pytest.mark.parametrize("name", [name for name in COMPAT if name != MACHINERY])
def test_whatever_is_used_is_declared_beside_it(name: str) -> None:
    beside = declared(name) | declared(DECLARED_IN.get(name, name))
    names = {path.rpartition(".")[2] for path in beside}
    undeclared = [use for use in used(name) if use.rpartition(".")[2] not in names]
    assert not undeclared


@pytest.mark.parametrize("name", COMPAT)
def test_whatever_is_declared_is_used(name: str) -> None:
    lazy = [other for other, where in DECLARED_IN.items() if where == name]
    text = "".join((SOURCE / it).read_text(encoding="utf-8") for it in (name, *lazy))
    unused = [
        path
        for path in declared(name, "uses")
        if text.count(path.rpartition(".")[2]) < 2
    ]
    assert not unused


@pytest.mark.parametrize("name", OTHERS)
def test_internals_are_used_in_compat_only(name: str) -> None:
    names = {path.rpartition(".")[2] for path in declared(name)}
    private = [use for use in used(name) if is_private(use.rpartition(".")[2])]
    assert not [
        use for use in private if use.rpartition(".")[2] not in {*names, *OF_PYTHON}
    ]

    others = {path for path in imported(name) if not path.startswith(PUBLIC)}
    assert others <= BASE_CLASSES.get(name, set())
