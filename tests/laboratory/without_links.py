"""A program: runs a command for which the kernel refuses symbolic links in one place.

``python without_links.py DIRECTORY COMMAND [ARGUMENT …]``, where the directory is one at
the top of the file system. With Landlock (Linux 5.19 or newer, its second ABI: linking
from one directory to another is a right of its own there, and stays allowed):
https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

from pathlib import Path


CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PATH_BENEATH = 1
MAKE_SYM, REFER = 1 << 12, 1 << 13
SET_NO_NEW_PRIVS = 38


def call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result


def refuse_links(place: Path) -> None:
    """Refuse them for this process and all that it starts."""
    handled = struct.pack("=Q", MAKE_SYM | REFER)
    ruleset = call(CREATE_RULESET, handled, len(handled), 0)
    for top in Path("/").iterdir():
        if top.is_dir() and not top.is_symlink():
            rights = REFER if top == place else MAKE_SYM | REFER
            directory = os.open(top, os.O_PATH | os.O_CLOEXEC)
            rule = struct.pack("=Qi", rights, directory)
            call(ADD_RULE, ruleset, PATH_BENEATH, rule, 0)
            os.close(directory)
    ctypes.CDLL(None).prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call(RESTRICT_SELF, ruleset, 0)


if __name__ == "__main__":
    refuse_links(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
