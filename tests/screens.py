"""What commands show, compared with plain files in tests/screens.

What differs from run to run (paths, pids, times, versions) is replaced first. With
``UPDATE_SCREENS=1`` in the environment the files are written anew.
"""

from __future__ import annotations

import getpass
import os
import re
import socket

from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pyte


if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

FOLDER = Path(__file__).parent / "screens"
TIMEOUT = 60


def assert_screen(name: str, shown: str, places: Mapping[str, object]) -> None:
    """Compare what was shown with the file of this name.

    :param places: what to write instead of these paths and versions.
    """
    file = FOLDER / f"{name}.txt"
    plain = without_changes(shown, places)
    if os.environ.get("UPDATE_SCREENS"):
        file.write_text(plain)
    assert plain == file.read_text()


def without_changes(shown: str, places: Mapping[str, object]) -> str:
    shown = re.sub(r"\w+-\d+\.\d+\.\d+-\S+-linux-gnu", "<interpreter>", shown)
    for name, value in sorted(places.items(), key=lambda place: -len(str(place[1]))):
        shown = shown.replace(str(value), f"<{name}>")
    for pattern, instead in (
        (r"pid \d+", "pid <pid>"),
        (r"Python \d+\.\d+\.\d+", "Python <python>"),
        (rf"on {re.escape(socket.gethostname())}\b", "on <host>"),
        (rf"user {re.escape(getpass.getuser())}\b", "user <user>"),
        (r"since \d\d:\d\d:\d\d", "since <time>"),
        (r"\b\d+(\.\d)? s so far", "<n> s so far"),
        (r"waited \d+(\.\d)? s", "waited <n> s"),
        (r"after \d+ s", "after <n> s"),
    ):
        shown = re.sub(pattern, instead, shown)
    return "\n".join(line.rstrip() for line in shown.strip("\r\n").splitlines()) + "\n"


class Terminal:
    """A Poetry command in a pseudo-terminal, and the screen that a person sees."""

    def __init__(
        self,
        project: Project,
        home: PoetryHome,
        *arguments: str,
        venv: Path | None = None,
        columns: int = 80,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, 60)
        self._stream = pyte.Stream(self.screen)
        environment = project.environment(venv, environ)
        environment.pop("NO_COLOR", None)
        self.child = pexpect.spawn(
            str(home.executable),
            list(arguments),
            cwd=str(project.path),
            env={**environment, "TERM": "xterm"},
            dimensions=(60, columns),
            encoding="utf-8",
            timeout=TIMEOUT,
        )
        self.raw = ""

    def until(self, pattern: str) -> str:
        """Read on until this is shown; what was matched."""
        self.child.expect(pattern)
        assert isinstance(self.child.before, str)
        assert isinstance(self.child.after, str)
        self._show(self.child.before + self.child.after)
        return self.child.after

    def end(self) -> int:
        """Read to the end; the exit status, or 128 and the signal that ended it."""
        self.child.expect(pexpect.EOF)
        assert isinstance(self.child.before, str)
        self._show(self.child.before)
        self.child.close()
        if self.child.signalstatus is not None:
            return 128 + int(self.child.signalstatus)
        assert self.child.exitstatus is not None
        return int(self.child.exitstatus)

    def _show(self, text: str) -> None:
        self.raw += text
        self._stream.feed(text)

    @property
    def text(self) -> str:
        """What is on the screen now."""
        return "\n".join(self.screen.display).rstrip()
