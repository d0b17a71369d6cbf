"""Whose files are: what is run from a cache must be this user's alone."""

from __future__ import annotations

import os
import stat
import sys

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path


def is_own(about: os.stat_result) -> bool:
    """Whether it is this user's, and not everybody may write it."""
    if sys.platform == "win32":
        return True
    return about.st_uid == os.geteuid() and not about.st_mode & stat.S_IWOTH


def is_private(directory: Path) -> bool:
    """Whether it is a directory of this user's that nobody else may write into.

    :raises OSError: if there is none.
    """
    about = directory.lstat()
    nobody_else = os.name == "nt" or not about.st_mode & stat.S_IWGRP
    return stat.S_ISDIR(about.st_mode) and is_own(about) and nobody_else
