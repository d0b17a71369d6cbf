"""What one command holds, and how it gets more: the steps of its lock plan."""

from __future__ import annotations

from contextlib import contextmanager
from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.errors import LockTimeoutError
from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import acquire
from poetry_plugin_safe_install.locks.lock import is_free
from poetry_plugin_safe_install.locks.lock import try_acquire
from poetry_plugin_safe_install.locks.lock import wait_until_free


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Iterator
    from pathlib import Path

    from cleo.io.io import IO

    from poetry_plugin_safe_install.locks.clock import WaitClock
    from poetry_plugin_safe_install.locks.deadline import WaitReport
    from poetry_plugin_safe_install.locks.line_report import LineReport
    from poetry_plugin_safe_install.locks.lock import HeldLock
    from poetry_plugin_safe_install.store import Store

    LocksOf = Callable[[str], Iterable[Lock]]

    Step = tuple[str, str, Mode | None]
    """When (a moment of the command), which resource, and how it is held from then on;
    ``None`` releases it."""


def project_lock(store: Store, project: Path, backend: str) -> Lock:
    """
    :param project: the directory of pyproject.toml.
    :param backend: the setting ``lock-backend``.
    """
    guards = f"the project {project}"
    return Lock(store.project_lock, guards, store.locks, backend, store.records)


def first_project_lock(store: Store, project: Path, backend: str) -> Lock | None:
    """The lock of plugin 0.1.0, if it has worked here and had it in another place.

    Where hatchling would pack ``.poetry``, or it is no directory, that version had its
    lock in Poetry's cache directory. It may still be in use on another Poetry.
    """
    path = store.path / store.project_lock.name
    if path == store.project_lock or not path.exists():
        return None
    return Lock(path, f"the project {project}", store.path, backend)


class Session:
    """The locks of one command, by the name of the resource that they guard."""

    def __init__(
        self,
        io: IO,
        command: str,
        timeout: float | None,
        waited: Callable[[float, str], None],
        timeout_source: str = "",
    ) -> None:
        """
        :param command: the command as the user typed it, for those who wait for it.
        :param timeout: seconds to wait for locks at most, all waits together; ``None``
            without limit.
        :param waited: told after each wait how many seconds the command has waited in
            all, and who held the lock.
        :param timeout_source: where the timeout was set, in words.
        """
        self._io = io
        self._command = command
        self._timeout = timeout
        self._waited = waited
        self._timeout_source = timeout_source
        self._held: dict[str, list[HeldLock]] = {}
        self._modes: dict[str, Mode] = {}
        """How each resource is held, also where its lock cannot be taken."""
        self.timed_out = False
        """Whether a thread has waited in vain: Poetry makes any error there a 1."""

    @property
    def _clock(self) -> WaitClock:
        """Made by the first of the threads that waits."""
        from poetry_plugin_safe_install.locks.clock import WaitClock

        clock: WaitClock = vars(self).setdefault("wait_clock", WaitClock())
        return clock

    def mode(self, resource: str) -> Mode | None:
        """How the command treats a resource: as if it held the lock, if it has none."""
        return self._modes.get(resource)

    def is_locked(self, resource: str) -> bool:
        """Whether the lock is really held."""
        return bool(self._held.get(resource))

    def has_alone(self, resource: str) -> bool:
        """Whether the lock is really held, and by nobody else."""
        return self.mode(resource) is Mode.EXCLUSIVE and self.is_locked(resource)

    def walk(self, steps: Iterable[Step], moment: str, locks_of: LocksOf) -> bool:
        """Take the steps of a lock plan that belong to a moment of the command.

        :param locks_of: the locks that guard a resource, once it is needed, in the order
            in which everybody takes them.
        :return: whether a lock was taken, so that what it guards may have changed.
        :raises LockTimeoutError: naming the holder and how to wait longer.
        """
        taken = False
        for when, resource, mode in steps:
            if when != moment or mode is self.mode(resource):
                continue
            if mode is Mode.SHARED and self.mode(resource) is Mode.EXCLUSIVE:
                self._share(resource)
                continue
            self.release(resource)
            if mode is not None:
                self._take(resource, locks_of, mode)
                taken = True
        return taken

    def rewrites_nothing(self, resource: str, path: Path) -> None:
        """Let those that are alike share this lock, and release the others of a resource.

        :param path: of the lock that is kept.
        """
        held = self._held.get(resource, [])
        for one in [one for one in held if one.lock.path != path]:
            one.release()
            held.remove(one)
        for one in held:
            one.rewrites_nothing()

    def _share(self, resource: str) -> None:
        """Let others share it, if that can be done without releasing it."""
        if all(held.share() for held in self._held.get(resource, ())):
            self._modes[resource] = Mode.SHARED

    def is_within(self, resource: str) -> bool:
        """Whether an ancestor of this command holds the lock too."""
        return any(held.is_within for held in self._held.get(resource, ()))

    def try_now(self, lock: Lock, mode: Mode) -> HeldLock | None:
        """A lock beside the plan, if it is free this moment; the caller releases it.

        :raises LockUnavailableError: if it cannot be taken here at all.
        """
        return try_acquire(lock, mode, self._command)

    @contextmanager
    def between(
        self,
        steps: Iterable[Step],
        start: str,
        end: str,
        lock: Lock,
        report: WaitReport,
    ) -> Iterator[None]:
        """Take the steps of two moments around something that a thread does.

        :raises LockUnavailableError: if the lock cannot be taken here at all.
        """
        held = {
            resource: self.wait_for(lock, mode, report)
            for when, resource, mode in steps
            if when == start and mode is not None
        }
        try:
            yield
        finally:
            for when, resource, _ in steps:
                if when == end:
                    held.pop(resource).release()

    def wait_until_ready(
        self, steps: Iterable[Step], moment: str, locks: Iterable[Lock]
    ) -> None:
        """Take and release at once what the plan wants shared for a moment.

        :raises LockTimeoutError: naming the holder and how to wait longer.
        """
        for when, _, mode in steps:
            for lock in locks if when == moment and mode is not None else ():
                with suppress(LockUnavailableError):  # then nobody has it either
                    self._wait_until_free(lock)

    def _wait_until_free(self, lock: Lock) -> None:
        if is_free(lock, self._command):
            return
        from poetry_plugin_safe_install.locks.waiting import waiting

        with waiting(self._io, lock.guards, self._clock) as message:
            waited = wait_until_free(
                lock,
                self._command,
                timeout=self._timeout,
                report=message,
                clock=self._clock,
                timeout_source=self._timeout_source,
            )
        self._has_waited(waited, message.waited_for)

    @contextmanager
    def beside_plan(self, lock: Lock, mode: Mode) -> Iterator[HeldLock]:
        """Hold a lock of something that turned up on the way; waits for it.

        :raises LockUnavailableError: if it cannot be taken here at all.
        """
        held = self._acquire(lock, mode)
        try:
            yield held
        finally:
            held.release()

    def wait_for(self, lock: Lock, mode: Mode, report: WaitReport) -> HeldLock:
        """Take a lock from any thread, with a report of the caller's.

        Nobody is told of it: a process that another thread starts must not take it for
        its own.

        :raises LockUnavailableError: if it cannot be taken here at all.
        """
        try:
            held, waited = self._wait(lock, mode, report)
        except LockTimeoutError:
            self.timed_out = True
            raise
        self._has_waited(waited, getattr(report, "waited_for", ""))
        return held

    def _wait(
        self, lock: Lock, mode: Mode, report: WaitReport
    ) -> tuple[HeldLock, float]:
        return acquire(
            lock,
            mode,
            self._command,
            timeout=self._timeout,
            report=report,
            clock=self._clock,
            timeout_source=self._timeout_source,
        )

    def report(self, tell: Callable[[str], bool] | None = None) -> LineReport:
        """What a thread of this command says while it waits."""
        from poetry_plugin_safe_install.locks.line_report import LineReport

        return LineReport(self._io, tell, self._clock)

    def _has_waited(self, seconds: float, holder: str) -> None:
        if seconds:
            self._waited(self._clock.seconds, holder)

    def release(self, resource: str) -> None:
        self._modes.pop(resource, None)
        for held in reversed(self._held.pop(resource, [])):
            held.release()

    def release_all(self) -> None:
        """Release in the reverse order of the plan."""
        for resource in reversed([*self._modes]):
            self.release(resource)

    def _take(self, resource: str, locks_of: LocksOf, mode: Mode) -> None:
        held = self._held.setdefault(resource, [])
        self._modes[resource] = mode
        try:
            for lock in locks_of(resource):
                held.append(self._acquire(lock, mode))
            if held and all(one.mode is Mode.SHARED for one in held):
                self._modes[resource] = Mode.SHARED
        except (OSError, LockUnavailableError) as error:
            self._warn(resource, error)

    def _acquire(self, lock: Lock, mode: Mode) -> HeldLock:
        if held := try_acquire(lock, mode, self._command):
            held.announce()
            return held
        from poetry_plugin_safe_install.locks.waiting import waiting

        with waiting(self._io, lock.guards, self._clock) as message:
            held, waited = self._wait(lock, mode, message)
        self._has_waited(waited, message.waited_for)
        held.announce()
        return held

    def _warn(self, resource: str, error: Exception) -> None:
        """The lock cannot be taken here; Poetry runs without it."""
        why = str(error)
        if isinstance(error, OSError):  # of the directory that the lock belongs in
            guarded, said = f"the {resource}", error.strerror
            why = f"The lock of {guarded} cannot be taken: {said} ({error.filename})."
        self._io.write_error_line(
            f"<warning>{why} poetry-plugin-safe-install cannot keep other commands"
            " away.</warning>"
        )
