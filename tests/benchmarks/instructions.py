"""Instructions that a command takes: the one figure that no other load disturbs."""

from __future__ import annotations

import re
import shutil
import subprocess

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.laboratory.poetries import measured_home


if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.ways import Command

START = """\
import os, sys
os.execvpe = lambda *args, **kwargs: os._exit(0)
from poetry.console.application import main
sys.exit(main())
"""
"""Poetry up to where ``run`` becomes the user's program."""


def instructions(command: Command, *, protected: bool) -> int | None:
    """Instructions executed, or ``None`` where valgrind is not installed."""
    valgrind = shutil.which("valgrind")
    if not valgrind:
        return None
    home = measured_home(command.minor, protected=protected)
    line = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    line += [str(home.python), "-c", START, *command.arguments]
    environ = {**command.environ, "PYTHONHASHSEED": "0"}
    result = subprocess.run(
        line,
        cwd=command.project.path,
        env=command.project.environment(command.venv, environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    found = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode or not found:
        raise RuntimeError(result.stdout + result.stderr)
    return int(found[1])


@contextmanager
def no_schemas_kept(command: Command) -> Iterator[None]:
    """Something else is where the plugin keeps what Poetry compiles."""
    cache = Path(command.project.environment()["POETRY_CACHE_DIR"])
    place = cache / "safe-install" / "schemas"
    shutil.rmtree(place, ignore_errors=True)
    place.touch()
    try:
        yield
    finally:
        place.unlink()
