"""What the protection did, for programs and for CI: told when it happens.

``POETRY_SAFE_INSTALL_EVENTS`` names a file that gets one JSON object per line, described
in docs/events.schema.json. Long waits are told to GitHub and GitLab in their own ways.
This module is imported only when there is something to tell.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time

from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat import DISTRIBUTION
from poetry_plugin_safe_install.store import FILE_MODE


if TYPE_CHECKING:
    from typing import Any
    from typing import TypeVar

    from poetry_plugin_safe_install.errors import SafeInstallError

    Refusal = TypeVar("Refusal", bound=SafeInstallError)

VERSION = 1
"""Of the lines; raised when a field is removed or changes its meaning."""

VARIABLE = "POETRY_SAFE_INSTALL_EVENTS"

LONG = 10.0
"""Seconds of a wait that a CI service is told of."""

TABLE = "\n| command | waited | for | holder |\n| --- | ---: | --- | --- |\n"
"""With a line before it: where two commands begin one at the same time, they are two."""

_unwritable: set[str] = set()
"""Files that could not be written, as was said once."""


def tell(event: str, **about: Any) -> None:
    """Append an event to the file that the user has named, if any."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    told = {
        "version": VERSION,
        "event": event,
        "time": round(time.time(), 3),
        "pid": os.getpid(),
        "command": _command(),
        **about,
    }
    try:
        append(path, json.dumps(told) + "\n")
    except OSError as error:
        if path not in _unwritable:
            _unwritable.add(path)
            from poetry_plugin_safe_install.compat.faults import warn

            why = error.strerror or str(error)
            warn(None, f"{DISTRIBUTION}: {VARIABLE} {path} cannot be written: {why}")


def waited(guards: str, path: str, seconds: float, holder: str, outcome: str) -> None:
    """
    :param guards: what was waited for, in words; ``path`` is the lock's.
    :param holder: who had it, in short; empty if the wait was too short to ask.
    :param outcome: ``taken``, ``gave-up`` or ``interrupted``.
    """
    tell(
        "waited",
        seconds=round(seconds, 3),
        **{"for": guards},
        lock=path,
        holder=holder,
        outcome=outcome,
    )
    if seconds >= LONG:
        with suppress(OSError):
            if os.environ.get("GITHUB_ACTIONS") == "true":
                _tell_github(guards, seconds, holder)
            elif os.environ.get("GITLAB_CI") == "true":
                _tell_gitlab(guards, seconds, holder)


def refused(error: Refusal) -> Refusal:
    """The error itself, which the caller raises: a command was stopped."""
    name = type(error).__name__.removesuffix("Error")
    tell("refused", reason=name, text=error.text)
    return error


def append(path: str, text: str) -> None:
    """Append a text atomically: several processes may do so at the same time.

    One ``write`` to a file that is opened for appending; a local file system does not
    mix two of them. Not so NFS, which has no such operation. Where there was room for a
    part only, that part is taken back: a reader must find whole lines.

    :raises OSError: if that is not possible.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
    fd = os.open(path, flags, FILE_MODE)
    try:
        data = text.encode()
        written = os.write(fd, data)
        if written < len(data):
            _take_back(fd, written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(fd)


def _take_back(fd: int, written: int) -> None:
    """Cut off what was written last, unless others have appended since."""
    with suppress(OSError):  # it is a pipe
        end = os.lseek(fd, 0, os.SEEK_CUR)
        if os.fstat(fd).st_size == end:
            os.ftruncate(fd, end - written)


def _command() -> str:
    """What Poetry was called for, without what may be secret: the first word."""
    words = iter(sys.argv[1:])
    for word in words:
        if word in ("-C", "--directory", "-P", "--project"):
            next(words, None)
        elif not word.startswith("-"):
            return f"poetry {word}"
    return "poetry"


def _tell_github(guards: str, seconds: float, holder: str) -> None:
    """https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands

    Commands are read from stderr too, and stdout may be somebody's input.
    """
    text = _sentence(guards, seconds, holder)
    for char, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(char, code)
    _print(f"::notice title={_command()} waited {seconds:.0f} s::{text}\n")
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if not summary:
        return
    cells = (_command(), f"{seconds:.0f} s", guards, holder or "another command")
    row = " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    append(summary, f"{'' if _ends_with_table(summary) else TABLE}| {row} |\n")


def _ends_with_table(summary: str) -> bool:
    with suppress(OSError), open(summary, encoding="utf-8", errors="replace") as file:
        _, table, rows = file.read().rpartition(TABLE)
        return bool(table) and all(row.startswith("| ") for row in rows.splitlines())
    return False


def _tell_gitlab(guards: str, seconds: float, holder: str) -> None:
    """https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections

    The section is shown with the time that lies between its two ends.
    """
    end = time.time()
    name = f"poetry_safe_install_{os.getpid()}_{time.monotonic_ns()}"
    start = f"\x1b[0Ksection_start:{end - seconds:.0f}:{name}[collapsed=true]\r\x1b[0K"
    title = f"{_command()} waited {seconds:.0f} s"
    text = _sentence(guards, seconds, holder)
    _print(f"{start}{title}\n{text}\n\x1b[0Ksection_end:{end:.0f}:{name}\r\x1b[0K\n")


def _sentence(guards: str, seconds: float, holder: str) -> str:
    whom = holder or "another command"
    return f"Waited {seconds:.0f} s for {guards}, last held by {whom}."


def _print(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
