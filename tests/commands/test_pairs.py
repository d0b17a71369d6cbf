"""``add`` and ``remove``, ended between their two files: both as before, or both new."""

from __future__ import annotations

import signal

from typing import TYPE_CHECKING

import pytest
import tomllib

from tests.laboratory.cases import thorough_but
from tests.laboratory.pausing import Pause
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

OLDEST = POETRY_VERSIONS[0]
DYNAMIC = "[tool.poetry-dynamic-versioning]\nenable = true\n"
ENVIRON = {"POETRY_DYNAMIC_VERSIONING_BYPASS": "9.9.9"}
BETWEEN = "poetry.installation.installer:Installer.run:after"
"""poetry.lock is replaced, pyproject.toml is about to be."""

REWRITTEN = "poetry_dynamic_versioning.plugin:_patch_dependency_versions:before"
REVERTED = "poetry_dynamic_versioning.plugin:_revert_version:after"
ADD, REMOVE = ("add", "--lock", "late-leaf"), ("remove", "--lock", "early-bud")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
CASES = [(how, command) for command in (ADD, REMOVE) for how in SIGNALS]


@pytest.fixture
def project(new_project: Callable[..., Project], own_folder: Path) -> Project:
    for name in ("late-leaf", "early-bud"):
        module = name.replace("-", "_")
        Distribution(name, "1.0", {f"{module}/__init__.py": ""}).wheel(own_folder)
    made = new_project(tail=DYNAMIC, dependencies=("early-bud (>=1.0)",))
    made.lock()
    return made


def end_between(
    project: Project, home: PoetryHome, how: signal.Signals, command: tuple[str, ...]
) -> None:
    lock = project.path / "poetry.lock"
    locked, asked = lock.read_text(), asked_for(project)
    with Pause(BETWEEN) as pause:
        environ = {**ENVIRON, **pause.environment}
        ended = project.start(home, *command, environ=environ)
        pause.arrival()
        assert lock.read_text() != locked
        ended.send_signal(how)
        ended.result()

    if how is signal.SIGINT:  # its own ending does it
        assert lock.read_text() == locked
    installed = project.poetry(home, "install", "--dry-run", environ=ENVIRON)

    installed.succeeded()
    assert (how is signal.SIGINT) == ("Put back" not in installed.out), installed.out
    assert "changed since" not in installed.out
    assert lock.read_text() == locked
    assert asked_for(project) == asked
    assert list(project.store.glob("*.json")) == []
    project.poetry(home, *command, environ=ENVIRON).succeeded()
    assert lock.read_text() != locked


def asked_for(project: Project) -> object:
    """All of pyproject.toml; the plugin moves a line of it when it takes effect."""
    return tomllib.loads(project.pyproject.read_text())


@pytest.mark.parametrize(("how", "command"), thorough_but(CASES[2:3], CASES))
def test_ended_between_the_two_with_dynamic_versioning(
    how: signal.Signals,
    command: tuple[str, ...],
    project: Project,
    dynamic_home: PoetryHome,
) -> None:
    """It has put back pyproject.toml before anybody looks: not to what it was to a byte."""
    end_between(project, dynamic_home, how, command)


@pytest.mark.parametrize(("how", "command"), thorough_but(CASES[::2], CASES))
def test_ended_between_the_two(
    how: signal.Signals, command: tuple[str, ...], project: Project, home: PoetryHome
) -> None:
    end_between(project, home, how, command)


@pytest.mark.matrix
@pytest.mark.parametrize("version", [v for v in POETRY_VERSIONS if v != NEWEST])
def test_interrupted_between_the_two_on_every_poetry(
    version: str, project: Project, tmp_path: Path
) -> None:
    home = poetry_home(version).clone(tmp_path / "home")
    home.pip_install("poetry-dynamic-versioning")
    for command in (ADD, REMOVE):
        end_between(project, home, signal.SIGINT, command)


def test_killed_when_the_plugin_is_done(
    project: Project, dynamic_home: PoetryHome
) -> None:
    """Both files are right by then."""
    with Pause(REVERTED) as pause:
        environ = {**ENVIRON, **pause.environment}
        add = project.start(dynamic_home, *ADD, environ=environ)
        pause.arrival()
        add.kill()
    files = [project.pyproject, project.path / "poetry.lock"]
    texts = [file.read_text() for file in files]
    assert all("late-leaf" in text for text in texts)

    installed = project.poetry(dynamic_home, "install", "--dry-run", environ=ENVIRON)

    assert "ut back" not in installed.succeeded().out
    assert "changed since" not in installed.out
    assert [file.read_text() for file in files] == texts


@pytest.mark.parametrize("command", [("lock",), ADD])
def test_interrupted_where_the_plugin_is_not_told(
    command: tuple[str, ...], project: Project, dynamic_home: PoetryHome
) -> None:
    """Where Ctrl-C hits no command, but a listener, there is no TERMINATE for it."""
    before = project.pyproject.read_bytes()
    with Pause(REWRITTEN) as pause:
        environ = {**ENVIRON, **pause.environment}
        interrupted = project.start(dynamic_home, *command, environ=environ)
        pause.arrival()
        assert "enable = false" in project.pyproject.read_text()
        interrupted.send_signal(signal.SIGINT)
        assert interrupted.result().code == 130

    assert project.pyproject.read_bytes() == before
    assert list(project.store.glob("*.json")) == []
