from __future__ import annotations

import os
import subprocess
import sys

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import atexit, threading

removed, made = threading.Event(), threading.Event()


def at_exit():  # the one that was there first is called last
    removed.set()
    made.wait(1)


atexit.register(at_exit)

import os, signal, tempfile

from poetry_plugin_safe_install.compat.temporary import TEMPORARY
from poetry_plugin_safe_install.interruption import Interruption


def work():
    removed.wait()
    late.append(tempfile.TemporaryDirectory())
    made.set()


late = []
early = tempfile.TemporaryDirectory()
threading.Thread(target=work).start()
interruption = Interruption(print)
interruption.start()
TEMPORARY.apply(interruption.making, None)
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_no_temporary_directory_is_made_after_they_are_removed(tmp_path: Path) -> None:
    """Threads go on until the very end of a process."""
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environ, check=False, timeout=60
    )
    assert ended.returncode == 143
    assert list(tmp_path.iterdir()) == []
