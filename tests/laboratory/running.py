"""Commands under way, and how they ended."""

from __future__ import annotations

import os
import subprocess
import threading

from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import Protocol


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence

TIMEOUT = 300.0
"""Seconds after which a command that has not ended, or not spoken, counts as stuck."""

LAST_WORDS = 5.0
"""Seconds to read on after a command has ended: its own children may have its pipe."""


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str

    def succeeded(self) -> Result:
        assert self.code == 0, self.out
        return self

    def failed(self, *texts: str) -> Result:
        assert self.code != 0, self.out
        flat = " ".join(self.out.split())
        for text in texts:
            assert text in flat, self.out
        return self


class Process(Protocol):
    """What a command under way is asked, as of ``subprocess.Popen``."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int, /) -> None: ...
    def kill(self) -> None: ...


class Running:
    """A Poetry command under way; stdout and stderr are one text.

    A thread of its own is the only reader of it: nobody else has the pipe.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        begin: Callable[..., Process] = subprocess.Popen,
        **popen: Any,
    ) -> None:
        """
        :param begin: what starts it, called like ``subprocess.Popen``.
        """
        ours, theirs = os.pipe()
        try:
            self._process = begin(
                command,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=subprocess.STDOUT,
                **popen,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        UNDER_WAY.add(self)
        self._out = ""
        self._complete = False
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def says(self, text: str, timeout: float = TIMEOUT) -> str:
        """Wait until the command has said something, or fail if it ends without.

        :return: all that it has said so far.
        """
        with self._more:
            self._more.wait_for(lambda: text in self._out or self._complete, timeout)
            said = self._out
        assert text in said, f"has not said {text!r}:\n{said}"
        return said

    def result(self, timeout: float = TIMEOUT) -> Result:
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"did not end within {timeout} s:\n{self._out}"
            raise AssertionError(message) from None
        self._ended()
        return Result(code, self._out)

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._ended()

    def _ended(self) -> None:
        # A process of its own may have the pipe still, and never end.
        self._reader.join(LAST_WORDS)
        UNDER_WAY.discard(self)

    def _read(self, pipe: int) -> None:
        with open(pipe, encoding="utf-8", errors="replace", newline="") as lines:
            for line in lines:
                with self._more:
                    self._out += line
                    self._more.notify_all()
        with self._more:
            self._complete = True
            self._more.notify_all()


UNDER_WAY: set[Running] = set()
"""Commands that nobody has seen end."""
