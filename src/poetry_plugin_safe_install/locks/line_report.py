"""What a thread says that waits for a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable

    from cleo.io.io import IO

    from poetry_plugin_safe_install.locks.clock import WaitClock
    from poetry_plugin_safe_install.locks.holders import HolderRecord
    from poetry_plugin_safe_install.locks.lock import Lock


class LineReport:
    """What a waiting build or download says.

    Other threads write to the terminal meanwhile, so nothing is updated in place but
    by Poetry itself.
    """

    def __init__(
        self, io: IO, tell: Callable[[str], bool] | None, clock: WaitClock
    ) -> None:
        """
        :param tell: shows a text beside the operation that waits, if that is possible.
        :param clock: of the command that waits.
        """
        self._io = io
        self._clock = clock
        self._tell = tell
        self._next = 0.0
        self.waited_for = ""
        """The holder, in short; empty while nothing has been said."""

    def __call__(
        self,
        lock: Lock,
        holders: list[HolderRecord],
        waited: float,
        timeout: float | None,
    ) -> None:
        from poetry_plugin_safe_install.locks.waiting import REPEAT
        from poetry_plugin_safe_install.locks.waiting import break_silence
        from poetry_plugin_safe_install.locks.waiting import in_short
        from poetry_plugin_safe_install.locks.waiting import waiting_text

        self.waited_for = in_short(holders)
        text = waiting_text(lock, holders, waited, timeout)
        if self._io.error_output.is_quiet():
            if self._clock.breaks_silence(waited):
                break_silence(self._io, text)
            return
        if self._tell and self._tell(text):
            return
        if waited >= self._next:
            self._next = int(waited) + REPEAT
            self._io.write_error_line(text)
