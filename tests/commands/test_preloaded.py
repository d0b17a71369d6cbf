"""A command that is forked for the tests is the one that users execute."""

from __future__ import annotations

import json
import os
import re
import signal

from typing import TYPE_CHECKING
from typing import Any

import pytest

from tests.laboratory import preloaded
from tests.laboratory.cases import thorough_but
from tests.laboratory.on_path import on_path
from tests.laboratory.pausing import Pause
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.preloaded import Preloaded
from tests.laboratory.running import Running
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

pytestmark = pytest.mark.skipif(
    not preloaded.CAN_FORK, reason="nothing is forked where there is no pidfd_open"
)

TELLING = """\
import json, os, signal, sys, tempfile
from poetry.plugins.application_plugin import ApplicationPlugin

class Plugin(ApplicationPlugin):
    def activate(self, application):
        said = json.dumps({
            "arguments": sys.argv,
            "original": sys.orig_argv,
            "path": sys.path,
            "directory": os.getcwd(),
            "environment": sorted(os.environ.items()),
            "descriptors": [
                os.readlink(f"/proc/self/fd/{n}").partition(":")[0]
                for n in os.listdir("/proc/self/fd")
                if os.path.exists(f"/proc/self/fd/{n}") or int(n) < 3
            ],
            "main": sys.modules["__main__"].__name__,
            "interrupt": signal.getsignal(signal.SIGINT).__name__,
            "group": os.getpgid(0),
            "temporary": tempfile.gettempdir(),
            "ours": "poetry_plugin_safe_install" in sys.modules,
        })
        print(said, flush=True)
"""


COMMANDS = (
    ("lock",),
    ("check",),
    ("install", "--dry-run"),
    ("install",),
    ("show",),
    ("add", "leaf"),
    ("run", "python", "-c", "import leaf, sys; sys.exit(3)"),
    ("update",),
    ("remove", "leaf"),
    ("sync",),
    ("safe-install",),
    ("safe-install", "--check"),
    ("build",),
    ("version", "1.0.1"),
    ("env", "info"),
    ("env", "list"),
    ("env", "use", "python"),
    ("config", "--local", "virtualenvs.in-project", "true"),
    ("cache", "list"),
    ("source", "show"),
    ("self", "show", "plugins"),
    ("new", "other"),
    ("about",),
    ("wrong",),
)


OFTEN = (("lock",), ("install",), ("run", "python", "-c", "import sys; sys.exit(3)"))
"""What most tests run."""


OFTEN_TESTED = (POETRY_VERSIONS[0], NEWEST)
"""Of the others few commands are forked."""


@pytest.mark.parametrize(
    ("version", "commands"),
    [
        pytest.param(NEWEST, OFTEN, id="often", marks=pytest.mark.thorough),
        *(
            pytest.param(
                version,
                COMMANDS,
                marks=pytest.mark.thorough
                if version in OFTEN_TESTED
                else pytest.mark.soak,
                id=version,
            )
            for version in POETRY_VERSIONS
        ),
    ],
)
def test_forked_or_executed_every_command_does_the_same(
    version: str,
    commands: tuple[tuple[str, ...], ...],
    new_project: Callable[..., Project],
    own_folder: Path,
    new_venv: Callable[..., Path],
) -> None:
    Distribution("leaf", "1.0", {"leaf/__init__.py": ""}).wheel(own_folder)
    home = poetry_home(version)
    said: list[list[tuple[int, str]]] = []
    with Preloaded(home, new_project("first").environment()) as poetry:
        for name in ("executed", "preloaded"):
            project, venv = new_project(name), new_venv(name)
            environ = project.environment(venv)
            results = [
                project.poetry(home, *command, venv=venv, around=("env",))
                if name == "executed"
                else poetry.run(project, *command, environ=environ)
                for command in commands
            ]
            said.append([(each.code, _generic(each.out, name)) for each in results])
    for command, executed, forked in zip(commands, *said, strict=True):
        assert forked == executed, command


def _generic(text: str, name: str) -> str:
    """Without what differs between two projects, and durations."""
    text = text.replace(f"/{name}", "/NAME")
    text = re.sub(r"demo-[\w-]{8}-py", "demo-HASH-py", text)
    return re.sub(r"\(?\d+\.\d+ ?s\)?", "SECONDS", text)


@pytest.mark.thorough
@pytest.mark.parametrize("version", POETRY_VERSIONS)
def test_its_process_is_as_if_it_were_executed(
    version: str,
    new_project: Callable[..., Project],
    own_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where a script runs it, forked or not."""
    home = poetry_home(version)
    scripts = on_path(home)
    entry = "[poetry.application.plugin]\ntelling = telling:Plugin\n"
    Distribution("telling", "1.0", {"telling.py": TELLING}, (), entry).wheel(own_folder)
    project = new_project(requires_plugins='telling = "*"')
    project.poetry(home, "install", "--no-root").succeeded()
    command = [str(home.executable), "--no-ansi", "check"]
    path = f"{scripts}:{os.environ['PATH']}"
    environ = project.environment(environ={"TMPDIR": str(own_folder), "PATH": path})
    said = []

    def run(command: list[str], **how: Any) -> None:
        running = Running(command, cwd=project.path, env=environ, **how)
        out = running.result().succeeded().out
        said.append(json.loads(out.splitlines()[0]))

    run(command)
    with Preloaded(home, environ) as poetry:
        run(command, begin=poetry.start)
    for forked in (False, True):
        monkeypatch.setattr(preloaded, "CAN_FORK", forked)
        run([str(scripts / "poetry"), *command[1:]])
    assert [one == said[0] for one in said] == [True] * 4, said


@pytest.mark.parametrize("forked", thorough_but([(True,)], [(True,), (False,)]))
def test_a_script_is_told_how_it_ended(
    forked: bool,
    home: PoetryHome,
    new_project: Callable[..., Project],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preloaded, "CAN_FORK", forked)
    project = new_project()
    script = """
        poetry run sh -c 'exit 3'; echo $?
        poetry wrong >out 2>error; echo $?; wc -l <out; grep -c wrong error
        echo input | poetry run cat
    """
    environ = project.environment()
    environ["PATH"] = f"{on_path(home)}:{environ['PATH']}"
    said = Running(["sh", "-c", script], cwd=project.path, env=environ)
    assert said.result().succeeded().out.split()[-5:] == ["3", "1", "0", "1", "input"]


@pytest.mark.thorough
def test_a_signal_ends_it(
    home: PoetryHome, new_project: Callable[..., Project]
) -> None:
    project = new_project()
    with Pause("poetry.puzzle.solver:Solver.solve:before") as pause:
        environ = project.environment(environ=pause.environment)
        with Preloaded(home, project.environment()) as poetry:
            command = [str(home.executable), "lock"]
            running = Running(
                command, begin=poetry.start, cwd=project.path, env=environ
            )
            assert pause.arrival().pid == running.pid
            assert not running.has_ended
            running.send_signal(signal.SIGKILL)
            assert running.result().code == -signal.SIGKILL
            assert running.has_ended
