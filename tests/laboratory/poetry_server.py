"""Serves commands of one Poetry: each is forked from this process.

Started by ``tests.laboratory.preloaded`` with Poetry's own Python, and the names of the
modules that it imports beforehand.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from contextlib import suppress
from importlib import import_module
from pathlib import Path


def serve() -> None:
    """Fork for every line of standard input; in the forked process, return."""
    for line in sys.stdin:
        directory, environ, arguments, said = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become(Path(directory), environ, arguments, said)
            return
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)


def become(
    directory: Path, environ: dict[str, str], arguments: list[str], said: str
) -> None:
    os.setsid()
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environ)
    out = os.open(said, os.O_WRONLY)
    for fd in (1, 2):
        os.dup2(out, fd)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["poetry", "--no-ansi", *arguments]
    for place in filter(None, environ.get("PYTHONPATH", "").split(os.pathsep)):
        source = Path(place, "sitecustomize.py")
        code = compile(source.read_text(encoding="utf-8"), source, "exec")
        exec(code, {"__name__": "sitecustomize"})


if __name__ == "__main__":
    for module in sys.argv[1:]:
        with suppress(ImportError):
            import_module(module)
    serve()
    from poetry.console.application import main

    sys.exit(main())
