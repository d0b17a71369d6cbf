"""Who holds a lock: records beside it, for those who wait.

A holder keeps its record locked. So a record that nobody has locked is of a command that
died, on whatever host and in whatever container.
"""

from __future__ import annotations

import json
import os
import socket
import time

from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.locks.descendants import is_alive
from poetry_plugin_safe_install.locks.descendants import is_ancestor
from poetry_plugin_safe_install.locks.flock import NO_FOLLOW
from poetry_plugin_safe_install.locks.flock import is_locked
from poetry_plugin_safe_install.locks.flock import lock_own_file
from poetry_plugin_safe_install.store import FILE_MODE
from poetry_plugin_safe_install.store import make_directory


if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Iterator
    from collections.abc import Sequence
    from pathlib import Path


class HolderRecord:
    """Who holds a lock. ``since`` is in seconds since the epoch.

    Not a named tuple: creating one takes a thirtieth of what this plugin may cost a
    command.
    """

    def __init__(
        self,
        command: str,
        pid: int,
        host: str,
        user: str,
        since: float,
        mode: str,
        namespace: int = 0,
        announced: bool = False,
        rewrites_nothing: str = "",
        ancestors: Sequence[int] = (),
        guards: str = "",
        holds: Sequence[str] = (),
    ) -> None:
        """
        :param namespace: that of the pid, as Linux numbers them; 0 elsewhere.
        :param announced: whether the holder wants its descendants not to wait for it.
        :param rewrites_nothing: what was found to rewrite nothing: see ``Lock.alike``.
        :param ancestors: of one who waits, the processes that wait for it.
        :param guards: of one who waits, what for, in words.
        :param holds: of one who waits, the locks that it or an ancestor of it holds.
        """
        self.command = command
        self.pid = pid
        self.host = host
        self.user = user
        self.since = since
        self.mode = mode
        self.namespace = namespace
        self.announced = announced
        self.rewrites_nothing = rewrites_nothing
        self.ancestors = ancestors
        self.guards = guards
        self.holds = holds

    @property
    def is_here(self) -> bool:
        """Whether its pid is one of those that this process sees."""
        return (self.host, self.namespace) == (socket.gethostname(), pid_namespace())

    @property
    def is_of_ancestor(self) -> bool:
        """Whether the holder has started this process, directly or not."""
        other = self.pid != os.getpid()
        return self.is_here and other and is_ancestor(self.pid)

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        since = since.removeprefix(time.strftime("%Y-%m-%d "))
        return (
            f"`{self.command}` (pid {self.pid} on {self.host},"
            f" user {self.user}) since {since}"
        )


class OwnRecord:
    """The record of a lock that this process holds."""

    def __init__(self, path: Path, fd: int, about: dict[str, Any]) -> None:
        self._path = path
        self._fd = fd
        self.about = about

    def change(self, **about: Any) -> None:
        self.about.update(about)
        text = json.dumps(self.about).encode()
        with suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, text, 0)

    def remove(self) -> None:
        with suppress(OSError):
            self._path.unlink()
        os.close(self._fd)


def write_record(
    directory: Path, command: str, mode: str, *, alone: bool, stays_on_host: bool
) -> OwnRecord | None:
    """Say who holds a lock. A courtesy: failing to say so is no error.

    :param directory: where the records of the lock are.
    :param alone: whether nobody else holds it, so that other records are stale.
    :param stays_on_host: whether the kernel's locks are seen by this host alone, so that
        a lock on the record would tell others nothing.
    """
    host = socket.gethostname()
    pid, now = os.getpid(), time.time()
    about = HolderRecord(command, pid, host, _user(), now, mode, pid_namespace())
    path = directory / f"{host}-{pid}-{time.monotonic_ns():x}.json"
    with suppress(OSError):
        if alone:
            for stale in _records(directory):
                stale.unlink(missing_ok=True)
        make_directory(directory)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_FOLLOW, FILE_MODE)
        locked = not stays_on_host and lock_own_file(fd)
        record = OwnRecord(path, fd, {**vars(about), "locked": locked})
        record.change()
        return record
    return None


def holders(directory: Path) -> list[HolderRecord]:
    """Who holds the lock with these records, as far as is known; the oldest first."""
    found = [record for _, record, lives in _known(directory) if lives]
    return sorted(found, key=lambda record: record.since)


def records_of_dead(directory: Path) -> list[Path]:
    """Records of commands that died without removing them."""
    return [path for path, _, lives in _known(directory) if not lives]


def _known(directory: Path) -> Iterator[tuple[Path, HolderRecord, bool]]:
    """Every record that can be read, and whether its command lives."""
    host = socket.gethostname()
    for path in _records(directory):
        with suppress(OSError, ValueError, TypeError, KeyError, OverflowError):
            about = json.loads(path.read_text(encoding="utf-8"))
            record = _parsed(about)
            if about.get("locked"):
                lives = is_locked(path) is not False
            else:
                lives = record.host != host or is_alive(record.pid)
            yield path, record, lives


def ancestor_among(
    records: list[HolderRecord], announcers: Collection[int] = ()
) -> int | None:
    """The pid of a holder that has started this process, and does not want it to wait.

    :param announcers: those that have told this process so itself, not everybody.
    """
    wanted = (one for one in records if one.announced or one.pid in announcers)
    return next((one.pid for one in wanted if one.is_of_ancestor), None)


def pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _records(directory: Path) -> list[Path]:
    try:
        return [directory / name for name in os.listdir(directory)]
    except OSError:
        return []


def printable(text: str) -> str:
    """What anybody may have written, as it can be shown."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _parsed(record: Any) -> HolderRecord:
    """A record, which anybody may have written."""
    texts = {
        name: printable(str(record.get(name, "")))
        for name in ("command", "host", "user", "mode", "guards")
    }
    time.localtime(record["since"])  # raises unless there is such a time
    return HolderRecord(
        **texts,
        pid=int(record["pid"]),
        since=float(record["since"]),
        namespace=int(record.get("namespace", 0)),
        announced=bool(record.get("announced")),
        rewrites_nothing=str(record.get("rewrites_nothing", "")),
        ancestors=[int(pid) for pid in record.get("ancestors", ())],
        holds=[str(path) for path in record.get("holds", ())],
    )


def _user() -> str:
    """Who runs this: ``getpass`` without its import of ``termios``."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # Windows; a user without a name
        return os.environ.get("USERNAME", "unknown")
