"""What is told to programs and to CI services while the protection does something."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import sys
import threading
import time

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cleo.io.buffered_io import BufferedIO

from poetry_plugin_safe_install import events
from poetry_plugin_safe_install.errors import LockTimeoutError
from poetry_plugin_safe_install.locks.lock import HeldLock
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import try_acquire
from poetry_plugin_safe_install.locks.session import Session
from tests.laboratory.changes import with_constants
from tests.laboratory.plugins import marker_plugin
from tests.laboratory.told import told


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

LONG_IS_ONE_SECOND = with_constants({f"{events.__name__}:LONG": 1.0})


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    return new_project()


@pytest.fixture
def venv(new_venv: Callable[..., Path]) -> Path:
    return new_venv("environment")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def hold(project: Project) -> Iterator[HeldLock]:
    """Somebody, this process in fact, holds the project."""
    lock = Lock(project.store / "project.lock", "the project")
    hold = try_acquire(lock, Mode.EXCLUSIVE, "poetry lock")
    assert hold
    yield hold
    hold.release()


def after_a_wait(
    project: Project,
    home: PoetryHome,
    venv: Path,
    hold: HeldLock,
    environ: dict[str, str],
) -> str:
    """What an install says that had to wait for more than a second."""
    arguments = ("install", "--no-root", "--quiet")
    environ = {**environ, **LONG_IS_ONE_SECOND}
    waiting = project.start(home, *arguments, venv=venv, environ=environ)
    waiters = project.store / "project.lock.waiters"
    while not (waiters.is_dir() and any(waiters.iterdir())):
        assert not waiting.has_ended
        time.sleep(0.01)
    hold.release()
    return waiting.result().succeeded().out


def test_nothing_happened(
    project: Project, home: PoetryHome, venv: Path, file: Path
) -> None:
    """Not a byte; that no module more is loaded is in the import budget."""
    environ = {
        events.VARIABLE: str(file),
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(file),
        "GITLAB_CI": "true",
    }
    for arguments in (("install",), ("install",), ("run", "true"), ("check",)):
        with_events = project.poetry(home, *arguments, venv=venv, environ=environ)
        assert "events" not in with_events.out  # nor that the variable is unknown
    assert not file.exists()


def test_seconds_as_another_clock_has_them(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(events.VARIABLE, str(file))
    lock = Lock(tmp_path / "some.lock", "something")
    seen: list[float] = []
    for mode in (Mode.EXCLUSIVE, Mode.SHARED):
        hold = try_acquire(lock, Mode.EXCLUSIVE, "holder")
        assert hold
        threading.Timer(1.5, hold.release).start()
        session = Session(BufferedIO(), "waiter", 60, lambda seconds, _: None)
        start = time.perf_counter()
        with session.beside_plan(lock, mode):
            seconds = time.perf_counter() - start
        seen.append(told(file)[-1]["seconds"])
        assert seen[-1] == pytest.approx(seconds, rel=0.05)
    assert len(told(file)) == len(seen)


def test_gave_up(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(events.VARIABLE, str(file))
    lock = Lock(tmp_path / "some.lock", "something")
    hold = try_acquire(lock, Mode.EXCLUSIVE, "holder")
    assert hold
    for timeout in (0, 0.2):
        session = Session(BufferedIO(), "waiter", timeout, lambda seconds, _: None)
        with pytest.raises(LockTimeoutError), session.beside_plan(lock, Mode.SHARED):
            pass
    hold.release()
    for waited, seconds in zip(told(file), (0, 0.2), strict=True):
        assert waited["outcome"] == "gave-up"
        assert waited["holder"].startswith("`holder` (pid ")
        assert waited["seconds"] == pytest.approx(seconds, abs=0.1)


def test_no_wait_is_told_of_a_command_that_only_asks(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks before it waits; the event is that of the wait."""
    monkeypatch.setenv(events.VARIABLE, str(file))
    lock = Lock(tmp_path / "some.lock", "something")
    hold = try_acquire(lock, Mode.EXCLUSIVE, "holder")
    assert hold
    session = Session(BufferedIO(), "waiter", 0.1, lambda seconds, _: None)
    with pytest.raises(LockTimeoutError):
        session.wait_until_ready([("now", "a", Mode.SHARED)], "now", [lock])
    hold.release()
    session.wait_until_ready([("now", "a", Mode.SHARED)], "now", [lock])
    (waited,) = told(file)
    assert waited["outcome"] == "gave-up"


def test_waited_in_github(
    project: Project, home: PoetryHome, venv: Path, file: Path, hold: HeldLock
) -> None:
    summary = file.with_name("summary.md")
    summary.write_text("# Some step\n\n")
    environ = {
        events.VARIABLE: str(file),
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    said = after_a_wait(project, home, venv, hold, environ)

    waited = told(file, "waited")[0]
    assert waited["command"] == "poetry install"
    assert waited["outcome"] == "taken"
    assert "`poetry lock` (pid " in waited["holder"]
    assert waited["seconds"] >= 1
    seconds = f"{waited['seconds']:.0f}"
    (notice,) = (line for line in said.splitlines() if line.startswith("::"))
    assert notice.startswith(f"::notice title=poetry install waited {seconds} s::")
    assert waited["holder"] in notice
    text = summary.read_text()
    assert text.startswith("# Some step\n\n\n| command | waited |")
    assert text.count("\n") == 6
    assert f"| poetry install | {seconds} s |" in text


def test_waited_in_gitlab(
    project: Project, home: PoetryHome, venv: Path, hold: HeldLock
) -> None:
    said = after_a_wait(project, home, venv, hold, {"GITLAB_CI": "true"})
    section = re.compile(
        r"\x1b\[0Ksection_start:(\d+):(\w+)\[collapsed=true\]\r\x1b\[0K"
        r"poetry install waited \d+ s\n"
        r"Waited \d+ s for the project .*last held by `poetry lock` .*\n"
        r"\x1b\[0Ksection_end:(\d+):\2\r\x1b\[0K\n"
    )
    found = section.search(said.replace("\r\n", "\n"))
    assert found, said
    assert int(found[3]) >= int(found[1])


def test_short_waits_are_no_news_to_ci(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    for variable in ("GITHUB_ACTIONS", "GITLAB_CI"):
        monkeypatch.setenv(variable, "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    events.waited("a thing", "a.lock", 9.9, "", "taken")
    assert capsys.readouterr().err == ""
    assert not file.exists()
    for _ in range(2):
        events.waited("a|thing", "a.lock", 10, "100 %\n::stop-commands::x", "taken")
    assert "100 %25%0A::stop-commands" in capsys.readouterr().err
    assert file.read_text().count("| command |") == 1
    assert len(file.read_text().splitlines()) == 5
    with file.open("a") as other:
        other.write("\nSomething else\n")
    events.waited("a thing", "a.lock", 10, "", "taken")
    assert file.read_text().count("| command |") == 2


def test_two_begin_the_table_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    """All that waited for one command are released at once: there are two tables then."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    monkeypatch.setattr(events, "_ends_with_table", lambda summary: False)
    for _ in range(2):
        events.waited("a thing", "a.lock", 10, "", "taken")
    tables = file.read_text().split("\n\n")
    assert [table.count("\n") for table in map(str.strip, tables)] == [2, 2]


def test_file_that_cannot_be_written(
    project: Project, home: PoetryHome, venv: Path, tmp_path: Path, hold: HeldLock
) -> None:
    environ = {events.VARIABLE: str(tmp_path)}
    said = after_a_wait(project, home, venv, hold, environ)
    assert said.count(f"{events.VARIABLE} {tmp_path} cannot be written: Is a dir") == 1


FULL = """
import os, resource, sys
from poetry_plugin_safe_install import events
path, room = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))  # a disk that is nearly full
events.tell("repaired", what="x" * 1000, place="y")
"""


def test_no_half_line_where_there_is_no_room(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("resource", reason="file sizes are limited on POSIX only")
    monkeypatch.setenv(events.VARIABLE, str(file))
    events.tell("repaired", what="before", place="y")
    size = file.stat().st_size
    for room in (size + 500, size):
        command = [sys.executable, "-c", FULL, str(file), str(room)]
        full = subprocess.run(command, capture_output=True, text=True)
        assert full.returncode == 0, full.stderr
        assert f"{events.VARIABLE} {file} cannot be written: " in full.stderr
        assert file.stat().st_size == size
    events.tell("repaired", what="after", place="y")
    assert [one["what"] for one in told(file)] == ["before", "after"]


def test_plugin_set_made_and_copied(
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    venv: Path,
    file: Path,
    tmp_path: Path,
) -> None:
    marker_plugin("told", "1.0").wheel(own_folder)
    environ = {events.VARIABLE: str(file), "POETRY_CACHE_DIR": str(tmp_path / "cache")}
    for name in ("first", "second"):
        project = new_project(name, requires_plugins='told = "*"')
        arguments = ("install", "--no-root")
        project.poetry(home, *arguments, venv=venv, environ=environ).succeeded()
    sets = told(file, "plugin-set")
    assert [one["origin"] for one in sets] == ["made", "copied"]
    for one in sets:
        assert [*Path(one["store"]).glob(f"plugins/*/{one['name']}")]


def many(path: str) -> None:
    for number in range(200):
        events.tell("repaired", what="x" * 3000, place=str(number))


def test_several_processes_write_one_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(events.VARIABLE, str(file))
    processes = [
        multiprocessing.Process(target=many, args=(str(file),)) for _ in range(6)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = told(file)
    assert len(found) == 1200
    assert len({one["pid"] for one in found}) == 6


def test_command_without_what_may_be_secret(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(events.VARIABLE, str(file))
    publish = ["poetry", "-C", "there", "-v", "publish", "-p", "secret"]
    for argv, command in ((publish, "poetry publish"), (["poetry"], "poetry")):
        monkeypatch.setattr(sys, "argv", argv)
        events.tell("repaired", what="x", place="y")
        assert told(file)[-1]["command"] == command
    assert "secret" not in file.read_text()
