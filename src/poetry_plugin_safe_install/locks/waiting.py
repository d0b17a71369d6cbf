"""What a waiting command says."""

from __future__ import annotations

import os

from contextlib import contextmanager
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator

    from cleo.io.io import IO

    from poetry_plugin_safe_install.locks.clock import WaitClock
    from poetry_plugin_safe_install.locks.holders import HolderRecord
    from poetry_plugin_safe_install.locks.lock import Lock

REPEAT = 10.0
"""Seconds between two lines where the output is no terminal."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as the shells have it: 128 and the number of SIGINT."""


class WaitMessage:
    """Tells on stderr what is waited for, who holds it, since when, and how long.

    On a terminal the line is updated in place, elsewhere a new one is written every
    ten seconds.
    """

    def __init__(self, io: IO, clock: WaitClock) -> None:
        self._io = io
        self._clock = clock
        self._columns = _columns(io)
        self._next = 0.0
        self._rows = 0
        self.waited_for: str = ""
        """The holder, in short; empty while nothing has been said."""

    def __call__(
        self,
        lock: Lock,
        holders: list[HolderRecord],
        waited: float,
        timeout: float | None,
    ) -> None:
        self.waited_for = in_short(holders)
        if self._io.error_output.is_quiet():
            if self._clock.breaks_silence(waited):
                break_silence(self._io, waiting_text(lock, holders, waited, timeout))
            return
        if not self._columns and waited < self._next:
            return
        self._next = int(waited) + REPEAT
        text = waiting_text(lock, holders, waited, timeout)
        if self._columns:
            self._replace(text)
        else:
            self._io.write_error_line(_escape(text))

    def done(self) -> None:
        """The wait is over, one way or the other."""
        if self._rows:
            self._replace("")

    def _replace(self, text: str) -> None:
        """Write over the rows that the text before took."""
        from cleo.io.outputs.output import Type

        up = f"\x1b[{self._rows - 1}A" if self._rows > 1 else ""
        self._io.write_error(f"\r{up}\x1b[J" if self._rows else "", type=Type.RAW)
        self._io.write_error(f"<comment>{_escape(text)}</comment>" if text else "")
        self._rows = -(-len(text) // self._columns)


@contextmanager
def waiting(io: IO, what: str, clock: WaitClock) -> Iterator[WaitMessage]:
    """A wait that the user is told of, and that Ctrl-C ends at once.

    :param what: what is waited for.
    :param clock: of the command that waits.
    :raises SystemExit: with status 130 after Ctrl-C. Cleo would end with 1, which a
        CI job takes for a failed install (``cleo.application.Application.run``, 2.1).
    """
    message = WaitMessage(io, clock)
    try:
        yield message
    except KeyboardInterrupt:
        message.done()
        io.write_error_line(_escape(f"Interrupted while waiting for {what}."))
        raise SystemExit(INTERRUPTED) from None
    finally:
        message.done()


def break_silence(io: IO, text: str) -> None:
    """Say something although ``-q`` was given."""
    from cleo.io.outputs.output import Verbosity

    io.write_error_line(_escape(text), verbosity=Verbosity.QUIET)


def waiting_text(
    lock: Lock, holders: list[HolderRecord], waited: float, timeout: float | None
) -> str:
    """What is waited for, who holds it, since when, and how long."""
    holder = str(holders[0]) if holders else "another command"
    if len(holders) > 1:
        holder += f" and {len(holders) - 1} more"
    limit = "no limit" if timeout is None else f"{timeout:g} s at most"
    return (
        f"Waiting for {lock.guards}, held by {holder}: {waited:.0f} s so far, {limit}"
    )


def in_short(holders: list[HolderRecord]) -> str:
    if not holders:
        return "another command"
    return f"`{holders[0].command}` (pid {holders[0].pid} on {holders[0].host})"


def _columns(io: IO) -> int:
    """The width of the terminal where a line may be updated in place, otherwise 0.

    Colours alone say nothing: they may be forced on for a log file.
    """
    stream = getattr(io.error_output, "stream", None)
    if stream is None or not io.error_output.is_decorated():
        return 0
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # no terminal
        return 0
    return 0 if os.environ.get("TERM") == "dumb" else columns or 80


def _escape(text: str) -> str:
    from cleo.formatters.formatter import Formatter

    return Formatter.escape(text)
