"""Commands started by a command that holds locks.

A build script or plugin of a holder may run ``poetry install`` on the same project. It
must not wait for its ancestor, which waits for it; it must wait for its siblings. So
held locks are named in an environment variable, and a descendant locks another file
instead, one that only the descendants of that holder lock.

A lock is known by its file, not by the name of it: a descendant may have come to the
project by a symbolic link, a bind mount or another spelling.
"""

from __future__ import annotations

import json
import os
import threading

from pathlib import Path


VARIABLE = "_POETRY_SAFE_INSTALL_HELD"

_LOCK = threading.Lock()
"""Several threads of a command may build at once."""


class Announced:
    """A lock that a process holds, as its descendants are told of it."""

    def __init__(self, path: Path, pid: int, device: int, inode: int) -> None:
        """
        :param device: with ``inode``, the directory of the lock; 0 where it is unknown.
        """
        self.path = path
        self.pid = pid
        self.device = device
        self.inode = inode

    @property
    def entry(self) -> list[str | int]:
        return [str(self.path), self.pid, self.device, self.inode]

    def is_at(self, path: Path) -> bool:
        """Whether this path leads to the lock too.

        By its directory: where marker files serve, the lock itself is no file.
        """
        if path == self.path:
            return True
        if path.name != self.path.name or not self.inode:
            return False
        return _identity(path.parent) == (self.device, self.inode)


def announce(path: Path) -> None:
    """Name a lock that this process holds, for the processes it starts."""
    with _LOCK:
        _store([*_entries(), _announced(path)])


def withdraw(path: Path) -> None:
    """This process no longer holds the lock."""
    with _LOCK:
        entries = _entries()
        for at, entry in enumerate(entries):
            if entry.path == path and entry.pid == os.getpid():
                del entries[at]
                break
        _store(entries)


def announcement(path: Path) -> dict[str, str]:
    """Variables that name a lock to one process alone, beside what all are told."""
    with _LOCK:
        return {VARIABLE: _listed([*_entries(), _announced(path)])}


def path_for_descendant(path: Path) -> Path:
    """The file to lock in this process: another one if an ancestor holds the lock."""
    for held in reversed(_entries()):
        if held.pid != os.getpid() and held.is_at(path) and is_ancestor(held.pid):
            return path_within(held.path, held.pid)
    return path


def announcers(path: Path) -> set[int]:
    """The processes that have named a lock to this one, as far as it was told."""
    return {held.pid for held in _entries() if held.is_at(path)}


def path_within(path: Path, pid: int) -> Path:
    """The file that the descendants of a holder lock instead."""
    return path.with_name(f"{path.name}.within-{pid}")


def paths_within(path: Path) -> list[Path]:
    """Those of all holders whose descendants lock something."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return []
    start = f"{path.name}.within-"
    found = (name for name in names if name.startswith(start))
    return [path.with_name(name) for name in found if name[len(start) :].isdigit()]


def learn_from_ancestors() -> None:
    """Know what ancestors were told, though the environment was emptied on the way.

    ``env -i`` and sudo take the variable from a command, not from what has started them.
    """
    found: dict[tuple[str | int, ...], Announced] = {}
    for pid in reversed(ancestors()):
        for one in _parsed(_told(pid)):
            found[tuple(one.entry)] = one
    with _LOCK:
        own = _entries()
        for one in own:
            found.pop(tuple(one.entry), None)
        if found:
            _store([*found.values(), *own])


def _told(pid: int) -> str:
    """The variable as a process was started with it, as far as Linux tells."""
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # another user's; no /proc
        return "[]"
    for entry in environ.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name == VARIABLE.encode():
            return os.fsdecode(value)
    return "[]"


def is_hidden_below(ancestor: int) -> bool:
    """Whether another user's process lies between an ancestor and this one: what it was
    told cannot be read."""
    for pid in ancestors():
        if pid == ancestor:
            break
        try:
            Path(f"/proc/{pid}/environ").open("rb").close()
        except PermissionError:
            return True
        except OSError:  # it has ended; no /proc
            continue
    return False


def _announced(path: Path) -> Announced:
    return Announced(path, os.getpid(), *_identity(path.parent))


def _identity(directory: Path) -> tuple[int, int]:
    try:
        found = os.stat(directory)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _entries() -> list[Announced]:
    return _parsed(os.environ.get(VARIABLE, "[]"))


def _parsed(listed: str) -> list[Announced]:
    try:
        return [
            Announced(Path(path), int(pid), int(device), int(inode))
            for path, pid, device, inode in json.loads(listed)
        ]
    except (ValueError, TypeError):
        return []


def _store(announced: list[Announced]) -> None:
    if announced:
        os.environ[VARIABLE] = _listed(announced)
    else:
        os.environ.pop(VARIABLE, None)


def _listed(announced: list[Announced]) -> str:
    return json.dumps([one.entry for one in announced])


def announced_paths() -> list[Path]:
    """The locks that this process or an ancestor of it holds, as far as it was told."""
    return [held.path for held in _entries()]


def is_ancestor(pid: int) -> bool:
    """Whether a process is an ancestor of this one; the variable may be stale."""
    return pid == os.getppid() or pid in ancestors()


def ancestors() -> list[int]:
    """The processes that have started this one, the nearest first."""
    found: list[int] = []
    ancestor = os.getppid()
    while ancestor > 1:
        found.append(ancestor)
        try:
            stat = Path(f"/proc/{ancestor}/stat").read_text(encoding="utf-8")
        except OSError:  # no /proc
            return _ancestors_of_ps()
        ancestor = int(stat.rpartition(")")[2].split()[1])
    return found


def _ancestors_of_ps() -> list[int]:
    """The ancestors of this process, as ``ps`` of POSIX tells them."""
    import subprocess

    command = ["ps", "-A", "-o", "pid=", "-o", "ppid="]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10)
        numbers = [int(word) for word in told.stdout.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
    parents = dict(zip(numbers[::2], numbers[1::2], strict=True))
    found: list[int] = []
    pid = os.getpid()
    while (pid := parents.get(pid, 0)) > 1 and pid not in found:
        found.append(pid)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process of this host lives, as far as can be known."""
    if os.name == "nt":
        return True  # os.kill would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
