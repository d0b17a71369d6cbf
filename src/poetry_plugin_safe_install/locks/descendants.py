"""Commands started by a command that holds locks.

A build script or plugin of a holder may run ``poetry install`` on the same project. It
must not wait for its ancestor, which waits for it; it must wait for its siblings. So
held locks are named in an environment variable, and a descendant locks another file
instead, one that only the descendants of that holder lock.
"""

from __future__ import annotations

import json
import os
import threading

from pathlib import Path


VARIABLE = "_POETRY_SAFE_INSTALL_HELD"

_LOCK = threading.Lock()
"""Several threads of a command may build at once."""


def announce(path: Path) -> None:
    """Name a lock that this process holds, for the processes it starts."""
    with _LOCK:
        _store([*_entries(), (str(path), os.getpid())])


def withdraw(path: Path) -> None:
    """This process no longer holds the lock."""
    with _LOCK:
        entries = _entries()
        if (entry := (str(path), os.getpid())) in entries:
            entries.remove(entry)
        _store(entries)


def path_for_descendant(path: Path) -> Path:
    """The file to lock in this process: another one if an ancestor holds the lock."""
    for held, pid in reversed(_entries()):
        if held == str(path) and pid != os.getpid() and _is_ancestor(pid):
            return path.with_name(f"{path.name}.within-{pid}")
    return path


def _entries() -> list[tuple[str, int]]:
    try:
        entries = json.loads(os.environ.get(VARIABLE, "[]"))
        return [(str(path), int(pid)) for path, pid in entries]
    except (ValueError, TypeError):
        return []


def _store(entries: list[tuple[str, int]]) -> None:
    if entries:
        os.environ[VARIABLE] = json.dumps(entries)
    else:
        os.environ.pop(VARIABLE, None)


def _is_ancestor(pid: int) -> bool:
    """Whether a process is an ancestor of this one; the variable may be stale."""
    ancestor = os.getppid()
    while ancestor > 1 and ancestor != pid:
        try:
            stat = Path(f"/proc/{ancestor}/stat").read_text(encoding="utf-8")
        except OSError:  # no /proc: alive is all that can be known
            return is_alive(pid)
        ancestor = int(stat.rpartition(")")[2].split()[1])
    return ancestor == pid


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
