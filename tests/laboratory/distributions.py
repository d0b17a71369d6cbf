"""What is released of this tree, as it is built for a release."""

from __future__ import annotations

import os
import subprocess
import sys

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


def build(*arguments: str | Path) -> None:
    """``python -m build …``, with the same bytes each time."""
    subprocess.run(
        [sys.executable, "-m", "build", *map(str, arguments)],
        check=True,
        capture_output=True,
        env={**os.environ, **EPOCH},
    )
