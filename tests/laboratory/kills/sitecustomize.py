"""Kills the process group of a test at its N-th change below a directory.

On ``PYTHONPATH`` this is imported by every Python that starts, pip's and a build
backend's too.

``KILL_BELOW``  the directory that is watched
``KILL_COUNT``  a file that grows by a byte with each change, over all processes
``KILL_AT``     kill at this change, before it happens; unset: only count
``KILL_HALF``   if set, and the change opens a file: create or truncate it first
"""

from __future__ import annotations

import os
import signal
import sys


WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
DIRECTORIES = {  # where an event has the descriptors its paths are relative to
    "os.remove": (1,),
    "os.rmdir": (1,),
    "os.mkdir": (2,),
    "os.chmod": (2,),
    "os.truncate": (),
    "os.symlink": (2,),
    "os.rename": (2, 3),
    "os.link": (2, 3),
}


def watch(below, count, at):
    busy = False

    def paths(event, args):
        if event == "open":
            return [args[0]]
        if event == "os.symlink":
            return [relative(args[1], args[2])]
        where = DIRECTORIES[event]
        return [
            relative(path, args[where[n]] if n < len(where) else -1)
            for n, path in enumerate(args[: max(1, len(where))])
        ]

    def relative(path, directory):
        if isinstance(directory, int) and directory >= 0:
            return os.path.join(
                os.readlink(f"/proc/self/fd/{directory}"), os.fsdecode(path)
            )
        return path

    def is_below(path):
        if isinstance(path, int):
            return False
        return (os.path.abspath(os.fsdecode(path)) + os.sep).startswith(below + os.sep)

    def hook(event, args):
        nonlocal busy
        if busy or (event != "open" and event not in DIRECTORIES):
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & WRITES):
            return
        busy = True
        try:
            if any(is_below(path) for path in paths(event, args)):
                change(event, args)
        finally:
            busy = False

    def change(event, args):
        fd = os.open(count, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, b".")
        size = os.fstat(fd).st_size
        os.close(fd)
        if size != at:
            return
        if "KILL_HALF" in os.environ and event == "open":
            os.close(os.open(args[0], args[2], 0o644))
        os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hook)


if os.environ.get("KILL_BELOW"):
    watch(
        os.path.abspath(os.environ["KILL_BELOW"]),
        os.environ["KILL_COUNT"],
        int(os.environ.get("KILL_AT", "0")),
    )
