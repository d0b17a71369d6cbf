"""An environment that is not there: found missing and made in one go."""

from __future__ import annotations

import shutil
import subprocess

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.pausing import Pause
from tests.laboratory.preloaded import COUNTING
from tests.laboratory.pythons import pythons
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

FOUND_MISSING = (
    "poetry_plugin_safe_install.protection:ProtectedCommand._creating:before"
)
"""It is not there; others are kept away from here on while it is made."""

LEAF = Distribution("leaf", "1.0", {"leaf/__init__.py": ""})


@pytest.fixture
def project(new_project: Callable[..., Project], own_folder: Path) -> Project:
    LEAF.wheel(own_folder)
    project = new_project(dependencies=("leaf",))
    project.lock()
    return project


def environments(project: Project) -> Path:
    return Path(project.environ["POETRY_VIRTUALENVS_PATH"])


@pytest.mark.thorough
def test_one_that_somebody_makes_meanwhile_is_used(
    project: Project, home: PoetryHome
) -> None:
    inside = {"POETRY_VIRTUALENVS_IN_PROJECT": "true"}
    with Pause(FOUND_MISSING) as pause:
        install = project.start(
            home, "install", environ={**inside, **pause.environment}
        )
        arrival = pause.arrival()
        venv = project.path / ".venv"
        subprocess.run([home.python, "-m", "venv", venv], check=True)
        (venv / "mine").touch()
        arrival.let_go()
        said = install.result().succeeded().out
    assert "Creating virtualenv" not in said
    assert (venv / "mine").exists()
    assert [*venv.glob("lib/python*/site-packages/leaf")]


def test_one_that_is_chosen_meanwhile_is_used(
    project: Project, home: PoetryHome, plain_home: PoetryHome
) -> None:
    other = next((minor for minor in pythons() if minor != home.minor), None)
    if other is None:
        pytest.skip("needs another Python: install one with pyenv")
    use = project.poetry(plain_home, "env", "use", str(pythons()[other]))
    use.succeeded()
    choice = environments(project) / "envs.toml"
    told = choice.read_text()
    choice.unlink()
    with Pause(FOUND_MISSING) as pause:
        install = project.start(home, "install", environ=pause.environment)
        arrival = pause.arrival()
        choice.write_text(told)
        arrival.let_go()
        install.result().succeeded()
    (made,) = environments(project).glob("*/lib/python*/site-packages/leaf")
    assert made.parent.parent.name == f"python{other}"


@pytest.mark.thorough
def test_nothing_is_asked_twice(
    project: Project, home: PoetryHome, plain_home: PoetryHome, tmp_path: Path
) -> None:
    """It starts as many processes as plain Poetry."""
    started: dict[str, list[str]] = {}
    for name, poetry in (
        ("first", plain_home),  # it fills virtualenv's own cache
        ("plain", plain_home),
        ("protected", home),
    ):
        shutil.rmtree(environments(project), ignore_errors=True)
        environ = {"PYTHONPATH": COUNTING, "STARTED": str(tmp_path / name)}
        project.poetry(poetry, "install", environ=environ).succeeded()
        started[name] = (tmp_path / name).read_text().splitlines()
    assert started["protected"] == started["plain"]
