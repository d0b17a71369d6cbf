"""Where the locks and plugin sets of a project are kept."""

from __future__ import annotations

import hashlib
import os

from contextlib import suppress
from typing import TYPE_CHECKING
from typing import NamedTuple


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DIRECTORY_MODE = 0o775
FILE_MODE = 0o664
"""Before the user's umask; never writable for everyone, whatever the umask."""

DIRECTORY = ".poetry"
NAME = "safe-install"


class Store(NamedTuple):
    """A directory for the locks and plugin sets of one project."""

    path: Path
    why_elsewhere: str = ""
    """Why it is not in the project, where it cannot be."""
    is_mistake: bool = False
    """Whether that is something the user did not intend, and should be told of."""


def find_store(project: Path, cache_directory: Callable[[], Path]) -> Store:
    """The store that exists, or else would be made. Creates nothing.

    :param project: the directory of pyproject.toml.
    :param cache_directory: Poetry's; asked for only where the project will not do.
    """
    inside = project / DIRECTORY / NAME
    obstacle = _obstacle(inside)
    if not obstacle and _is_writable(inside):
        return Store(inside)
    key = hashlib.sha256(os.fsencode(os.path.realpath(project))).hexdigest()[:16]
    elsewhere = cache_directory() / NAME / key
    if obstacle:
        return Store(elsewhere, obstacle, is_mistake=True)
    return Store(elsewhere, f"{inside.parent} cannot be written")


def make_store(store: Store) -> None:
    """Make the store; git shall not see it."""
    if store.path.is_dir():
        return
    make_directory(store.path)
    ignore = store.path.parent / ".gitignore"
    if not store.why_elsewhere and not ignore.exists():
        with suppress(OSError):
            ignore.write_text("*", encoding="utf-8")


def make_directory(path: Path) -> None:
    """Make a directory and its parents, never writable for everyone."""
    for missing in reversed([p for p in (path, *path.parents) if not p.exists()]):
        missing.mkdir(DIRECTORY_MODE, exist_ok=True)


def _obstacle(inside: Path) -> str:
    """What is in the way of the directory, if anything is."""
    for place in (inside.parent, inside):
        if place.is_symlink() and not place.exists():
            return f"{place} is a link that leads nowhere"
        if place.exists() and not place.is_dir():
            return f"{place} is a file, where Poetry keeps a directory"
    return ""


def _is_writable(inside: Path) -> bool:
    nearest = next(place for place in (inside, *inside.parents) if place.exists())
    return os.access(nearest, os.W_OK | os.X_OK)
