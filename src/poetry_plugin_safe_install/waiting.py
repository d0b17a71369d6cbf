"""What a waiting command says."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from cleo.io.io import IO

    from poetry_plugin_safe_install.locks import Holder
    from poetry_plugin_safe_install.locks import Lock

REPEAT = 10.0
"""Seconds between two lines where the output is no terminal."""


def who_holds(holders: list[Holder]) -> str:
    holder = str(holders[0]) if holders else "another command"
    return f"{holder} and {len(holders) - 1} more" if len(holders) > 1 else holder


def waiting_text(
    lock: Lock, holders: list[Holder], waited: float, timeout: float | None
) -> str:
    """What is waited for, who holds it, since when, and how long."""
    limit = "for ever" if timeout is None else f"{timeout:.0f} s at most"
    return (
        f"Waiting for {lock.guards}, held by {who_holds(holders)}:"
        f" {waited:.0f} s so far, {limit}"
    )


class WaitMessage:
    """Tells on stderr what is waited for, who holds it, since when, and how long.

    On a terminal the line is updated in place, elsewhere it is written anew every ten
    seconds.
    """

    def __init__(self, io: IO) -> None:
        self._io = io
        self._next = 0.0
        self.waited_for: str = ""

    def __call__(
        self, lock: Lock, holders: list[Holder], waited: float, timeout: float | None
    ) -> None:
        self.waited_for = who_holds(holders)
        in_place = self._io.error_output.is_decorated()
        if not in_place and waited < self._next:
            return
        self._next = waited + REPEAT
        text = waiting_text(lock, holders, waited, timeout)
        if in_place:
            self._io.write_error(f"\r\x1b[2K<comment>{text}</comment>")
        else:
            self._io.write_error_line(text)

    def done(self) -> None:
        """The wait is over, one way or the other."""
        if self.waited_for and self._io.error_output.is_decorated():
            self._io.write_error("\r\x1b[2K")
