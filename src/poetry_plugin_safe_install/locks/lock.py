"""Locks between processes: try, tell, wait, and let go.

A lock cannot be had without saying what it guards and who asks, so that a waiter
can always be told whom it waits for. The mechanism is filelock's; only the shared
lock of POSIX, which filelock does not offer on the same file, is taken here with
``flock``. Why the lock file is never removed and why a lock lies beside what it
guards: https://py-filelock.readthedocs.io/en/latest/how-to.html
"""

from __future__ import annotations

import errno
import os
import sys
import time

from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from poetry_plugin_safe_install.errors import LockTimeoutError
from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.locks import descendants
from poetry_plugin_safe_install.locks.backend import Backend
from poetry_plugin_safe_install.locks.backend import SoftHolder
from poetry_plugin_safe_install.locks.backend import soft_lock
from poetry_plugin_safe_install.locks.backend import soft_path
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

    Try = Callable[[Callable[[], bool]], Callable[[], None] | None]
    """Takes a lock and returns what lets go of it, ``None`` if somebody else has it."""


try:
    import fcntl
except ImportError:  # Windows
    HAS_FLOCK = False
else:
    HAS_FLOCK = True

POLL_INTERVAL = 0.01
"""Seconds between two tries. A try costs two system calls."""

SOFT_POLL_INTERVAL = 0.1
"""The same where a try goes over a network."""

FIRST_REPORT = 1.0
"""Seconds a waiter stays silent."""


class Mode(Enum):
    EXCLUSIVE = "exclusive"
    SHARED = "shared"


class Holder:
    """Who holds a lock, as recorded beside it for those who wait.

    Like others here no named tuple: making one takes a thirtieth of what this plugin may
    cost a command.
    """

    def __init__(
        self, command: str, pid: int, host: str, user: str, since: float, mode: str
    ) -> None:
        self.command = command
        self.pid = pid
        self.host = host
        self.user = user
        self.since = since
        self.mode = mode

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        since = since.removeprefix(time.strftime("%Y-%m-%d "))
        return (
            f"`{self.command}` (pid {self.pid} on {self.host},"
            f" user {self.user}) since {since}"
        )


class Lock(NamedTuple):
    """A lock to be had: where it is, and what it guards in the user's words."""

    path: Path
    guards: str
    backend: Backend = Backend.NATIVE

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
        descendants.announce(lock.path)

    def release(self) -> None:
        """Let go. Doing so twice is harmless."""
        if self._let_go is None:
            return
        let_go, self._let_go = self._let_go, None
        descendants.withdraw(self.lock.path)
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
    attempt = Attempt(lock, mode, command)
    patience = Patience(attempt.lock, timeout, report)
    while True:
        if hold := attempt.once(patience.is_over):
            return hold, patience.waited
        if patience.is_over():
            text = _timeout_message(attempt.lock, patience.waited, timeout or 0)
            raise LockTimeoutError(text)
        time.sleep(POLL_INTERVAL)


class Patience:
    """How long somebody still waits for a lock, and tells so meanwhile."""

    def __init__(
        self, lock: Lock, timeout: float | None, report: WaitReport | None
    ) -> None:
        self._lock = lock
        self._timeout = timeout
        self._report = report
        self._start = time.monotonic()
        self._next_report = FIRST_REPORT
        self.waited = 0.0
        """Seconds; 0 until the lock was found to be taken."""

    def is_over(self) -> bool:
        """To be asked after each try that failed."""
        self.waited = time.monotonic() - self._start
        if self._timeout is not None and self.waited >= self._timeout:
            return True
        if self._report and self.waited >= self._next_report:
            self._next_report += 1
            self._report(self._lock, holders(self._lock), self.waited, self._timeout)
        return False


def try_acquire(lock: Lock, mode: Mode, command: str) -> Hold | None:
    """Take a lock if it is free this moment.

    :raises LockUnavailableError: if the lock file cannot be made or locked.
    """
    return Attempt(lock, mode, command).once(lambda: True)


class Attempt:
    """The wish to have a lock, to be tried again and again.

    A descendant of a holder locks another file in its stead: see ``nesting``.
    """

    def __init__(self, lock: Lock, mode: Mode, command: str) -> None:
        self._wanted = lock
        self.lock = lock._replace(path=descendants.among_siblings(lock.path))
        self._mode = mode
        self._command = command
        self._try = self._soft() if lock.backend is Backend.SOFT else self._native()

    def once(self, gives_up: Callable[[], bool]) -> Hold | None:
        """Try it.

        :param gives_up: asked now and then where a try takes longer than a moment.
        """
        try:
            let_go = self._try(gives_up)
        except (OSError, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or error
            raise LockUnavailableError(
                f"The lock of {self.lock.guards} cannot be taken: {why}"
                f" ({self.lock.path}).",
                getattr(error, "errno", errno.ENOSYS),  # filelock's NotImplementedError
            ) from error
        if let_go is None:
            return None
        record = _record_holder(self.lock, self._mode, self._command)
        if self.lock != self._wanted:
            let_go = self._and_remove(let_go)
        return Hold(self._wanted, self._mode, let_go, record)

    def _native(self) -> Try:
        path = self.lock.path
        if self._mode is Mode.SHARED and HAS_FLOCK:
            return lambda _: _try_flock(path, shared=True)
        return lambda _: _try_exclusive(path)

    def _soft(self) -> Try:
        from filelock import Timeout

        make_directory(self.lock.path.parent)
        lock = soft_lock(self.lock.path)
        holder = SoftHolder(lock)

        def attempt(gives_up: Callable[[], bool]) -> Callable[[], None] | None:
            def look() -> bool:
                holder.break_if_dead()
                return gives_up()

            try:  # in one go, in which the holder's heartbeat is seen or missed
                lock.acquire(poll_interval=SOFT_POLL_INTERVAL, cancel_check=look)
            except Timeout:
                return None
            release: Callable[[], None] = lock.release
            return release

        return attempt

    def _and_remove(self, let_go: Callable[[], None]) -> Callable[[], None]:
        def remove() -> None:
            with suppress(OSError):
                self.lock.records.rmdir()
            with suppress(OSError):
                self.lock.path.unlink()
            let_go()

        return remove


def is_contended(lock: Lock) -> bool:
    """Whether somebody holds the lock exclusively this moment. Creates nothing."""
    if not lock.path.exists() or not HAS_FLOCK:
        return False
    let_go = _try_flock(lock.path, shared=True)
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
    for record in _records(lock):
        try:
            holder = _holder(json.loads(record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            continue
        if holder.host != host or descendants.is_alive(holder.pid):
            found.append(holder)
    return sorted(found, key=lambda holder: holder.since)


def _records(lock: Lock) -> list[Path]:
    try:
        return [lock.records / name for name in os.listdir(lock.records)]
    except OSError:
        return []


def _holder(record: Any) -> Holder:
    """The holder of a record, which anybody may have written."""
    texts = {
        name: "".join(c if c.isprintable() else "?" for c in str(record[name]))
        for name in ("command", "host", "user", "mode")
    }
    time.localtime(record["since"])  # whether there is such a time
    return Holder(**texts, pid=int(record["pid"]), since=float(record["since"]))


def _try_exclusive(path: Path) -> Callable[[], None] | None:
    from filelock import FileLock
    from filelock import Timeout

    fd, writable = _open(path)
    os.close(fd)
    if not writable:
        return _try_flock(path, shared=False)
    try:
        # Newer ones would fall back to markers on their own, and nobody else would know.
        lock = FileLock(path, thread_local=False, fallback_to_soft=False)  # type: ignore[call-arg,unused-ignore]
    except TypeError:
        lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock.release


def _try_flock(path: Path, *, shared: bool) -> Callable[[], None] | None:
    """``flock`` on the file that ``FileLock`` locks.

    filelock has no shared lock on that file, and cannot lock one that it cannot write.
    """
    if sys.platform == "win32":  # for mypy: there is no fcntl
        raise NotImplementedError
    fd, _ = _open(path)
    try:
        operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink == 0:  # removed since we opened it: guards nothing
            raise BlockingIOError
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return lambda: os.close(fd)


def _open(path: Path) -> tuple[int, bool]:
    """A descriptor of the lock file, which is made if need be; whether it can write.

    NFS makes a byte-range lock of ``flock`` and wants a descriptor that can write; but
    a local file of another user's can be locked without.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(path, flags, FILE_MODE), True
    except FileNotFoundError:
        make_directory(path.parent)
        return os.open(path, flags, FILE_MODE), True
    except OSError as error:
        if not HAS_FLOCK or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), False


def _record_holder(lock: Lock, mode: Mode, command: str) -> Path | None:
    """Say who holds the lock, beside it. A courtesy: failing to say so is no error."""
    import json
    import socket

    host = socket.gethostname()
    holder = Holder(command, os.getpid(), host, _user(), time.time(), mode.value)
    record = lock.records / f"{host}-{os.getpid()}.json"
    with suppress(OSError):
        if mode is Mode.EXCLUSIVE:
            for stale in _records(lock):  # nobody else holds it now
                stale.unlink(missing_ok=True)
        make_directory(lock.records)
        fd = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(vars(holder), file)
        return record
    return None


def _user() -> str:
    """Who runs this: ``getpass`` without its import of ``termios``."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # Windows; a user without a name
        return os.environ.get("USERNAME", "unknown")


def _timeout_message(lock: Lock, waited: float, timeout: float) -> str:
    who = "\n".join(f"  - {holder}" for holder in holders(lock))
    held = f"It is held by\n{who}\n" if who else "Its holder left no record.\n"
    gave_up = f"Gave up waiting for {lock.guards} after {waited:.0f} s."
    if timeout == 0:
        gave_up = f"Did not wait for {lock.guards}: the setting lock-timeout is 0."
    gone = ""
    if lock.backend is Backend.SOFT:
        marker = soft_path(lock.path)
        gone = f"\nIf the host that holds it is gone for good, remove {marker}*."
    return (
        f"{gave_up}\n{held}"
        "To wait longer, set POETRY_SAFE_INSTALL_LOCK_TIMEOUT to a number of seconds or"
        f" to none (for ever); or end that command and try again.{gone}"
    )
