"""What Ctrl-C and SIGTERM do to a command that changes something.

The first Ctrl-C is Poetry's: what is being installed is, and nothing else. SIGTERM and a second
Ctrl-C end the command at once, with its child processes and temporary files; what they
leave in the environment is in the journal, and the next command repairs it.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading

from contextlib import contextmanager
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from threading import RLock

    from poetry_plugin_safe_install.compat.command_line import StartingCommand

PATIENCE = 2.0
"""Seconds to wait for a temporary directory that is being made."""

SHELL_BASE = 128
"""The shells' exit status of a command that a signal ends: this and its number."""


def watch_signals(command: StartingCommand) -> Interruption:
    """Have signals end a command as the shells expect, until it ends."""
    interruption = Interruption(command.io.write_error_line)
    interruption.start()
    command.at_end(interruption.stop)
    command.before_work(partial(_watch_work, command, interruption))
    return interruption


def _watch_work(command: StartingCommand, interruption: Interruption) -> None:
    from poetry_plugin_safe_install.compat.interrupts import INTERRUPTS
    from poetry_plugin_safe_install.compat.temporary import TEMPORARY

    command.patch(TEMPORARY, interruption.making)
    command.patch(INTERRUPTS, interruption)


class Interruption:
    """Watches for signals from ``start`` until ``stop``; those that the user or another
    plugin handles are left alone."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """:param say: shows a line to the user."""
        self._say = say
        self.making = threading.RLock()
        """Held while a temporary directory is made."""
        self._received = 0
        self._is_held_back = False
        self._is_due = False
        """Whether a Ctrl-C has been noted only."""
        self._before: dict[int, Any] = {}

    def start(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may set handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            usual = (signal.SIG_DFL, signal.default_int_handler)
            if signal.getsignal(number) in usual:
                self._before[number] = signal.signal(number, self._handle)

    def stop(self) -> None:
        for number, before in self._before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, before)
        self._before = {}

    def exit_status(self, status: int) -> int:
        """The status to end with: Poetry's own, unless Ctrl-C made the command fail."""
        return SHELL_BASE + self._received if self._received and status else status

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Ctrl-C is only noted meanwhile, and raised at the end."""
        before, self._is_held_back = self._is_held_back, True
        try:
            yield
        finally:
            self._is_held_back = before
        if not before:
            self.let_in()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """
        :raises KeyboardInterrupt: as if nothing was held back.
        """
        before = self._is_held_back
        try:
            self._is_held_back = False
            self.let_in()
            yield
        finally:
            self._is_held_back = before

    def let_in(self, *, others_work: bool = False) -> None:
        """
        :param others_work: whether Poetry is going to wait for threads then.
        :raises KeyboardInterrupt: if Ctrl-C was pressed while it was held back.
        """
        if self._is_due:
            self._is_due = False
            if others_work:
                self._say(
                    "<warning>Interrupted: what is being installed still is. Another"
                    " Ctrl-C ends it at once.</warning>"
                )
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: object) -> None:
        if number == signal.SIGTERM or self._received:
            end_now(SHELL_BASE + number, self.making)
        self._received = number
        if self._is_held_back:
            self._is_due = True
        else:
            raise KeyboardInterrupt


def end_now(status: int, making: RLock) -> None:
    """End this process, its child processes and its temporary files.

    Threads cannot be ended from outside, so the process does not wait for them; what
    ``atexit`` has to do is done, ``tempfile.TemporaryDirectory`` among it.

    :param making: with it no thread makes another directory after that.
    """
    making.acquire(timeout=PATIENCE)
    for child in descendants(os.getpid()):
        with suppress(OSError):
            os.kill(child, signal.SIGTERM)
    with suppress(Exception):
        atexit._run_exitfuncs()
    os._exit(status)


def descendants(process: int) -> Iterator[int]:
    """The processes that a process and its children have started (Linux only)."""
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError, ValueError):
            for child in map(int, children.read_text(encoding="ascii").split()):
                yield from descendants(child)
                yield child
