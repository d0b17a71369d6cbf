"""Where the locks and plugin sets of a project are kept."""

from __future__ import annotations

import hashlib
import os

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.locks import make_directory


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DIRECTORY = ".poetry"
NAME = "safe-install"


@dataclass(frozen=True)
class Store:
    """A directory for the locks and plugin sets of one project.

    ``why_elsewhere`` says why it is not in the project, where it cannot be.
    """

    path: Path
    why_elsewhere: str = ""


def find_store(project: Path, cache_directory: Callable[[], Path]) -> Store:
    """The store that exists, or else would be made. Creates nothing.

    :param project: the directory of pyproject.toml.
    :param cache_directory: Poetry's; asked for only where the project will not do.
    """
    inside = project / DIRECTORY / NAME
    why = _why_unusable(inside, project) or _why_packed(project)
    if not why:
        return Store(inside)
    key = hashlib.sha256(os.fsencode(os.path.realpath(project))).hexdigest()[:16]
    return Store(cache_directory() / NAME / key, why)


def make_store(store: Store) -> None:
    """Make the store; git shall not see it."""
    if store.path.is_dir():
        return
    make_directory(store.path)
    ignore = store.path.parent / ".gitignore"
    if not store.why_elsewhere and not ignore.exists():
        with suppress(OSError):
            ignore.write_text("*", encoding="utf-8")


def _why_unusable(inside: Path, project: Path) -> str:
    outside = inside.parent
    for place, directory in ((inside, inside), (outside, outside), (project, project)):
        if place.is_symlink() and not place.exists():
            return f"{place} is a link that leads nowhere"
        if not place.exists():
            continue
        if not place.is_dir():
            return f"{place} is a file, where Poetry keeps a directory"
        if not os.access(directory, os.W_OK | os.X_OK):
            return f"{directory} is not writable"
        break
    return ""


def _why_packed(project: Path) -> str:
    """Hatchling packs into an sdist what the nearest .gitignore does not exclude.

    It does not read .gitignore files further down, and leaves out no directory of
    Poetry's by its name (``hatchling.builders``, 1.33). No other backend is known to.
    """
    try:
        if b"hatchling" not in (project / "pyproject.toml").read_bytes():
            return ""
    except OSError:
        return ""
    for directory in (project, *project.parents):
        with suppress(OSError, UnicodeDecodeError):
            lines = (directory / ".gitignore").read_text(encoding="utf-8").splitlines()
            if any(line.strip().strip("/") == DIRECTORY for line in lines):
                return ""
            break
        if (directory / ".git").exists():
            break
    return f"hatchling would pack it, for no .gitignore above it names {DIRECTORY}"
