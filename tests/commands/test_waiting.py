"""What a waiting command shows: in a terminal, piped, interrupted, at the timeout."""

from __future__ import annotations

import json
import re
import signal
import time

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cleo.io.buffered_io import BufferedIO
from cleo.io.outputs.output import Verbosity
from filelock import FileLock

from poetry_plugin_safe_install.locks import waiting
from poetry_plugin_safe_install.locks.clock import WaitClock
from poetry_plugin_safe_install.locks.line_report import LineReport
from poetry_plugin_safe_install.locks.lock import HeldLock
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import try_acquire
from poetry_plugin_safe_install.locks.waiting import WaitMessage
from tests.laboratory.changes import with_constants
from tests.laboratory.libraries import make_library
from tests.laboratory.libraries import uses
from tests.screens import Terminal
from tests.screens import assert_screen


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project


TEMPORARY = 75
"""EX_TEMPFAIL: the exit status where a lock was not to be had."""


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    return new_project()


@pytest.fixture
def venv(new_venv: Callable[..., Path]) -> Path:
    return new_venv("target")


@pytest.fixture
def hold(project: Project) -> Iterator[HeldLock]:
    """Somebody, this process in fact, holds the project."""
    lock = Lock(project.store / "project.lock", "the project")
    hold = try_acquire(lock, Mode.EXCLUSIVE, "poetry lock")
    assert hold
    yield hold
    hold.release()


def test_terminal(
    project: Project, home: PoetryHome, venv: Path, hold: HeldLock
) -> None:
    terminal = Terminal(project, home, "safe-install", "--no-root", venv=venv)
    terminal.until("1 s so far, 900 s at most")
    terminal.until("2 s so far")
    terminal.until("3 s so far, 900 s at most")
    places = {"project": project.path}
    joined = terminal.text.replace("\n", "")  # the text is longer than a row
    assert_screen("waiting-terminal", joined, places)

    hold.release()
    assert terminal.end() == 0
    assert "Waiting for" not in terminal.text
    summary = terminal.text[terminal.text.index("Protected:") :].replace("\n", "")
    assert_screen("summary-waited", summary, places)


@pytest.mark.thorough
def test_narrow_terminal_is_left_clean(
    project: Project, home: PoetryHome, venv: Path, hold: HeldLock
) -> None:
    terminal = Terminal(project, home, "install", "--no-root", venv=venv, columns=31)
    terminal.until("3 s so far")
    terminal.until("at most")
    assert terminal.text.replace("\n", "").count("Waiting for") == 1
    hold.release()
    assert terminal.end() == 0
    assert "Waiting" not in terminal.text


def test_piped(project: Project, home: PoetryHome, venv: Path, hold: HeldLock) -> None:
    """A line a second after the start, and one every so often after that.

    Colours that are forced on make no terminal of a log file.
    """
    assert waiting.REPEAT == 10.0
    often = with_constants({f"{waiting.__name__}:REPEAT": 2.0})
    running = project.start(
        home, "--ansi", "install", "--no-root", venv=venv, environ=often
    )
    running.says("1 s so far")
    running.says("3 s so far")
    hold.release()
    lines = running.result().succeeded().out.splitlines(keepends=True)
    shown = "".join(line for line in lines if "Waiting" in line)
    assert "\r" not in shown
    assert "\x1b" not in shown
    assert_screen("waiting-piped", shown, {"project": project.path})


def test_no_ansi_terminal(
    project: Project, home: PoetryHome, venv: Path, hold: HeldLock
) -> None:
    terminal = Terminal(
        project, home, "--no-ansi", "install", "--no-root", venv=venv, columns=300
    )
    terminal.until("Waiting for .*1 s so far, 900 s at most\r\n")
    hold.release()
    assert terminal.end() == 0
    assert "\x1b" not in terminal.raw


def test_quiet(project: Project, home: PoetryHome, venv: Path, hold: HeldLock) -> None:
    result = project.poetry(
        home, "-q", "safe-install", "--no-root", "--lock-timeout", "2", venv=venv
    )
    assert result.code == TEMPORARY
    assert result.out == ""


def test_silence_is_broken_once() -> None:
    """By whichever thread of the command waits then."""
    io = BufferedIO()
    io.set_verbosity(Verbosity.QUIET)
    lock = Lock(Path("project.lock"), "the project")
    clock = WaitClock()
    reports = (WaitMessage(io, clock), LineReport(io, None, clock))
    for waited in (1.0, 29.9, 30.0, 31.0, 60.0):
        for report in reports:
            report(lock, [], waited, 900.0)
    said = io.fetch_error().splitlines()
    assert said == [
        "Waiting for the project, held by another command: 30 s so far, 900 s at most"
    ]


def test_timeout_names_the_option_that_was_given(
    project: Project, home: PoetryHome, venv: Path, hold: HeldLock
) -> None:
    result = project.poetry(
        home, "safe-install", "--no-root", "--lock-timeout", "0", venv=venv
    )
    result.failed("To wait longer, give --lock-timeout a number of seconds or none")


def test_nothing_in_the_first_second(
    project: Project, home: PoetryHome, venv: Path, hold: HeldLock
) -> None:
    result = project.poetry(
        home, "safe-install", "--no-root", "--lock-timeout", "0.5", venv=venv
    )
    assert result.code == TEMPORARY
    assert "Waiting" not in result.out
    assert "Gave up waiting" in result.out


@pytest.mark.parametrize("where", ["terminal", "pipe"])
def test_interrupt(
    project: Project, home: PoetryHome, venv: Path, hold: HeldLock, where: str
) -> None:
    """Ctrl-C ends the wait at once, with the shells' status for it and no trace."""
    places = {"project": project.path}
    if where == "terminal":
        terminal = Terminal(project, home, "-v", "install", venv=venv)
        terminal.until("1 s so far")
        began = time.monotonic()
        terminal.child.sendintr()
        code = terminal.end()
        took = time.monotonic() - began
        shown = terminal.text[terminal.text.index("Interrupted") :].replace("\n", "")
    else:
        running = project.start(home, "install", venv=venv)
        running.says("Waiting")
        began = time.monotonic()
        running.send_signal(signal.SIGINT)
        result = running.result()
        took = time.monotonic() - began
        code, shown = result.code, result.out[result.out.index("Interrupted") :]
    assert code == 130
    assert took < 5
    assert "Traceback" not in shown
    assert_screen("interrupted", shown, places)


def test_environment_is_not_made_after_an_interrupt(
    project: Project, home: PoetryHome, hold: HeldLock, tmp_path: Path
) -> None:
    running = project.start(home, "install")
    running.says("Waiting")
    running.send_signal(signal.SIGINT)
    assert running.result().code == 130
    assert not (tmp_path / "venvs").exists()


@pytest.mark.parametrize(
    ("timeout", "screen"), [("1", "timeout"), ("0", "timeout-zero")]
)
def test_timeout(
    project: Project,
    home: PoetryHome,
    venv: Path,
    hold: HeldLock,
    timeout: str,
    screen: str,
) -> None:
    environ = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": timeout}
    result = project.poetry(home, "-vvv", "install", venv=venv, environ=environ)
    assert result.code == TEMPORARY
    error = "\n" + "\n".join(
        line
        for line in result.out.splitlines()
        if not line.startswith(("Waiting", "Loading", "[")) and line.strip()
    )
    assert_screen(screen, error, {"project": project.path})


def test_lock_that_cannot_be_taken(
    project: Project, home: PoetryHome, venv: Path
) -> None:
    (project.store / "project.lock").mkdir(parents=True)
    """Poetry works all the same, with one warning."""
    result = project.poetry(home, "install", venv=venv).succeeded()
    warning = result.out.partition("Updating")[0].partition("Installing")[0]
    assert_screen("lock-unavailable", warning, {"project": project.path})


OFTEN = with_constants({f"{waiting.__name__}:REPEAT": 1.0})
SEVERAL = (
    r"Gave up waiting for the environment \S+ after (\d) s \((\d+) s with the waits"
)


def test_one_clock_for_all_waits(
    project: Project, home: PoetryHome, venv: Path, hold: HeldLock
) -> None:
    """The project, then its environment: the time-out is for both together."""
    environment = FileLock(venv / ".poetry-safe-install.lock")
    with environment:
        command = "safe-install", "--no-root", "--lock-timeout", "12"
        running = project.start(home, *command, venv=venv, environ=OFTEN)
        running.says("4 s so far")
        hold.release()
        result = running.result().failed("Gave up waiting for the environment")
    assert result.code == TEMPORARY
    told = re.findall(r"(the \w+) .*: (\d+) s so far, 12 s at most", result.out)
    seconds = [int(number) for _, number in told]
    assert seconds == sorted(seconds), result.out
    assert {what for what, _ in told} == {"the project", "the environment"}
    assert min(int(number) for what, number in told if "env" in what) >= 5
    found = re.search(SEVERAL, result.out)
    assert found, result.out
    assert int(found[1]) < 9
    assert found[2] == "12"


def test_builds_that_wait_at_once_count_once(
    new_project: Callable[..., Project],
    index: LocalIndex,
    home: PoetryHome,
    venv: Path,
    tmp_path: Path,
) -> None:
    """Two threads of one command wait for a source tree each."""
    trees = [make_library(tmp_path / name, "in-tree", index.url) for name in "ab"]
    project = new_project("one", **uses("a", "b"))
    project.lock()
    events = tmp_path / "events"
    environ = {**OFTEN, "POETRY_SAFE_INSTALL_EVENTS": str(events)}
    with ExitStack() as stack:
        for tree in trees:
            lock = Lock(tree / ".poetry" / "safe-install" / "build.lock", "the tree")
            held = try_acquire(lock, Mode.EXCLUSIVE, "builder")
            assert held
            stack.callback(held.release)
        running = project.start(
            home, "safe-install", "--no-root", venv=venv, environ=environ
        )
        for tree in trees:
            running.says(f"Waiting for the source tree {tree}")
        running.says("5 s so far")
    out = running.result().succeeded().out
    told = [json.loads(line) for line in events.read_text().splitlines()]
    waits = [one["seconds"] for one in told if one["event"] == "waited"]
    assert len(waits) >= 2
    summary = re.search(r"waited (\d+) s for `builder`", out)
    assert summary, out
    assert int(summary[1]) < sum(waits) - 2
    assert int(summary[1]) > max(waits) - 1


def test_for_ever_says_so(
    project: Project, home: PoetryHome, venv: Path, hold: HeldLock
) -> None:
    running = project.start(
        home, "safe-install", "--no-root", "--lock-timeout", "none", venv=venv
    )
    running.says("1 s so far, no limit")
    hold.release()
    running.result().succeeded()


def test_record_with_control_characters(
    project: Project, home: PoetryHome, venv: Path, hold: HeldLock
) -> None:
    """A record is a file that others may write: it cannot play with the terminal."""
    hold.release()
    lock = Lock(project.store / "project.lock", "the project")
    evil = try_acquire(lock, Mode.EXCLUSIVE, "poetry \x1b[2J<error>add</error>")
    assert evil
    result = project.poetry(
        home, "safe-install", "--lock-timeout", "1.2", "--ansi", venv=venv
    )
    evil.release()
    assert "\x1b[2J" not in result.out
    told, gave_up = result.out.split("Gave up")
    assert "poetry ?[2J<error>add</error>" in told
    assert "poetry ?[2J<error>add</error>" in gave_up
