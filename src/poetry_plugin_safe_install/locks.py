"""Locks between processes: try, tell, wait, and let go.

A lock cannot be had without saying what it guards and who asks, so that a waiter
can always be told whom it waits for. The mechanism is filelock's; only the shared
lock of POSIX, which filelock does not offer on the same file, is taken here with
``flock``. Why the lock file is never removed and why a lock lies beside what it
guards: https://py-filelock.readthedocs.io/en/latest/how-to.html
"""

from __future__ import annotations

import os
import sys
import time

from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING
from typing import NamedTuple

from poetry_plugin_safe_install.errors import LockTimeoutError
from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.store import FILE_MODE
from poetry_plugin_safe_install.store import make_directory


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Protocol

    class WaitReport(Protocol):
        """What a waiter tells the user; called about once a second after the first."""

        def __call__(
            self,
            lock: Lock,
            holders: list[Holder],
            waited: float,
            timeout: float | None,
        ) -> None: ...


try:
    import fcntl
except ImportError:  # Windows
    HAS_FLOCK = False
else:
    HAS_FLOCK = True

POLL_INTERVAL = 0.01
"""Seconds between two tries. A try costs two system calls."""

FIRST_REPORT = 1.0
"""Seconds a waiter stays silent."""


class Mode(Enum):
    EXCLUSIVE = "exclusive"
    SHARED = "shared"


class Holder(NamedTuple):
    """Who holds a lock, as recorded beside it for those who wait."""

    command: str
    pid: int
    host: str
    user: str
    since: float
    mode: str

    def __str__(self) -> str:
        since = time.strftime("%H:%M:%S", time.localtime(self.since))
        return (
            f"`{self.command}` (pid {self.pid} on {self.host},"
            f" user {self.user}) since {since}"
        )


class Lock(NamedTuple):
    """A lock to be had: where it is, and what it guards in the user's words."""

    path: Path
    guards: str

    @property
    def records(self) -> Path:
        """The directory of holder records, beside the lock."""
        return self.path.with_name(self.path.name + ".holders")


class Hold:
    """A lock that is held until ``release``, or until the process ends."""

    def __init__(
        self, lock: Lock, mode: Mode, let_go: Callable[[], None], record: Path | None
    ) -> None:
        self.lock = lock
        self.mode = mode
        self._let_go: Callable[[], None] | None = let_go
        self._record = record

    def release(self) -> None:
        """Let go. Doing so twice is harmless."""
        if self._let_go is None:
            return
        let_go, self._let_go = self._let_go, None
        if self._record:
            with suppress(OSError):
                self._record.unlink()
        let_go()


def acquire(
    lock: Lock,
    mode: Mode,
    command: str,
    *,
    timeout: float | None,
    report: WaitReport | None = None,
) -> tuple[Hold, float]:
    """Take a lock, waiting for it if need be.

    :param command: what the holder does, for those who wait for it.
    :param timeout: seconds to wait at most; ``None`` for ever, 0 not at all.
    :param report: told once a second whom we wait for, after the first second.
    :return: the hold and the seconds that were waited, 0 if the lock was free.
    :raises LockTimeoutError: naming the holder and how to wait longer.
    :raises LockUnavailableError: if the lock file cannot be made or locked.
    """
    start = time.monotonic()
    next_report = FIRST_REPORT
    waited = 0.0
    while True:
        if hold := try_acquire(lock, mode, command):
            return hold, waited
        waited = time.monotonic() - start
        if timeout is not None and waited >= timeout:
            raise LockTimeoutError(_timeout_message(lock, waited))
        if report and waited >= next_report:
            next_report += 1
            report(lock, holders(lock), waited, timeout)
        time.sleep(POLL_INTERVAL)


def try_acquire(lock: Lock, mode: Mode, command: str) -> Hold | None:
    """Take a lock if it is free this moment."""
    try:
        shared = mode is Mode.SHARED and HAS_FLOCK
        let_go = _try_shared(lock.path) if shared else _try_exclusive(lock.path)
    except OSError as error:
        raise LockUnavailableError(
            f"The lock of {lock.guards} cannot be taken:"
            f" {error.strerror or error} ({lock.path})."
        ) from error
    if let_go is None:
        return None
    return Hold(lock, mode, let_go, _record_holder(lock, mode, command))


def is_contended(lock: Lock) -> bool:
    """Whether somebody holds the lock exclusively this moment. Creates nothing."""
    if not lock.path.exists():
        return False
    let_go = _try_shared(lock.path) if HAS_FLOCK else _try_exclusive(lock.path)
    if let_go is None:
        return True
    let_go()
    return False


def holders(lock: Lock) -> list[Holder]:
    """Who holds the lock, as far as it is recorded; the oldest first."""
    import json
    import socket

    host = socket.gethostname()
    found = []
    try:
        records = list(lock.records.glob("*.json"))
    except OSError:
        return []
    for record in records:
        try:
            holder = Holder(**json.loads(record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
        if holder.host != host or _is_alive(holder.pid):
            found.append(holder)
    return sorted(found, key=lambda holder: holder.since)


def _try_exclusive(path: Path) -> Callable[[], None] | None:
    from filelock import FileLock
    from filelock import Timeout

    os.close(_open(path))
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock.release


def _try_shared(path: Path) -> Callable[[], None] | None:
    """``flock(LOCK_SH)`` on the file that ``FileLock`` locks with ``LOCK_EX``."""
    if sys.platform == "win32":  # for mypy: there is no fcntl
        raise NotImplementedError
    fd = _open(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink == 0:  # removed since we opened it: guards nothing
            raise BlockingIOError
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return lambda: os.close(fd)


def _open(path: Path) -> int:
    """A descriptor of the lock file, which is made if need be.

    NFS makes a byte-range lock of ``flock`` and wants a descriptor that can write.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(path, flags, FILE_MODE)
    except FileNotFoundError:
        make_directory(path.parent)
        return os.open(path, flags, FILE_MODE)


def _record_holder(lock: Lock, mode: Mode, command: str) -> Path | None:
    """Say who holds the lock, beside it. A courtesy: failing to say so is no error."""
    import getpass
    import json
    import socket

    host = socket.gethostname()
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        user = "unknown"
    holder = Holder(command, os.getpid(), host, user, time.time(), mode.value)
    record = lock.records / f"{host}-{os.getpid()}.json"
    with suppress(OSError):
        if mode is Mode.EXCLUSIVE and lock.records.is_dir():
            for stale in lock.records.glob("*.json"):  # nobody else holds it now
                stale.unlink(missing_ok=True)
        make_directory(lock.records)
        fd = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(holder._asdict(), file)
        return record
    return None


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # os.kill would end it; an old record is the lesser evil
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _timeout_message(lock: Lock, waited: float) -> str:
    who = "\n".join(f"  - {holder}" for holder in holders(lock))
    held = f"It is held by\n{who}\n" if who else "Its holder left no record.\n"
    return (
        f"Gave up waiting for {lock.guards} after {waited:.0f} s.\n{held}"
        "Wait longer with POETRY_SAFE_INSTALL_LOCK_TIMEOUT=<seconds> (or none),"
        " or end that command and try again."
    )
