"""What is released of this tree, as it is built for a release."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile

from functools import cache
from pathlib import Path

from tests.laboratory import ROOT


EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


def build(*arguments: str | Path) -> None:
    """``python -m build …``, with the same bytes each time."""
    subprocess.run(
        [sys.executable, "-m", "build", *map(str, arguments)],
        check=True,
        capture_output=True,
        env={**os.environ, **EPOCH},
    )


@cache
def own_wheel() -> Path:
    """This plugin as it will be released, built once for all tests of a process."""
    directory = tempfile.mkdtemp(prefix="own-wheel-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    Path(directory).chmod(0o755)  # other users install it
    build("--wheel", "--no-isolation", "--outdir", directory, ROOT)
    (wheel,) = Path(directory).glob("*.whl")
    return wheel
