"""Files that the threads of one command write and remove, so that none undoes another's."""

from __future__ import annotations

import threading

from contextlib import contextmanager
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator


class Targets:
    """By the key of the operation; its threads call this at once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._written: dict[str, set[str]] = {}
        self._removed: dict[str, set[str]] = {}
        self.is_contested = False
        """Whether two operations at once were about to write the same file."""

    def start(self, key: str, targets: set[str]) -> tuple[set[str], bool]:
        """Note what an operation writes; waits while another one removes some of it.

        :return: what the others write, and whether it has waited.
        """
        with self._changed:
            waited = False
            while self._are_removed(key, targets):
                waited = True
                self._changed.wait()
            others = self.others(key)
            self._written[key] = targets
            self.is_contested |= not others.isdisjoint(targets)
            return others, waited

    def _are_removed(self, key: str, targets: set[str]) -> bool:
        return any(
            not files.isdisjoint(targets)
            for other, files in self._removed.items()
            if other != key
        )

    def end(self, key: str) -> None:
        with self._changed:
            self._written.pop(key, None)

    @contextmanager
    def removing(self, key: str, files: set[str]) -> Iterator[set[str]]:
        """Let nobody begin to write some of these files meanwhile.

        Who removes a file has seen before that nobody writes it.

        :return: what the others write already.
        """
        with self._changed:
            self._removed[key] = files
            others = self.others(key)
        try:
            yield others
        finally:
            with self._changed:
                del self._removed[key]
                self._changed.notify_all()

    def others(self, key: str) -> set[str]:
        """What all other operations write."""
        return {
            path
            for other, targets in self._written.items()
            if other != key
            for path in targets
        }
