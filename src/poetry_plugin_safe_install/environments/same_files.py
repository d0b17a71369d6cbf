"""Files that several packages of one install bring: wholly one's, and always the same."""

from __future__ import annotations

import os
import threading

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from cleo.io.io import IO


class SharedFiles:
    """Who writes which file, in one command; its threads call this at once.

    The last one in the order of the operations wins, as without threads.
    """

    def __init__(self, io: IO) -> None:
        self._io = io
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0
        self._writing: set[str] = set()
        self._owners: dict[str, tuple[int, str]] = {}
        self._conflicts: dict[tuple[str, str], list[str]] = {}
        """By who loses and who wins."""

    def begin(self, path: str, package: str, rank: int) -> bool:
        """Whether to write it; if so, call ``end`` when that is done."""
        own = (rank, package)
        with self._lock:
            while path in self._writing:
                self._waiting += 1
                self._changed.wait()
                self._waiting -= 1
            owner = self._owners.get(path, own)
            if owner[1] != package:
                loser, winner = sorted((owner, own))
                pair = loser[1], winner[1]
                self._conflicts.setdefault(pair, []).append(path)
            if owner > own:
                return False
            self._owners[path] = own
            self._writing.add(path)
            return True

    def end(self, path: str) -> None:
        with self._lock:
            self._writing.discard(path)
            if self._waiting:
                self._changed.notify_all()

    def report(self) -> None:
        """Say which packages bring the same files."""
        conflicts, self._conflicts = self._conflicts, {}
        for (loser, winner), paths in sorted(conflicts.items()):
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            self._io.write_error_line(
                f"<warning>Warning: {loser} and {winner} both bring"
                f" {os.path.basename(min(paths))}{more} ({min(paths)}): what is installed"
                f" is that of {winner}.</warning>"
            )
