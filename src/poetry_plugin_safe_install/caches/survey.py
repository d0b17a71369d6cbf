"""A quick look at the caches, for ``poetry safe-install --check``. Changes nothing."""

from __future__ import annotations

import os
import time

from typing import TYPE_CHECKING
from typing import NamedTuple


if TYPE_CHECKING:
    from collections.abc import Iterator

TIME = 0.04
"""Seconds after which the rest is not looked at."""


class Survey(NamedTuple):
    looked_at: int
    complete: bool
    """Whether the time was enough to look at everything."""
    broken: tuple[str, ...]
    """Files that are taken for something that is not there, by their path."""


def survey(repositories: str, seconds: float = TIME) -> Survey:
    """What of the answers of indexes and of releases is not whole.

    :param repositories: Poetry's directory with a directory for each index.
    """
    deadline = time.monotonic() + seconds
    broken: list[str] = []
    looked_at = 0
    for directory, files in _walk(repositories):
        looked_at += len(files)
        broken += _broken(directory, files)
        if time.monotonic() > deadline:
            return Survey(looked_at, False, tuple(broken))
    return Survey(looked_at, True, tuple(broken))


def _walk(top: str) -> Iterator[tuple[str, dict[str, int]]]:
    """Every directory, with the sizes of the files in it."""
    directories = [top]
    while directories:
        directory = directories.pop()
        files: dict[str, int] = {}
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(entry.path)
                    else:
                        files[entry.name] = entry.stat().st_size
        except OSError:  # another command removes it
            continue
        yield directory, files


def _broken(directory: str, files: dict[str, int]) -> Iterator[str]:
    """Empty files, and metadata of Poetry since 2.4 without its body."""
    has_bodies = f"{os.sep}_http_{os.sep}" in directory
    for name, size in files.items():
        if name.endswith((".lock", ".body")) or name.startswith((".", "tmp")):
            continue
        if size == 0 or (has_bodies and f"{name}.body" not in files):
            yield os.path.join(directory, name)
