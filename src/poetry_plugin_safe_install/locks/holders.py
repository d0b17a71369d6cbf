"""Who holds a lock: records beside it, for those who wait."""

from __future__ import annotations

import os
import time

from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.locks.descendants import is_alive
from poetry_plugin_safe_install.store import FILE_MODE
from poetry_plugin_safe_install.store import make_directory


if TYPE_CHECKING:
    from pathlib import Path


class HolderRecord:
    """Who holds a lock. ``since`` is in seconds since the epoch.

    Not a named tuple: creating one takes a thirtieth of what this plugin may cost a
    command.
    """

    def __init__(
        self, command: str, pid: int, host: str, user: str, since: float, mode: str
    ) -> None:
        self.command = command
        self.pid = pid
        self.host = host
        self.user = user
        self.since = since
        self.mode = mode

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        since = since.removeprefix(time.strftime("%Y-%m-%d "))
        return (
            f"`{self.command}` (pid {self.pid} on {self.host},"
            f" user {self.user}) since {since}"
        )


def write_record(
    directory: Path, command: str, mode: str, *, alone: bool
) -> Path | None:
    """Say who holds a lock. A courtesy: failing to say so is no error.

    :param directory: where the records of the lock are.
    :param alone: whether nobody else holds it, so that other records are stale.
    """
    import json
    import socket

    host = socket.gethostname()
    record = HolderRecord(command, os.getpid(), host, _user(), time.time(), mode)
    path = directory / f"{host}-{os.getpid()}.json"
    with suppress(OSError):
        if alone:
            for stale in _records(directory):
                stale.unlink(missing_ok=True)
        make_directory(directory)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(vars(record), file)
        return path
    return None


def holders(directory: Path) -> list[HolderRecord]:
    """Who holds the lock with these records, as far as is known; the oldest first."""
    import json
    import socket

    host = socket.gethostname()
    found = []
    for path in _records(directory):
        try:
            record = _parsed(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            continue
        if record.host != host or is_alive(record.pid):
            found.append(record)
    return sorted(found, key=lambda record: record.since)


def _records(directory: Path) -> list[Path]:
    try:
        return [directory / name for name in os.listdir(directory)]
    except OSError:
        return []


def _parsed(record: Any) -> HolderRecord:
    """A record, which anybody may have written."""
    texts = {
        name: "".join(c if c.isprintable() else "?" for c in str(record[name]))
        for name in ("command", "host", "user", "mode")
    }
    time.localtime(record["since"])  # raises unless there is such a time
    return HolderRecord(**texts, pid=int(record["pid"]), since=float(record["since"]))


def _user() -> str:
    """Who runs this: ``getpass`` without its import of ``termios``."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # Windows; a user without a name
        return os.environ.get("USERNAME", "unknown")
