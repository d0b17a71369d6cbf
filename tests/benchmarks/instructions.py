"""Instructions that a command takes: the one figure that no other load disturbs."""

from __future__ import annotations

import re
import shutil
import subprocess

from typing import TYPE_CHECKING

from tests.laboratory.clones import SCHEMAS
from tests.laboratory.poetries import measured_home


if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.ways import Command

START = """\
import os, sys
os.execvpe = lambda *args, **kwargs: os._exit(0)
from poetry.console.application import main
sys.exit(main())
"""
"""Poetry up to where ``run`` becomes the user's program."""


def instructions(
    command: Command, *, protected: bool, environ: Mapping[str, str] | None = None
) -> int | None:
    """Instructions executed, or ``None`` where valgrind is not installed."""
    valgrind = shutil.which("valgrind")
    if not valgrind:
        return None
    home = measured_home(command.minor, protected=protected)
    line = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    line += [str(home.python), "-c", START, *command.arguments]
    environ = {**command.environ, "PYTHONHASHSEED": "0", **(environ or {})}
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


def instructions_alone(command: Command) -> int | None:
    """Those of protection where nothing that Poetry compiles is kept."""
    home = measured_home(command.minor, protected=True)
    for path in home.site_packages.glob(SCHEMAS):
        path.unlink()
    environ = {"PYTHONDONTWRITEBYTECODE": "1"}
    return instructions(command, protected=True, environ=environ)
