"""Removing what a RECORD or a journal names, and nothing else."""

from __future__ import annotations

import csv
import os
import shutil

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Iterable
    from collections.abc import Iterator


@dataclass(frozen=True)
class Places:
    """Directories of an environment, all of them real paths.

    :param prefix: nothing outside is ever removed, except below ``sites``.
    :param sites: where packages are installed.
    :param roots: never removed, even when they are empty.
    """

    prefix: str
    sites: tuple[str, ...]
    roots: frozenset[str]

    def hold(self, path: str) -> bool:
        """Whether a path is the environment's own."""
        within = tuple(place + os.sep for place in (self.prefix, *self.sites))
        return path.startswith(within)


class RealPaths:
    """Makes paths comparable: all but the last part is free of symbolic links."""

    def __init__(self) -> None:
        self._directories: dict[str, str] = {}

    def __call__(self, directory: str, name: str) -> str:
        """The path of ``name`` as ``directory`` sees it."""
        head, tail = os.path.split(os.path.join(directory, name) if name else directory)
        real = self._directories.get(head)
        if real is None:
            real = self._directories[head] = os.path.realpath(head)
        return os.path.normcase(os.path.join(real, tail))


def named_in(record: str) -> Iterator[str]:
    """The paths that a RECORD names, as they are written there.

    :raises OSError: if there is no such file.
    """
    with open(record, encoding="utf-8", errors="surrogateescape", newline="") as file:
        for row in csv.reader(file):
            if row and row[0]:
                yield row[0]


def committed(sites: Iterable[str], real: RealPaths) -> set[str]:
    """Every file that the RECORD of an installed distribution names."""
    found: set[str] = set()
    for site in sites:
        with suppress(OSError), os.scandir(site) as entries:
            for entry in entries:
                if not entry.name.endswith(".dist-info"):
                    continue
                with suppress(OSError, csv.Error):
                    record = os.path.join(entry.path, "RECORD")
                    found.update(real(site, name) for name in named_in(record))
    return found


def remove(paths: Collection[str], places: Places) -> int:
    """Remove files, their byte code and the directories that become empty.

    :param paths: as ``RealPaths`` makes them.
    :return: how many of the files were there.
    :raises OSError: if one of them cannot be removed; the others may be gone then.
    """
    caches: dict[str, list[str]] = {}
    parents: set[str] = set()
    count = 0
    for path in sorted(paths):
        if not places.hold(path):
            continue
        directory, name = os.path.split(path)
        parents.add(directory)
        count += _unlink(path)
        if not name.endswith(".py"):
            continue
        cache = os.path.join(directory, "__pycache__")
        if cache not in caches:
            caches[cache] = _listed(cache)
            parents.add(cache)
        for compiled in caches[cache]:
            if compiled.startswith(name[:-2]):
                _unlink(os.path.join(cache, compiled))
    _prune(parents, places)
    return count


def remove_tree(tree: str, places: Places) -> None:
    if os.path.islink(tree) or not places.hold(os.path.realpath(tree)):
        return
    shutil.rmtree(tree, ignore_errors=True)


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return False
    except OSError:
        if os.path.isdir(path) and not os.path.islink(path):
            return False  # a RECORD names files; what it may mean is unclear
        raise
    return True


def _prune(directories: Iterable[str], places: Places) -> None:
    """Remove directories that are empty, and then those above them that are."""
    for directory in sorted(directories, key=len, reverse=True):
        while places.hold(directory) and directory not in places.roots:
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError:
                break
            directory = os.path.dirname(directory)


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
