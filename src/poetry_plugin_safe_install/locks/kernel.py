"""Who has a kernel's lock on a file, asked without taking it: Linux tells.

To try a lock is to take it for a moment, in which somebody else may want it. Where the
kernel does not tell, on other systems or for processes that this one cannot see, nobody
is known.
"""

from __future__ import annotations

import os

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from poetry_plugin_safe_install.locks.holders import printable


LOCKS = Path("/proc/locks")
"""``1: FLOCK  ADVISORY  WRITE 4711 fe:01:131077 0 EOF``: see proc_locks(5). The line of
one who waits has an arrow after its number."""

MODES = {"WRITE": "exclusive", "READ": "shared"}


class Flocker(NamedTuple):
    pid: int
    program: str
    """As the kernel knows it: up to 15 characters."""
    mode: str
    """``exclusive`` or ``shared``."""


def flockers(path: Path) -> list[Flocker]:
    """The other processes that have locked a file."""
    found = []
    with suppress(OSError):
        about = os.stat(path)
        device = about.st_dev
        file = f"{os.major(device):02x}:{os.minor(device):02x}:{about.st_ino}"
        for line in LOCKS.read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[1] != "FLOCK" or words[5] != file:
                continue
            pid = int(words[4])
            if pid > 0 and pid != os.getpid():  # of another namespace; this one
                found.append(Flocker(pid, _program(pid), MODES.get(words[3], "")))
    return found


def _program(pid: int) -> str:
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "a program"
    return printable(name.strip())
