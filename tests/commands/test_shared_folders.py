"""A removal beside an install, in a folder that both packages fill."""

from __future__ import annotations

import os
import shutil

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.poetries import poetry_home
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.projects import Project

FOLDERS = 3000
"""Of the package that is removed: so many that the other one is written meanwhile.

With these and 320 MB of the other one Poetry alone loses its file in the first round.
"""


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("version", ["2.0.1", "2.5.1"])
def test_soak_of_a_folder_of_two_packages(
    version: str,
    new_project: Callable[..., Project],
    own_folder: Path,
    new_venv: Callable[..., Path],
) -> None:
    """ROUNDS of an update of one package while another is installed."""
    rounds = int(os.environ.get("ROUNDS", "200"))
    many = {f"d{number:05}/x.py": "" for number in range(FOLDERS)}
    Distribution("ours", "1.0", {"ns/ours.py": "1", **many}).wheel(own_folder)
    Distribution("ours", "2.0", {"ns/ours.py": "2"}).wheel(own_folder)
    padding = {f"pad/{number}": "0" * (8 << 20) for number in range(40)}
    theirs = Distribution("theirs", "1.0", {**padding, "ns/theirs.py": "1"})
    theirs.wheel(own_folder)
    home = poetry_home(version)
    old = new_project("old", dependencies=("ours==1.0",))
    new = new_project("new", dependencies=("ours==2.0", "theirs"))
    for project in (old, new):
        project.poetry(home, "lock").succeeded()
    for number in range(rounds):
        venv = new_venv(f"{version}-{number}")
        old.poetry(home, "install", "--no-root", venv=venv).succeeded()
        new.poetry(home, "install", "--no-root", venv=venv).succeeded()
        (site,) = venv.glob("lib/python*/site-packages")
        found = {path.name: path.read_text() for path in (site / "ns").glob("*.py")}
        assert found == {"ours.py": "2", "theirs.py": "1"}, number
        assert not list(site.glob("d0*"))
        shutil.rmtree(venv)
    print(f"Poetry {version}: {rounds} rounds")
