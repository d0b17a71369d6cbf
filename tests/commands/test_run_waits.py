"""Commands that start the user's program wait until nobody changes the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.pausing import Pause
from tests.laboratory.told import told
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

HALF_INSTALLED = "poetry.installation.wheel_installer:install:before"
LEAF = Distribution("leaf", "1.0", {"leaf/__init__.py": ""})
USES_LEAF = ("run", "python", "-c", "import leaf; print('it is there')")


@pytest.fixture
def project(new_project: Callable[..., Project], own_folder: Path) -> Project:
    """One dependency, locked."""
    LEAF.wheel(own_folder)
    project = new_project(dependencies=("leaf",))
    project.lock()
    return project


def test_run_waits_for_an_install(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    venv = new_venv("environment")
    with Pause(HALF_INSTALLED) as pause:
        install = project.start(home, "install", venv=venv, environ=pause.environment)
        arrival = pause.arrival()
        run = project.start(home, *USES_LEAF, venv=venv)
        said = run.says("Waiting for the environment")
        assert "`poetry install`" in said
        assert str(install.pid) in said
        arrival.let_go()
        install.result().succeeded()
    assert "it is there" in run.result().succeeded().out


def test_run_warns_of_what_a_killed_install_has_left(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    venv = new_venv("environment")
    with Pause(HALF_INSTALLED.replace("before", "after")) as pause:
        install = project.start(home, "install", venv=venv, environ=pause.environment)
        pause.arrival()
        install.kill()

    result = project.poetry(home, "run", "true", venv=venv).succeeded()

    assert f"leaf is not whole in the environment {venv}" in result.out
    assert f"pid {install.pid}" in result.out
    assert "`poetry install`" in result.out
    file = project.path / "events.jsonl"
    environ = {"POETRY_SAFE_INSTALL_EVENTS": str(file)}
    repaired = project.poetry(home, "install", venv=venv, environ=environ).succeeded()
    assert "Repaired" in repaired.out
    assert [one["what"] for one in told(file, "repaired")] == ["leaf"]
    assert "whole" not in project.poetry(home, "run", "true", venv=venv).out
