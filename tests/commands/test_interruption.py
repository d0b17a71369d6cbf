"""Ctrl-C and SIGTERM: the exit status, and what is left behind."""

from __future__ import annotations

import signal
import sys

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.barriers import Barrier
from tests.laboratory.libraries import make_library
from tests.laboratory.libraries import uses
from tests.laboratory.pausing import Pause
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project
    from tests.laboratory.running import Running

WHEELS = ("interrupted-a", "interrupted-b")
INSTALLING = "poetry.installation.wheel_installer:WheelInstaller.install:after"


@pytest.fixture
def project(
    new_project: Callable[..., Project], index: LocalIndex, tmp_path: Path
) -> Project:
    """It depends on a library whose backend waits at a barrier while it builds."""
    make_library(tmp_path / "lib", "in-tree", index.url)
    project = new_project("one", **uses("lib"))
    project.lock()
    return project


@pytest.fixture
def of_wheels(new_project: Callable[..., Project], own_folder: Path) -> Project:
    for name in WHEELS:
        Distribution(name, "1.0").wheel(own_folder)
    project = new_project("wheels", dependencies=WHEELS)
    project.lock()
    return project


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_sigterm_ends_all_at_once(
    project: Project,
    home: PoetryHome,
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    venv, temporary = new_venv("environment"), tmp_path / "temporary"
    temporary.mkdir()
    with Barrier("building") as building:
        more = {**building.environment, "TMPDIR": str(temporary)}
        running = project.start(home, "install", venv=venv, environ=more)
        backend = building.arrival()
        assert list(temporary.iterdir())
        running.send_signal(signal.SIGTERM)

        assert running.result(timeout=30).code == 143

        assert not _is_running(backend.pid)
    # Poetry's ``Chef`` makes one that it never removes.
    left = [path for path in temporary.iterdir() if "poetry-chef-" not in path.name]
    assert left == []
    (tmp_path / "lib" / "busy").unlink()  # the backend's own, which was killed
    project.poetry(home, "install", venv=venv).succeeded()
    assert _has_library(venv)


def test_the_first_interrupt_lets_threads_end(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    venv = new_venv("environment")
    with Pause(INSTALLING) as pause:
        running = project.start(home, "install", venv=venv, environ=pause.environment)
        arrival = pause.arrival()
        running.send_signal(signal.SIGINT)
        running.says("Another Ctrl-C ends it at once")
        arrival.let_go()
        assert running.result().code == 130
    assert _has_library(venv)


def test_an_interrupt_while_a_thread_is_started(
    of_wheels: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    """Python waits indefinitely for one that it has started and does not know of."""
    project, venv = of_wheels, new_venv("environment")
    environ = {"POETRY_INSTALLER_MAX_WORKERS": "1"}
    command = partial(project.start, home, "install", venv=venv)
    assert interrupted("threading:Thread.start:after", command, environ) == 130
    project.poetry(home, "install", venv=venv).succeeded()


def test_an_interrupt_between_operations(
    of_wheels: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    """Where one is executed after the other, the next one is not executed."""
    project, venv = of_wheels, new_venv("environment")
    project.poetry(home, "install", venv=venv).succeeded()
    removal = "poetry.installation.executor:Executor._execute_uninstall:after"
    command = partial(project.start, home, "remove", *WHEELS, venv=venv)
    assert interrupted(removal, command) == 130
    left = list(venv.glob("lib/python*/site-packages/interrupted_*.dist-info/RECORD"))
    assert len(left) == 1


def test_an_interrupt_while_the_environment_is_created(
    project: Project, home: PoetryHome
) -> None:
    fresh = {"POETRY_VIRTUALENVS_PATH": str(project.path / "fresh")}
    with Pause("virtualenv.run.session:Session._seed:before") as pause:
        running = project.start(home, "install", environ={**fresh, **pause.environment})
        pause.arrival()
        running.send_signal(signal.SIGINT)
        assert running.result().code == 130
    project.poetry(home, "install", environ=fresh).succeeded()


def test_an_interrupt_as_a_command_ends(
    of_wheels: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    project, venv = of_wheels, new_venv("environment")
    project.poetry(home, "install", venv=venv).succeeded()
    place = "poetry_plugin_safe_install.locks.session:Session.release_all:before"
    command = partial(project.start, home, "install", venv=venv)
    assert interrupted(place, command) == 130
    project.poetry(home, "install", venv=venv).succeeded()


def test_nothing_is_said_where_poetry_says_nothing(
    new_project: Callable[..., Project], home: PoetryHome
) -> None:
    """Warnings that virtualenv logs come before Poetry's own listener for logs."""
    project = new_project()
    project.lock()
    fresh = {"POETRY_VIRTUALENVS_PATH": str(project.path / "fresh")}
    result = project.poetry(home, "install", "--no-root", "-q", environ=fresh)
    assert result.succeeded().out == ""
    assert list((project.path / "fresh").iterdir())


def test_the_second_interrupt_does_not_wait(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    venv = new_venv("environment")
    with Pause(INSTALLING) as pause:
        running = project.start(home, "install", venv=venv, environ=pause.environment)
        pause.arrival()
        while not running.has_ended:  # a signal may be taken for the first one
            running.send_signal(signal.SIGINT)
        # One that meets Python as it ends is its death, which a shell calls 130 too.
        assert running.result(timeout=30).code in (130, -signal.SIGINT)
    repaired = project.poetry(home, "install", venv=venv).succeeded()
    assert "Repaired: lib" in repaired.out
    assert _has_library(venv)


def interrupted(
    place: str, start: Callable[..., Running], environ: Mapping[str, str] | None = None
) -> int:
    """The status of a command that gets Ctrl-C at this place, and then goes on."""
    with Pause(place) as pause:
        running = start(environ={**(environ or {}), **pause.environment})
        arrival = pause.arrival()
        running.send_signal(signal.SIGINT)
        arrival.let_go()
        return running.result(timeout=60).code


def _has_library(venv: Path) -> bool:
    """Its path is on ``sys.path``, or its modules are in site-packages."""
    return any(venv.glob("lib/python*/site-packages/lib-1.0.dist-info/RECORD"))


def _is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
