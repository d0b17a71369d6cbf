"""Locks that an ancestor holds, seen from the processes that it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from typing import TYPE_CHECKING

import pytest

from poetry_plugin_safe_install.locks.descendants import VARIABLE
from poetry_plugin_safe_install.locks.descendants import announcement
from poetry_plugin_safe_install.locks.holders import holders
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import acquire
from poetry_plugin_safe_install.locks.lock import try_acquire


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from poetry_plugin_safe_install.locks.lock import HeldLock

CHILD = """\
import socket, sys
from pathlib import Path
from poetry_plugin_safe_install.errors import LockTimeoutError
from poetry_plugin_safe_install.locks.lock import Lock, Mode, acquire
if sys.argv[3]:
    socket.gethostname = lambda: sys.argv[3]
lock = Lock(Path(sys.argv[1]), "the thing")
try:
    held, _ = acquire(lock, getattr(Mode, sys.argv[2]), "child", timeout=0)
except LockTimeoutError:
    print("busy", flush=True)
    sys.exit()
print("held", flush=True)
sys.stdin.readline()
held.release()
print("released", flush=True)
"""


class Child:
    """A process that takes a lock, and releases it when it is told to."""

    def __init__(
        self, path: Path, mode: Mode, environ: dict[str, str], host: str = ""
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path), mode.value.upper(), host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        self.said = self._read()

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def release(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        assert self._read() == "released"
        self._process.communicate()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "thing.lock"


@pytest.fixture
def held(path: Path) -> Iterator[HeldLock]:
    """This process holds the lock and has told nobody."""
    lock = Lock(path, "the thing")
    held = try_acquire(lock, Mode.EXCLUSIVE, "parent")
    assert held
    yield held
    held.release()


def plain() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if name != VARIABLE}


def child(path: Path, mode: Mode, environ: dict[str, str]) -> str:
    one = Child(path, mode, environ)
    if one.said == "held":
        one.release()
    return one.said


def test_lock_of_one_build_is_announced_to_its_process_alone(
    held: HeldLock, path: Path
) -> None:
    """Two threads build; the process of the other one has to wait."""
    told = announcement(path)
    assert VARIABLE not in os.environ
    assert child(path, Mode.EXCLUSIVE, plain() | told) == "held"
    assert child(path, Mode.EXCLUSIVE, plain()) == "busy"


def test_lock_is_known_by_another_name(
    held: HeldLock, path: Path, tmp_path: Path
) -> None:
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path)
    environ = plain() | announcement(path)
    assert child(link / path.name, Mode.EXCLUSIVE, environ) == "held"


def test_lock_of_the_same_relative_name_is_another(
    held: HeldLock, path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    taken = try_acquire(Lock(other / path.name, "another"), Mode.EXCLUSIVE, "test")
    assert taken
    environ = plain() | announcement(path)
    assert child(other / path.name, Mode.EXCLUSIVE, environ) == "busy"
    taken.release()


def test_descendants_lock_is_removed_by_the_last_one(
    held: HeldLock, path: Path, tmp_path: Path
) -> None:
    environ = plain() | announcement(path)
    first = Child(path, Mode.SHARED, environ)
    second = Child(path, Mode.SHARED, environ)
    assert (first.said, second.said) == ("held", "held")
    first.release()
    assert child(path, Mode.EXCLUSIVE, environ) == "busy"
    second.release()
    assert not list(tmp_path.glob("*.within-*"))


def test_ancestor_is_found_without_the_variable(held: HeldLock, path: Path) -> None:
    assert child(path, Mode.EXCLUSIVE, plain()) == "busy"
    held.announce()
    assert child(path, Mode.EXCLUSIVE, plain()) == "held"


EMPTIED = """\
import os, subprocess, sys
environ = {name: text for name, text in os.environ.items() if name != sys.argv[1]}
sys.exit(subprocess.run(sys.argv[2:], env=environ).returncode)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_lock_of_one_build_is_found_below_its_process_without_the_variable(
    held: HeldLock, path: Path
) -> None:
    """The process of the build has been told; what it starts has been not."""
    command = [sys.executable, "-c", CHILD, str(path), "EXCLUSIVE", ""]

    def said(environ: dict[str, str]) -> str:
        below = [sys.executable, "-c", EMPTIED, VARIABLE, *command]
        told = subprocess.run(
            below, env=environ, input="\n", capture_output=True, text=True
        )
        return told.stdout.split()[0]

    assert said(plain() | announcement(path)) == "held"
    assert said(plain()) == "busy"
    held.release()
    other = Child(path, Mode.EXCLUSIVE, plain())
    assert said(plain() | announcement(path)) == "busy", "what was told is stale"
    other.release()


@pytest.mark.parametrize("host", ["", "another-host"])
def test_record_of_a_dead_holder_is_not_believed(path: Path, host: str) -> None:
    records = Lock(path, "the thing").records
    one = Child(path, Mode.SHARED, plain(), host)
    assert [record.command for record in holders(records)] == ["child"]
    one.kill()
    assert list(records.iterdir())
    assert holders(records) == []


def test_exclusive_lock_is_shared_without_releasing_it(path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux converts a lock in one step")
    lock = Lock(path, "the thing")
    held, _ = acquire(lock, Mode.EXCLUSIVE, "parent", timeout=0)
    assert child(path, Mode.SHARED, plain()) == "busy"
    assert held.share()
    assert [record.mode for record in holders(lock.records)] == ["shared"]
    assert child(path, Mode.SHARED, plain()) == "held"
    assert child(path, Mode.EXCLUSIVE, plain()) == "busy"
    held.release()
    assert child(path, Mode.EXCLUSIVE, plain()) == "held"


def test_descendant_of_a_sharer_excludes_the_other_sharers(path: Path) -> None:
    held = try_acquire(Lock(path, "the thing"), Mode.SHARED, "parent")
    assert held
    announced = plain() | announcement(path)
    other = Child(path, Mode.SHARED, plain())
    assert child(path, Mode.EXCLUSIVE, announced) == "busy"
    assert child(path, Mode.SHARED, announced) == "held"
    other.release()
    mine = Child(path, Mode.EXCLUSIVE, announced)
    assert mine.said == "held"
    assert child(path, Mode.SHARED, plain()) == "busy"
    mine.release()
    assert child(path, Mode.SHARED, plain()) == "held"
    held.release()
