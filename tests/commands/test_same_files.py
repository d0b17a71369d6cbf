"""Two wheels of one install that bring the same file."""

from __future__ import annotations

import csv
import time

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.barriers import Barrier
from tests.laboratory.cases import thorough_but
from tests.laboratory.libraries import in_tree
from tests.laboratory.pausing import Pause
from tests.laboratory.poetries import poetry_home
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

REMOVES = "poetry_plugin_safe_install.environments.commit_point:finish_removal:before"
LONG_ENOUGH = 2.0
"""Seconds in which a package is written that nobody keeps from it."""

SIZES = {"alpha": 96 << 20, "beta": 48 << 20}
"""Bytes: so large that both threads are within one write for some tenths of a second."""


@pytest.mark.parametrize(
    ("version", "rounds"),
    thorough_but([("2.5.1", 2)], [("2.5.1", 2), ("2.0.1", 5), ("2.5.1", 5)]),
)
def test_the_file_is_wholly_one_and_always_the_same(
    version: str,
    rounds: int,
    new_project: Callable[..., Project],
    own_folder: Path,
    new_venv: Callable[..., Path],
) -> None:
    for name, size in SIZES.items():
        files = {f"{name}.py": "", "shared/data.txt": name[0] * size}
        Distribution(name, "1.7", files).wheel(own_folder)
    home = poetry_home(version)
    project = new_project(dependencies=tuple(SIZES))
    project.lock()
    for number in range(rounds):
        venv = new_venv(f"{version}-{number}")
        result = project.poetry(home, "install", "--no-root", venv=venv).succeeded()
        (site,) = venv.glob("lib/python*/site-packages")
        data = (site / "shared" / "data.txt").read_bytes()
        assert len(data) == SIZES["beta"]
        assert data.count(b"b") == len(data)
        assert "alpha and beta both bring data.txt" in " ".join(result.out.split())
        for name, size in SIZES.items():
            record = site / f"{name}-1.7.dist-info" / "RECORD"
            with record.open(newline="") as rows:
                sizes = {row[0]: row[2] for row in csv.reader(rows)}
            assert sizes["shared/data.txt"] == str(size)


def test_not_removed_when_another_package_has_brought_it(
    new_project: Callable[..., Project],
    own_folder: Path,
    new_venv: Callable[..., Path],
    home: PoetryHome,
) -> None:
    """One thread removes the old package while another writes a new one with its file."""
    for version in ("1.0", "2.0"):
        files = {"first.py": "", "second/common.py": ""}
        Distribution("first", version, files).wheel(own_folder)
    files = {"second/__init__.py": "", "second/common.py": ""}
    backend = in_tree("second", "2.0")
    Distribution("second", "2.0", files | backend).sdist(own_folder)
    venv = new_venv("environment")
    (site,) = venv.glob("lib/python*/site-packages")
    project = new_project(dependencies=("first==1.0",))
    project.lock()
    project.poetry(home, "install", "--no-root", venv=venv).succeeded()
    text = project.pyproject.read_text()
    both = text.replace('"first==1.0"', '"first==2.0", "second"')
    project.pyproject.write_text(both)
    project.lock()

    with Barrier("building") as building, Pause(REMOVES) as pause:
        environ = {**building.environment, **pause.environment}
        install = project.start(
            home, "install", "--no-root", venv=venv, environ=environ
        )
        built = building.arrival()
        removal = pause.arrival()
        built.let_go()
        # It waits, so that this never comes; otherwise it is undone.
        end = time.monotonic() + LONG_ENOUGH
        while time.monotonic() < end and not (site / "second-2.0.dist-info").exists():
            time.sleep(0.01)
        removal.let_go()
        install.result().succeeded()

    assert (site / "second" / "common.py").exists()
