"""How long a command waits for a lock, and what is told meanwhile."""

from __future__ import annotations

import time

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.errors import LockTimeoutError
from poetry_plugin_safe_install.locks.clock import WaitClock


if TYPE_CHECKING:
    from typing import Protocol

    from poetry_plugin_safe_install.locks.holders import HolderRecord
    from poetry_plugin_safe_install.locks.lock import Attempt
    from poetry_plugin_safe_install.locks.lock import Lock
    from poetry_plugin_safe_install.locks.mutual import Waiter

    class WaitReport(Protocol):
        """What a waiter tells the user; called about once a second after the first.

        ``waited`` is what the clock says: it counts the waits before this one too.
        """

        def __call__(
            self,
            lock: Lock,
            holders: list[HolderRecord],
            waited: float,
            timeout: float | None,
        ) -> None: ...


FIRST_REPORT = 1.0
"""Seconds a waiter stays silent."""


class Deadline:
    """How long somebody still waits for a lock, and tells so meanwhile."""

    def __init__(
        self,
        attempt: Attempt,
        timeout: float | None,
        report: WaitReport | None,
        clock: WaitClock | None,
    ) -> None:
        """
        :param timeout: what the clock may say at most; ``None`` without limit.
        :param clock: of all waits that the timeout is for; otherwise it is for this one.
        """
        self._attempt = attempt
        self._clock = clock or WaitClock()
        self._clock.start()
        self._timeout = timeout
        self._report = report
        self._start = time.monotonic()
        self._next_report = FIRST_REPORT
        self._waiter: Waiter | None = None
        self.waited = 0.0
        """Seconds of this wait; 0 until the lock was found to be taken."""
        self.outcome = "interrupted"
        """How the wait has ended, unless it is said otherwise."""
        self._holder = ""

    def is_over(self) -> bool:
        """Call this after each try that failed.

        :raises MutualWaitError: if who has the lock waits for this process.
        """
        self.waited = time.monotonic() - self._start
        if self._timeout is not None and self._clock.seconds >= self._timeout:
            self.outcome = "gave-up"
            self._note_holder()
            return True
        if self.waited >= self._next_report:
            self._next_report += 1
            self._tell()
        return False

    def _tell(self) -> None:
        from poetry_plugin_safe_install.locks.mutual import Waiter

        lock, blockers = self._attempt.lock, self._note_holder()
        if self._waiter is None:
            self._waiter = Waiter(lock, self._attempt.command)
        self._waiter.look(blockers)
        if self._report:
            self._report(lock, blockers, self._clock.seconds, self._timeout)

    def _note_holder(self) -> list[HolderRecord]:
        from poetry_plugin_safe_install.locks.waiting import in_short

        blockers = self._attempt.blockers
        self._holder = in_short(blockers)
        return blockers

    def error(self, source: str) -> LockTimeoutError:
        """The time is over.

        :param source: where the timeout was set, in words.
        """
        in_all, timeout = self._clock.seconds, self._timeout or 0
        text = _timeout_message(self._attempt, self.waited, in_all, timeout, source)
        return LockTimeoutError(text)

    def end(self) -> None:
        """Nobody waits any longer."""
        self._clock.stop()
        if self._waiter:
            self._waiter.end()
        if self.waited:
            from poetry_plugin_safe_install.events import waited

            lock, seconds = self._attempt.lock, time.monotonic() - self._start
            waited(lock.guards, str(lock.path), seconds, self._holder, self.outcome)


def _timeout_message(
    attempt: Attempt, waited: float, in_all: float, timeout: float, source: str
) -> str:
    """
    :param waited: seconds, of the ``in_all`` that the command has waited for locks.
    """
    lock = attempt.lock
    who = "\n".join(f"  - {holder}" for holder in attempt.blockers)
    held = f"It is held by\n{who}\n" if who else "Its holder left no record.\n"
    before = ""
    if in_all - waited >= 1:
        before = f" ({in_all:.0f} s with the waits of this command before)"
    gave_up = f"Gave up waiting for {lock.guards} after {waited:.0f} s{before}."
    if timeout == 0:
        gave_up = f"Did not wait for {lock.guards}: the setting lock-timeout is 0."
    wish, to = "set POETRY_SAFE_INSTALL_LOCK_TIMEOUT to", "to "
    if source.startswith("option"):
        wish, to = "give --lock-timeout", ""
    gone = ""
    if attempt.uses_markers:
        marker = f"{lock.path}.soft*"
        gone = f"\nIf the host that holds it is gone permanently, remove {marker}."
    return (
        f"{gave_up}\n{held}"
        f"To wait longer, {wish} a number of seconds or"
        f" {to}none (no limit); or end that command and try again.{gone}"
    )
