"""Locks between processes: try, tell, wait, and release.

A lock cannot be taken without saying what it guards and who asks, so that a waiter can
always be told whom it waits for. Where there is ``flock`` it is taken directly, because
filelock neither shares one lock file nor turns an exclusive lock into a shared one;
elsewhere, and for marker files, the mechanism is filelock's. Why the lock file is never
removed and why a lock lies beside what it guards:
https://py-filelock.readthedocs.io/en/latest/how-to.html
"""

from __future__ import annotations

import errno
import os
import time

from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.locks import descendants
from poetry_plugin_safe_install.locks.backend import Backend
from poetry_plugin_safe_install.locks.backend import choose
from poetry_plugin_safe_install.locks.flock import HAS_FLOCK
from poetry_plugin_safe_install.locks.flock import Flock
from poetry_plugin_safe_install.locks.flock import is_flocked
from poetry_plugin_safe_install.locks.flock import open_lock_file
from poetry_plugin_safe_install.locks.flock import try_flock
from poetry_plugin_safe_install.locks.holders import ancestor_among
from poetry_plugin_safe_install.locks.holders import holders
from poetry_plugin_safe_install.locks.holders import write_record


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import ClassVar
    from typing import Protocol

    from poetry_plugin_safe_install.locks.clock import WaitClock
    from poetry_plugin_safe_install.locks.deadline import WaitReport
    from poetry_plugin_safe_install.locks.holders import HolderRecord
    from poetry_plugin_safe_install.locks.holders import OwnRecord

    class Grip(Protocol):
        """What releases a lock that was taken."""

        def release(self) -> None: ...

    Try = Callable[[Callable[[], bool]], Grip | None]
    """Takes a lock and returns what releases it, ``None`` if somebody else has it."""


POLL_INTERVAL = 0.01
"""Seconds between two tries. A try costs two system calls."""


class Mode:
    """How a lock is held. No ``Enum``: every command would pay for making it."""

    EXCLUSIVE: ClassVar[Mode]
    SHARED: ClassVar[Mode]

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Mode.{self.value.upper()}"


Mode.EXCLUSIVE, Mode.SHARED = Mode("exclusive"), Mode("shared")


class Lock:
    """A lock that can be taken: where it is, and what it guards in the user's words."""

    def __init__(
        self,
        path: Path,
        guards: str,
        recorded_in: Path | None = None,
        backend: str = "auto",
        records_in: Path | None = None,
    ) -> None:
        """
        :param recorded_in: the directory that records which backend its locks use.
        :param backend: the setting ``lock-backend``.
        :param records_in: where the holders are recorded, if not beside the lock.
        """
        self.path = path
        self.guards = guards
        self.recorded_in = recorded_in
        self.backend = backend
        self._records_in = records_in or path.parent
        self.alike = ""
        """What this command has in common with those that would do the same to what the
        lock guards: where all holders were found to rewrite nothing, it shares the lock
        with them although it wants it exclusively."""
        self.is_told_to_one = False
        """Whether a holder tells of it one process that it starts, and no other."""

    @property
    def records(self) -> Path:
        """The directory of holder records."""
        return self._records_in / f"{self.path.name}.holders"

    def within(self, path: Path) -> Lock:
        """The lock that only descendants of a holder of this one take."""
        return Lock(path, self.guards, self.recorded_in, self.backend, path.parent)


class HeldLock:
    """A lock that is held until ``release``, or until the process ends."""

    def __init__(
        self, lock: Lock, taken: Lock, mode: Mode, grip: Grip, record: OwnRecord | None
    ) -> None:
        """
        :param taken: the lock that was taken instead, in a descendant of a holder.
        """
        self.lock = lock
        self.mode = mode
        self.is_within = taken is not lock
        """Whether an ancestor holds the lock too."""
        self._taken = taken
        self._grip: Grip | None = grip
        self._record = record
        self._announced = False

    def announce(self) -> None:
        """Let all processes that are started from now on know of it."""
        descendants.announce(self.lock.path)
        self._announced = True
        if self._record:
            self._record.change(announced=True)

    def share(self) -> bool:
        """Let others share what was exclusive, without releasing it in between.

        :return: whether that is possible here; otherwise it stays exclusive.
        """
        if self.mode is Mode.SHARED:
            return True
        if not (isinstance(self._grip, Flock) and self._grip.share()):
            return False
        self.mode = Mode.SHARED
        if self._record:
            self._record.change(mode=self.mode.value)
        return True

    def rewrites_nothing(self) -> None:
        """Let those that are alike share it: see ``Lock.alike``."""
        if self._record and self.lock.alike:
            self._record.change(rewrites_nothing=self.lock.alike)

    def release(self) -> None:
        """Doing so twice is harmless."""
        if self._grip is None:
            return
        grip, self._grip = self._grip, None
        if self._announced:
            descendants.withdraw(self.lock.path)
        if self._record:
            self._record.remove()
        if not self.is_within:
            grip.release()
            return
        with suppress(OSError):
            self._taken.records.rmdir()
        if isinstance(grip, Flock):
            grip.release_and_remove()
        else:
            grip.release()
            with suppress(OSError):
                self._taken.path.unlink()


def acquire(
    lock: Lock,
    mode: Mode,
    command: str,
    *,
    timeout: float | None,
    report: WaitReport | None = None,
    clock: WaitClock | None = None,
    timeout_source: str = "",
) -> tuple[HeldLock, float]:
    """Take a lock, waiting for it if need be.

    :param command: what the holder does, for those who wait for it.
    :param timeout: seconds to wait at most; ``None`` without limit, 0 not at all.
    :param report: told once a second whom we wait for, after the first second.
    :param clock: of all waits that the timeout is for; otherwise it is for this one.
    :param timeout_source: where the timeout was set, in words.
    :return: the held lock and the seconds that were waited, 0 if it was free.
    :raises LockTimeoutError: naming the holder and how to wait longer.
    :raises LockUnavailableError: if the lock file cannot be created or locked.
    """
    from poetry_plugin_safe_install.locks.deadline import Deadline

    attempt = Attempt(lock, mode, command)
    deadline = Deadline(attempt, timeout, report, clock)
    try:
        while True:
            if held := attempt.once(deadline.is_over):
                deadline.outcome = "taken"
                return held, deadline.waited
            if attempt.joins_ancestor():
                continue
            if attempt.may_share and (held := try_acquire(lock, Mode.SHARED, command)):
                deadline.outcome = "taken"
                return held, deadline.waited
            if deadline.is_over():
                raise deadline.error(timeout_source)
            time.sleep(POLL_INTERVAL)
    finally:
        deadline.end()


def try_acquire(lock: Lock, mode: Mode, command: str) -> HeldLock | None:
    """Take a lock if it is free this moment.

    :raises LockUnavailableError: if the lock file cannot be created or locked.
    """
    return Attempt(lock, mode, command).once(lambda: True)


def is_free(lock: Lock, command: str) -> bool:
    """Whether nobody changes what a lock guards, but an ancestor of this command.

    :raises LockUnavailableError: if the lock file cannot be locked.
    """
    attempt = Attempt(lock, Mode.SHARED, command)
    return attempt.would_succeed(lambda: True) or attempt.joins_ancestor()


def wait_until_free(
    lock: Lock,
    command: str,
    *,
    timeout: float | None,
    report: WaitReport | None = None,
    clock: WaitClock | None = None,
    timeout_source: str = "",
) -> float:
    """Wait until nobody changes what a lock guards; ``is_free`` has found that one does.

    The arguments and errors are those of ``acquire``.

    :return: the seconds that were waited.
    """
    from poetry_plugin_safe_install.locks.deadline import Deadline

    attempt = Attempt(lock, Mode.SHARED, command)
    deadline = Deadline(attempt, timeout, report, clock)
    try:
        while not attempt.would_succeed(deadline.is_over):
            if deadline.is_over():
                raise deadline.error(timeout_source)
            time.sleep(POLL_INTERVAL)
        deadline.outcome = "taken"
    finally:
        deadline.end()
    return deadline.waited


class Attempt:
    """The wish to have a lock, to be tried again and again.

    The backend is chosen here, and chosen again where the system refuses the first one.
    A descendant of a holder locks another file instead: see ``descendants``.
    """

    def __init__(self, lock: Lock, mode: Mode, command: str) -> None:
        self._wanted = lock
        self._mode = mode
        self.command = command
        self._looked_for_ancestor = False
        path = descendants.path_for_descendant(lock.path)
        self.lock = lock if path == lock.path else lock.within(path)
        self.backend = self._choose()
        self._try = self._prepare()

    def once(self, gives_up: Callable[[], bool]) -> HeldLock | None:
        """Try it.

        :param gives_up: called now and then where a try takes longer than a moment.
        """
        try:
            grip = self._attempt(gives_up)
        except LockUnavailableError as error:
            other = self._choose(error.errno)
            if other is self.backend:
                raise
            self.backend = other
            self._try = self._prepare()
            grip = self._attempt(gives_up)
        if grip is None:
            return None
        record = write_record(
            self.lock.records,
            self.command,
            self._mode.value,
            alone=self._mode is Mode.EXCLUSIVE,
            stays_on_host=self.backend is Backend.SOFT,
        )
        held = HeldLock(self._wanted, self.lock, self._mode, grip, record)
        if self._is_barred:
            held.release()
            return None
        return held

    @property
    def uses_markers(self) -> bool:
        return self.backend is Backend.SOFT

    @property
    def blockers(self) -> list[HolderRecord]:
        """Who is in the way, as far as is known."""
        return holders(self.lock.records) or self._sharers

    @property
    def _is_barred(self) -> bool:
        """Whether it is free, and somebody is in the way all the same.

        Whoever shares a lock does not exclude what it has started itself. What wants it
        exclusively there waits for all other sharers, and new ones wait for that. Each
        has said that it is there before it looks for the other.
        """
        if self._mode is Mode.EXCLUSIVE:
            return bool(self._sharers)
        return self.lock is self._wanted and any(
            one.mode == Mode.EXCLUSIVE.value
            for path in descendants.paths_within(self.lock.path)
            for one in holders(self.lock.within(path).records)
        )

    @property
    def _sharers(self) -> list[HolderRecord]:
        """Who shares with an ancestor what this descendant of it wants for itself."""
        if self.lock is self._wanted or self._mode is Mode.SHARED:
            return []
        found = holders(self._wanted.records)
        return [one for one in found if not (one.is_here and is_known(one.pid))]

    @property
    def may_share(self) -> bool:
        """Whether all who hold it are known to rewrite nothing: see ``Lock.alike``."""
        alike = self._wanted.alike
        if not alike or self._mode is Mode.SHARED:
            return False
        found = holders(self.lock.records)
        return bool(found) and all(one.rewrites_nothing == alike for one in found)

    def joins_ancestor(self) -> bool:
        """Whether it turned out that an ancestor has the lock; then try again.

        The environment may have been emptied on the way here (``env -i``, sudo), and with
        it the variable that names what ancestors hold.
        """
        if self._looked_for_ancestor or self.lock is not self._wanted:
            return False
        self._looked_for_ancestor = True
        descendants.learn_from_ancestors()
        told = descendants.announcers(self.lock.path)
        pid = ancestor_among(holders(self.lock.records), told)
        if pid is None:
            self._give_up_if_hidden()
            return False
        self.lock = self._wanted.within(descendants.path_within(self.lock.path, pid))
        self._try = self._prepare()
        return True

    def _give_up_if_hidden(self) -> None:
        """
        :raises MutualWaitError: if an ancestor may have told of the lock, and cannot be
            asked. It may well wait for this command.
        """
        if not self.lock.is_told_to_one:
            return
        for one in holders(self.lock.records):
            if one.is_of_ancestor and descendants.is_hidden_below(one.pid):
                from poetry_plugin_safe_install.locks.mutual import hidden_ancestor

                raise hidden_ancestor(self.lock, one)

    def would_succeed(self, gives_up: Callable[[], bool]) -> bool:
        """Try it without leaving anything behind; what is taken is released at once."""
        if self.lock.path != self._wanted.path:
            return True  # an ancestor has it
        if self.backend is Backend.NATIVE and HAS_FLOCK:
            return not is_flocked(self.lock.path)
        grip = self._attempt(gives_up)
        if grip:
            grip.release()
        return grip is not None

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
        if HAS_FLOCK:
            shared = self._mode is Mode.SHARED
            return lambda _: try_flock(path, shared=shared)
        return lambda _: _try_file_lock(path)

    def _attempt(self, gives_up: Callable[[], bool]) -> Grip | None:
        try:
            return self._try(gives_up)
        except (OSError, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or error
            raise LockUnavailableError(
                f"The lock of {self.lock.guards} cannot be taken: {why}"
                f" ({self.lock.path}).",
                getattr(error, "errno", errno.ENOSYS),  # filelock's NotImplementedError
            ) from error


def is_known(pid: int) -> bool:
    """Whether it is this process or an ancestor of it."""
    return pid == os.getpid() or descendants.is_ancestor(pid)


def _try_file_lock(path: Path) -> Grip | None:
    from filelock import FileLock
    from filelock import Timeout

    fd, _ = open_lock_file(path)
    os.close(fd)
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock
