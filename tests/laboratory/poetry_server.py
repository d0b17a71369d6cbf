"""Serves commands of one Poetry: each is forked from this process.

Started by ``tests.laboratory.preloaded`` with Poetry's own Python, and the descriptor of
the socket from which it is told what to run.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import tempfile
import threading

from contextlib import suppress
from importlib import import_module
from importlib import reload
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


LONGEST = 1 << 20
"""Bytes of an order at most: a command and its environment."""

SCRIPTS = str(Path(sys.executable).parent)
"""Where the script lies that users execute, which Python puts on its path."""

NEW_MOUNTS = 0x20000
"""``CLONE_NEWNS``, which Python knows from 3.12 on."""

LOWEST = 3
HIGHEST = 1024
"""Descriptors that a command may not inherit, as if it had been executed."""


def load() -> None:
    """Import Poetry as far as any of its commands does; this plugin is no part of it."""
    for name in ("poetry", "poetry.core"):
        package = import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if "._vendor" not in module.name and "__main__" not in module.name:
                with suppress(ImportError):
                    import_module(module.name)
    # The tables of parsers, and validators, are made when they are used first.
    import_module("poetry.core.version.markers").parse_marker('python_version > "3"')
    import_module("poetry.core.version.requirements").Requirement("name>=1")
    content = {"project": {"name": "name", "version": "1"}, "tool": {"poetry": {}}}
    import_module("poetry.factory").Factory.validate(content)
    gc.collect()
    gc.freeze()


def serve(orders: socket.socket) -> None:
    """Fork for every order; in the forked process, return."""
    answers: dict[int, tuple[int, int]] = {}
    poll = select.poll()
    poll.register(orders, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready != orders.fileno():
                pid, answer = answers.pop(ready)
                poll.unregister(ready)
                os.close(ready)
                _, status = os.waitpid(pid, 0)
                say(answer, os.waitstatus_to_exitcode(status))
                os.close(answer)
                continue
            order, descriptors, _, _ = socket.recv_fds(orders, LONGEST, 4)
            if not order:
                os._exit(0)
            out, error, answer, *namespace = descriptors
            pid = os.fork()
            if pid == 0:
                orders.detach()
                for each in namespace:
                    enter(each)
                become(out, error, **json.loads(order))
                return
            for each in (out, error, *namespace):
                os.close(each)
            say(answer, pid)
            ended = os.pidfd_open(pid)
            answers[ended] = (pid, answer)
            poll.register(ended, select.POLLIN)


def say(answer: int, number: int) -> None:
    with suppress(BrokenPipeError):
        os.write(answer, b"%d\n" % number)


def enter(namespace: int) -> None:
    """See the file systems that are mounted there (Linux, as root)."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, NEW_MOUNTS):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def locate() -> None:
    """Have Poetry's directories as these variables tell: it asks when it is imported."""
    locations = reload(import_module("poetry.locations"))
    config = import_module("poetry.config.config")
    config.CONFIG_DIR = locations.CONFIG_DIR  # type: ignore[attr-defined]
    config.DEFAULT_CACHE_DIR = locations.DEFAULT_CACHE_DIR  # type: ignore[attr-defined]
    config.Config.default_config["cache-dir"] = str(locations.DEFAULT_CACHE_DIR)


def become(
    out: int,
    error: int,
    command: list[str],
    cwd: str,
    env: dict[str, str],
    new_session: bool,
) -> None:
    """Be as the command would be that was executed."""
    if new_session:
        os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for opened, standard in ((null, 0), (out, 1), (error, 2)):
        os.dup2(opened, standard)
    os.closerange(LOWEST, HIGHEST)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    tempfile.tempdir = None
    locate()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()  # what it would look at is shared with the server, until it does
    sys.argv = command
    sys.orig_argv = [sys.executable, *command]
    places = [place for place in env.get("PYTHONPATH", "").split(os.pathsep) if place]
    after = sys.path.index(SCRIPTS) + 1
    sys.path[after:after] = places
    for place in places:
        source = Path(place, "sitecustomize.py")
        code = compile(source.read_text(encoding="utf-8"), source, "exec")
        exec(code, {"__name__": "sitecustomize"})


def execute(main: Callable[[], int]) -> None:
    """Run it as a script does, but that nothing imported is taken apart in the end."""
    try:
        code = main()
    except SystemExit as exit_:
        code = exit_.code or 0  # type: ignore[assignment]
    if not isinstance(code, int):
        sys.exit(code)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the tests end their servers
    sys.path[0] = SCRIPTS
    load()
    serve(socket.socket(fileno=int(sys.argv[1])))
    from poetry.console.application import main

    execute(main)
