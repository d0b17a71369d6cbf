"""Imports point downwards: the floors are those of the diagram in the documentation."""

from __future__ import annotations

import ast
import re

from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import poetry_plugin_safe_install

from tests.laboratory import ROOT


if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = poetry_plugin_safe_install.__name__
SOURCE = Path(poetry_plugin_safe_install.__file__).parent
DIAGRAM = ROOT / "docs" / "how-it-works.md"
MODULES = {
    path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", ".")
    for path in SOURCE.rglob("*.py")
    if path.name != "__init__.py"
}


def floors() -> dict[str, int]:
    """The floor of each module at the top, and of each package."""
    found, floor = {}, 0
    diagram = DIAGRAM.read_text(encoding="utf-8").partition("```text")[2]
    for line in diagram.partition("```")[0].splitlines():
        if number := re.match(r" (\d) ", line):
            floor = int(number[1])
        for name in re.findall(r"(?:^ \d  |^    |, )(\w+)(?=\.py|/)", line):
            found[name] = floor
    return found


def imports(module: str) -> Iterator[str]:
    """The modules that it imports when it runs, in functions too."""
    path = SOURCE / f"{module.replace('.', '/')}.py"
    nodes: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            nodes += node.orelse
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(
            f"{PACKAGE}."
        ):
            for alias in node.names:
                name = f"{node.module}.{alias.name}".partition(".")[2]
                yield name if name in MODULES else name.rpartition(".")[0]


def test_every_module_has_a_floor() -> None:
    assert {module.partition(".")[0] for module in MODULES} == set(floors())


def test_imports_point_downwards() -> None:
    floor = floors()
    upwards = [
        f"{module} imports {other}"
        for module in sorted(MODULES)
        for other in imports(module)
        if floor[other.partition(".")[0]] > floor[module.partition(".")[0]]
    ]
    assert not upwards


def test_no_circle() -> None:
    TopologicalSorter({module: set(imports(module)) for module in MODULES}).prepare()


def test_compat_knows_plain_data_only() -> None:
    others = {
        (module, other)
        for module in MODULES
        if module.startswith("compat.")
        for other in imports(module)
        if other.partition(".")[0] != "compat"
    }
    assert {other for _, other in others} <= {"errors", "releases"}, others
