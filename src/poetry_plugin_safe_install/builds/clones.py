"""Git clones whose working tree a killed command has left half written."""

from __future__ import annotations

import shutil

from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.store import make_directory


if TYPE_CHECKING:
    from pathlib import Path


class MarkedClones:
    """Marks beside the clones that are being changed, which only their lock's holder sets.

    A mark that is found by the next holder is of a command that was killed, or failed.
    """

    def begun(self, place: Path) -> None:
        mark = mark_of(place)
        with suppress(OSError):
            make_directory(mark.parent)
            mark.touch()

    def finished(self, place: Path) -> None:
        with suppress(OSError):
            mark_of(place).unlink(missing_ok=True)


def mark_of(place: Path) -> Path:
    return place.parent / ".safe-install" / f"{place.name}.unfinished"


def remove_unfinished(place: Path) -> bool:
    """Remove a clone that was cut off, while its lock is held; whether there was one.

    :raises OSError: if it cannot be removed.
    """
    mark = mark_of(place)
    if not (mark.exists() or _has_no_index(place)):
        return False
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    mark.unlink(missing_ok=True)
    return True


def _has_no_index(place: Path) -> bool:
    """Whether the files were never completed, by whatever has cloned it.

    git and dulwich write a clone's index after all of its files.
    """
    git = place / ".git"
    return (git / "HEAD").exists() and not (git / "index").exists()
