"""Locks between processes: try, tell, wait, and release.

A lock cannot be taken without saying what it guards and who asks, so that a waiter can
always be told whom it waits for. The mechanism is filelock's; only the shared lock of
POSIX, which filelock does not offer on the same file, is taken with ``flock``. Why the
lock file is never removed and why a lock lies beside what it guards:
https://py-filelock.readthedocs.io/en/latest/how-to.html
"""

from __future__ import annotations

import errno
import os
import time

from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.errors import LockTimeoutError
from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.locks import descendants
from poetry_plugin_safe_install.locks.backend import Backend
from poetry_plugin_safe_install.locks.backend import choose
from poetry_plugin_safe_install.locks.flock import HAS_FLOCK
from poetry_plugin_safe_install.locks.flock import is_flocked
from poetry_plugin_safe_install.locks.flock import open_lock_file
from poetry_plugin_safe_install.locks.flock import try_flock
from poetry_plugin_safe_install.locks.holders import holders
from poetry_plugin_safe_install.locks.holders import write_record


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Protocol

    from poetry_plugin_safe_install.locks.holders import HolderRecord

    class WaitReport(Protocol):
        """What a waiter tells the user; called about once a second after the first."""

        def __call__(
            self,
            lock: Lock,
            holders: list[HolderRecord],
            waited: float,
            timeout: float | None,
        ) -> None: ...

    Try = Callable[[Callable[[], bool]], Callable[[], None] | None]
    """Takes a lock and returns what releases it, ``None`` if somebody else has it."""


POLL_INTERVAL = 0.01
"""Seconds between two tries. A try costs two system calls."""

FIRST_REPORT = 1.0
"""Seconds a waiter stays silent."""


class Mode(Enum):
    EXCLUSIVE = "exclusive"
    SHARED = "shared"


class Lock:
    """A lock that can be taken: where it is, and what it guards in the user's words."""

    def __init__(
        self,
        path: Path,
        guards: str,
        recorded_in: Path | None = None,
        backend: str = "auto",
    ) -> None:
        """
        :param recorded_in: the store that records which backend its locks use.
        :param backend: the setting ``lock-backend``.
        """
        self.path = path
        self.guards = guards
        self.recorded_in = recorded_in
        self.backend = backend

    @property
    def records(self) -> Path:
        """The directory of holder records, beside the lock."""
        return self.path.with_name(self.path.name + ".holders")


class HeldLock:
    """A lock that is held until ``release``, or until the process ends."""

    def __init__(
        self, lock: Lock, mode: Mode, release: Callable[[], None], record: Path | None
    ) -> None:
        self.lock = lock
        self.mode = mode
        self._release: Callable[[], None] | None = release
        self._record = record
        descendants.announce(lock.path)

    def release(self) -> None:
        """Doing so twice is harmless."""
        if self._release is None:
            return
        release, self._release = self._release, None
        descendants.withdraw(self.lock.path)
        if self._record:
            with suppress(OSError):
                self._record.unlink()
        release()


def acquire(
    lock: Lock,
    mode: Mode,
    command: str,
    *,
    timeout: float | None,
    report: WaitReport | None = None,
) -> tuple[HeldLock, float]:
    """Take a lock, waiting for it if need be.

    :param command: what the holder does, for those who wait for it.
    :param timeout: seconds to wait at most; ``None`` without limit, 0 not at all.
    :param report: told once a second whom we wait for, after the first second.
    :return: the held lock and the seconds that were waited, 0 if it was free.
    :raises LockTimeoutError: naming the holder and how to wait longer.
    :raises LockUnavailableError: if the lock file cannot be created or locked.
    """
    attempt = Attempt(lock, mode, command)
    deadline = Deadline(attempt, timeout, report)
    while True:
        if held := attempt.once(deadline.is_over):
            return held, deadline.waited
        if deadline.is_over():
            raise LockTimeoutError(
                _timeout_message(attempt, deadline.waited, timeout or 0)
            )
        time.sleep(POLL_INTERVAL)


def try_acquire(lock: Lock, mode: Mode, command: str) -> HeldLock | None:
    """Take a lock if it is free this moment.

    :raises LockUnavailableError: if the lock file cannot be created or locked.
    """
    return Attempt(lock, mode, command).once(lambda: True)


def wait_until_free(
    lock: Lock,
    command: str,
    *,
    timeout: float | None,
    report: WaitReport | None = None,
) -> float:
    """Wait until nobody changes what a lock guards.

    The arguments and errors are those of ``acquire``.

    :return: the seconds that were waited.
    """
    attempt = Attempt(lock, Mode.SHARED, command)
    deadline = Deadline(attempt, timeout, report)
    while not attempt.would_succeed(deadline.is_over):
        if deadline.is_over():
            raise LockTimeoutError(
                _timeout_message(attempt, deadline.waited, timeout or 0)
            )
        time.sleep(POLL_INTERVAL)
    return deadline.waited


class Deadline:
    """How long somebody still waits for a lock, and tells so meanwhile."""

    def __init__(
        self, attempt: Attempt, timeout: float | None, report: WaitReport | None
    ) -> None:
        self._lock = attempt.lock
        self._timeout = timeout
        self._report = report
        self._start = time.monotonic()
        self._next_report = FIRST_REPORT
        self.waited = 0.0
        """Seconds; 0 until the lock was found to be taken."""

    def is_over(self) -> bool:
        """Call this after each try that failed."""
        self.waited = time.monotonic() - self._start
        if self._timeout is not None and self.waited >= self._timeout:
            return True
        if self._report and self.waited >= self._next_report:
            self._next_report += 1
            found = holders(self._lock.records)
            self._report(self._lock, found, self.waited, self._timeout)
        return False


class Attempt:
    """The wish to have a lock, to be tried again and again.

    The backend is chosen here, and chosen again where the system refuses the first one.
    A descendant of a holder locks another file instead: see ``descendants``.
    """

    def __init__(self, lock: Lock, mode: Mode, command: str) -> None:
        self._wanted = lock
        self._mode = mode
        self._command = command
        path = descendants.path_for_descendant(lock.path)
        self.lock = Lock(path, lock.guards, lock.recorded_in, lock.backend)
        self.backend = self._choose()
        self._try = self._prepare()

    def once(self, gives_up: Callable[[], bool]) -> HeldLock | None:
        """Try it.

        :param gives_up: called now and then where a try takes longer than a moment.
        """
        try:
            release = self._attempt(gives_up)
        except LockUnavailableError as error:
            other = self._choose(error.errno)
            if other is self.backend:
                raise
            self.backend = other
            self._try = self._prepare()
            release = self._attempt(gives_up)
        if release is None:
            return None
        record = write_record(
            self.lock.records,
            self._command,
            self._mode.value,
            alone=self._mode is Mode.EXCLUSIVE,
        )
        if self.lock.path != self._wanted.path:
            release = self._and_remove(release)
        return HeldLock(self._wanted, self._mode, release, record)

    def would_succeed(self, gives_up: Callable[[], bool]) -> bool:
        """Try it without leaving anything behind; what is taken is released at once."""
        if self.lock.path != self._wanted.path:
            return True  # an ancestor has it
        if self.backend is Backend.NATIVE and HAS_FLOCK:
            return not is_flocked(self.lock.path)
        release = self._attempt(gives_up)
        if release:
            release()
        return release is not None

    def _choose(self, error: int = 0) -> Backend:
        """:param error: what the system answered to the first choice."""
        lock = self.lock
        choice = choose(lock.path.parent, lock.recorded_in, lock.backend, error)
        return choice.backend

    def _prepare(self) -> Try:
        path = self.lock.path
        if self.backend is Backend.SOFT:
            from poetry_plugin_safe_install.locks.soft import SoftAttempt

            return SoftAttempt(path).once
        if self._mode is Mode.SHARED and HAS_FLOCK:
            return lambda _: try_flock(path, shared=True)
        return lambda _: _try_exclusive(path)

    def _attempt(self, gives_up: Callable[[], bool]) -> Callable[[], None] | None:
        try:
            return self._try(gives_up)
        except (OSError, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or error
            raise LockUnavailableError(
                f"The lock of {self.lock.guards} cannot be taken: {why}"
                f" ({self.lock.path}).",
                getattr(error, "errno", errno.ENOSYS),  # filelock's NotImplementedError
            ) from error

    def _and_remove(self, release: Callable[[], None]) -> Callable[[], None]:
        def remove() -> None:
            with suppress(OSError):
                self.lock.records.rmdir()
            with suppress(OSError):
                self.lock.path.unlink()
            release()

        return remove


def _try_exclusive(path: Path) -> Callable[[], None] | None:
    from filelock import FileLock
    from filelock import Timeout

    fd, writable = open_lock_file(path)
    os.close(fd)
    if not writable:
        return try_flock(path, shared=False)
    try:
        # Newer ones fall back to markers by themselves, which nobody else would know of.
        lock = FileLock(path, thread_local=False, fallback_to_soft=False)  # type: ignore[call-arg,unused-ignore]
    except TypeError:
        lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock.release


def _timeout_message(attempt: Attempt, waited: float, timeout: float) -> str:
    lock = attempt.lock
    who = "\n".join(f"  - {holder}" for holder in holders(lock.records))
    held = f"It is held by\n{who}\n" if who else "Its holder left no record.\n"
    gave_up = f"Gave up waiting for {lock.guards} after {waited:.0f} s."
    if timeout == 0:
        gave_up = f"Did not wait for {lock.guards}: the setting lock-timeout is 0."
    gone = ""
    if attempt.backend is Backend.SOFT:
        marker = f"{lock.path}.soft*"
        gone = f"\nIf the host that holds it is gone permanently, remove {marker}."
    return (
        f"{gave_up}\n{held}"
        "To wait longer, set POETRY_SAFE_INSTALL_LOCK_TIMEOUT to a number of seconds or"
        f" to none (no limit); or end that command and try again.{gone}"
    )
