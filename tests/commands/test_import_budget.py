"""What is loaded because of this plugin: a slow import shall be seen in review."""

from __future__ import annotations

import os
import subprocess
import sys

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.laboratory import ROOT


if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

BUDGET = ROOT / "tests" / "import_budget.txt"
COMMANDS = (("--version",), ("run", "true"))

MODULES = """\
import atexit, os, sys
os.execvpe = lambda *args, **kwargs: sys.exit(0)
atexit.register(lambda: print("modules:", *sorted(sys.modules)))
from poetry.console.application import main
main()
"""
"""Poetry up to where ``run`` becomes the user's program."""


def loaded(project: Project, home: PoetryHome, *arguments: str) -> set[str]:
    result = subprocess.run(
        [home.python, "-c", MODULES, *arguments],
        cwd=project.path,
        env=project.environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    return set(result.stdout.rpartition("modules: ")[2].split())


def test_modules_loaded_because_of_the_plugin(
    new_project: Callable[..., Project],
    home: PoetryHome,
    plain_home: PoetryHome,
) -> None:
    """``IMPORT_BUDGET=write`` writes the file anew."""
    about = f"Poetry {home.version}, Python {home.minor}"
    write = os.environ.get("IMPORT_BUDGET") == "write"
    made_with = BUDGET.read_text(encoding="utf-8").partition("\n")[0]
    if not write and about != made_with:
        pytest.skip(f"the budget is kept for {made_with}")
    project = new_project()
    project.lock()
    project.poetry(home, "install").succeeded()
    seen = [about]
    for arguments in COMMANDS:
        without = loaded(project, plain_home, *arguments)
        more = loaded(project, home, *arguments) - without
        seen += [
            f"poetry {' '.join(arguments)}",
            *(f"  {name}" for name in sorted(more)),
        ]
    if write:
        BUDGET.write_text("\n".join(seen) + "\n", encoding="utf-8")

    expected = BUDGET.read_text(encoding="utf-8").splitlines()

    assert seen == expected, (
        "If this is meant: IMPORT_BUDGET=write"
        f" {Path(sys.executable).name} -m pytest {Path(__file__).relative_to(ROOT)}"
    )
