"""Files that are not whole yet: written beside their place, then renamed."""

from __future__ import annotations

import os
import uuid

from contextlib import suppress
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path

PREFIX = ".poetry-safe-install-"
"""Of their names: nothing that Poetry looks for."""

ABANDONED_AFTER = 3600
"""Seconds after which a file counts as left behind by a killed process."""


def private_in(directory: Path) -> Path:
    """Where to write what is going to be renamed to something in this directory."""
    return directory / f"{PREFIX}{uuid.uuid4().hex}"


def remove(path: Path) -> None:
    """Remove a file that may be gone, or that on Windows another process reads."""
    with suppress(OSError):
        path.unlink()


def remove_abandoned(private: Path) -> None:
    """Remove the files that killed processes have left beside a new one.

    Their age is that of the inode, since a copy may have the times of its original, and
    by the clock of the filesystem, which may be another host's.
    """
    with suppress(OSError), os.scandir(private.parent) as entries:
        before = private.stat().st_ctime - ABANDONED_AFTER
        for entry in entries:
            if (
                entry.name.startswith(PREFIX)
                and entry.name != private.name
                and entry.stat().st_ctime < before
            ):
                with suppress(OSError):  # a directory, or another process was faster
                    os.unlink(entry.path)
