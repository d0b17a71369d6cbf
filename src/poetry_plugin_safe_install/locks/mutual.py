"""Commands that wait for each other: A's build script installs B, B's installs A.

Whoever waits for longer than a moment says so beside the lock, with the processes that
wait for it in turn. So a command that holds a lock, or was started by one that does,
sees who waits for that, and whether it is itself who is waited for.
"""

from __future__ import annotations

import os

from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.errors import MutualWaitError
from poetry_plugin_safe_install.locks.descendants import ancestors
from poetry_plugin_safe_install.locks.descendants import announced_paths
from poetry_plugin_safe_install.locks.holders import HolderRecord
from poetry_plugin_safe_install.locks.holders import holders
from poetry_plugin_safe_install.locks.holders import records_of_dead
from poetry_plugin_safe_install.locks.holders import write_record


if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from poetry_plugin_safe_install.locks.holders import OwnRecord
    from poetry_plugin_safe_install.locks.lock import Lock


class Waiter:
    """One wait for a lock."""

    def __init__(self, lock: Lock, command: str) -> None:
        self._lock = lock
        self._command = command
        self._directory = waiters_of(lock.path)
        self._record: OwnRecord | None = None

    def look(self, blockers: Collection[HolderRecord]) -> None:
        """Call this now and then.

        :param blockers: who holds the lock.
        :raises MutualWaitError: if one of them waits for this process or an ancestor.
        """
        if self._record is None:
            self._record = write_record(
                self._directory, self._command, "", alone=False, stays_on_host=False
            )
            for dead in records_of_dead(self._directory):
                with suppress(OSError):
                    dead.unlink()
            if self._record:
                self._record.change(ancestors=ancestors(), guards=self._lock.guards)
        own = os.getpid(), *ancestors()
        pids = {one.pid for one in blockers if one.is_here}.difference(own)
        for path in announced_paths() if self._record else ():
            for other in holders(waiters_of(path)):
                waits_for_us = pids & {other.pid, *other.ancestors}
                if other.is_here and waits_for_us and self._is_later_than(other):
                    raise MutualWaitError(self._explain(blockers, other))

    def end(self) -> None:
        if self._record:
            self._record.remove()
            with suppress(OSError):
                self._directory.rmdir()

    def _is_later_than(self, other: HolderRecord) -> bool:
        """One of the two gives up, and both agree on which."""
        own = self._record.about if self._record else {"since": 0.0}
        return (own["since"], os.getpid()) > (other.since, other.pid)

    def _explain(self, blockers: Collection[HolderRecord], other: HolderRecord) -> str:
        held = " and ".join(map(str, blockers))
        return (
            f"Two commands wait for each other, and this one gives up.\n"
            f"  - `{self._command}` (pid {os.getpid()}) waits for {self._lock.guards},"
            f" held by {held}.\n"
            f"  - {other} waits for what is held by this command or by the one that has"
            f" started it.\n"
            f"Run them one after the other."
        )


def waiters_of(lock: Path) -> Path:
    """The directory of the records of those who wait for it."""
    return lock.with_name(f"{lock.name}.waiters")
