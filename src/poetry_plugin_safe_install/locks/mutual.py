"""Commands that wait for each other: A's build script installs B, B's installs A.

Whoever waits for longer than a moment says so beside the lock, with the processes that
wait for it in turn and the locks that these hold. So a command that holds a lock, or was
started by one that does, sees who waits for that, who waits for those, and whether it is
itself that they all wait for.
"""

from __future__ import annotations

import os

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.errors import MutualWaitError
from poetry_plugin_safe_install.locks.descendants import VARIABLE
from poetry_plugin_safe_install.locks.descendants import ancestors
from poetry_plugin_safe_install.locks.descendants import announced_paths
from poetry_plugin_safe_install.locks.holders import HolderRecord
from poetry_plugin_safe_install.locks.holders import holders
from poetry_plugin_safe_install.locks.holders import records_of_dead
from poetry_plugin_safe_install.locks.holders import write_record


if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Iterator
    from collections.abc import Sequence

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
        :raises MutualWaitError: if they wait for this process or an ancestor, through
            however many others.
        """
        self._say_so()
        own = os.getpid(), *ancestors()
        pids = {one.pid for one in blockers if one.is_here}.difference(own)
        for chain in _chains(announced_paths()) if self._record and pids else ():
            last = chain[-1]
            is_circle = pids & {last.pid, *last.ancestors}
            if is_circle and all(map(self._is_later_than, chain)):
                raise MutualWaitError(self._explain(blockers, chain))

    def _say_so(self) -> None:
        if self._record is None:
            self._record = write_record(
                self._directory, self._command, "", alone=False, stays_on_host=False
            )
            for dead in records_of_dead(self._directory):
                with suppress(OSError):
                    dead.unlink()
            if self._record:
                self._record.change(ancestors=ancestors(), guards=self._lock.guards)
        holds = [str(path) for path in announced_paths()]
        if self._record and self._record.about.get("holds") != holds:
            self._record.change(holds=holds)

    def end(self) -> None:
        if self._record:
            self._record.remove()
            with suppress(OSError):
                self._directory.rmdir()

    def _is_later_than(self, other: HolderRecord) -> bool:
        """One of them gives up, and all agree on which."""
        own = self._record.about if self._record else {"since": 0.0}
        return (own["since"], os.getpid()) > (other.since, other.pid)

    def _explain(
        self, blockers: Collection[HolderRecord], chain: Sequence[HolderRecord]
    ) -> str:
        held = " and ".join(map(str, blockers))
        others = [
            f"  - {other} waits for {other.guards}.\n" for other in reversed(chain)
        ]
        return (
            f"{len(chain) + 1} commands wait for each other, and this one gives up.\n"
            f"  - `{self._command}` (pid {os.getpid()}) waits for {self._lock.guards},"
            f" held by {held}.\n"
            f"{''.join(others)}"
            f"Run them one after the other."
        )


def _chains(paths: Sequence[Path]) -> Iterator[list[HolderRecord]]:
    """Who waits for these locks, who for the locks that those hold, and so on.

    :return: each with those before it, so that it waits for something that the one
        before it holds. Only processes of this host are followed.
    """
    seen: set[Path] = set()
    chains: list[tuple[list[HolderRecord], Sequence[Path]]] = [([], paths)]
    for before, held in chains:
        for path in held:
            if path in seen:
                continue
            seen.add(path)
            for other in holders(waiters_of(path)):
                if other.is_here:
                    chain = [*before, other]
                    yield chain
                    chains.append((chain, [Path(held) for held in other.holds]))


def hidden_ancestor(lock: Lock, holder: HolderRecord) -> MutualWaitError:
    """An ancestor has the lock, and cannot be asked whether it wants this one to wait."""
    return MutualWaitError(
        f"{lock.guards} is held by {holder}, which has started this command as another"
        " user and may wait for it.\n"
        f"Run it as the same user, or keep the variable {VARIABLE}"
        f" (sudo --preserve-env={VARIABLE})."
    )


def waiters_of(lock: Path) -> Path:
    """The directory of the records of those who wait for it."""
    return lock.with_name(f"{lock.name}.waiters")
