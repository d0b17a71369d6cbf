"""Removing what a RECORD or a journal names, and nothing else."""

from __future__ import annotations

import csv
import os
import shutil

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Iterable
    from collections.abc import Iterator


class Places:
    """Directories of an environment.

    No dataclass: every install would pay for making it.
    """

    def __init__(
        self, prefix: str, sites: Iterable[str], roots: Iterable[str], is_managed: bool
    ) -> None:
        """
        :param prefix: nothing outside is ever removed, except below ``sites``.
        :param sites: where packages are installed.
        :param roots: never removed, even when they are empty.
        :param is_managed: the system manages it (PEP 668): pip refuses to remove
            packages.
        """
        self.real = RealPaths()
        self.prefix = os.path.realpath(prefix)
        self.sites = tuple(dict.fromkeys(map(self.real.directory, sites)))
        self.is_managed = is_managed
        self._roots = roots
        self._within = tuple(place + os.sep for place in (self.prefix, *self.sites))

    @cached_property
    def roots(self) -> frozenset[str]:
        directories = (self.prefix, *self.sites, *map(os.path.realpath, self._roots))
        return frozenset(map(os.path.normcase, directories))

    def hold(self, path: str) -> bool:
        """Whether a real path is the environment's own."""
        return path.startswith(self._within)


class RealPaths:
    """Makes paths comparable: all but the last part is free of symbolic links."""

    def __init__(self) -> None:
        self._directories: dict[str, str] = {}

    def __call__(self, directory: str, name: str) -> str:
        """The path of ``name`` as ``directory`` sees it."""
        head, tail = os.path.split(os.path.join(directory, name) if name else directory)
        return os.path.normcase(os.path.join(self.directory(head), tail))

    def directory(self, path: str) -> str:
        real = self._directories.get(path)
        if real is None:
            real = self._directories[path] = self._look(path)
        return real

    def each(self, directory: str, names: Iterable[str]) -> list[str]:
        """The paths of several files in one directory."""
        start = os.path.normcase(self.directory(directory)) + os.sep
        return [start + name for name in map(os.path.normcase, names)]

    def _look(self, path: str) -> str:
        """Where the parent is known, only the last part is looked at."""
        head, tail = os.path.split(path)
        if os.name == "posix" and tail not in ("", ".", ".."):
            real = self._directories.get(head)
            if real is not None:
                candidate = os.path.join(real, tail)
                if not os.path.islink(candidate):
                    return candidate
        return os.path.realpath(path)


def named_in(record: str) -> Iterator[str]:
    """The paths that a RECORD names, as they are written there.

    :raises OSError: if there is no such file.
    """
    with open(record, encoding="utf-8", errors="surrogateescape", newline="") as file:
        for row in csv.reader(file):
            if row and row[0]:
                yield row[0]


def committed(places: Places, but: Collection[str]) -> set[str]:
    """Every file that the RECORD of an installed distribution names.

    :param but: the names of what is no dist-info of an installed one any more, or yet.
    """
    real = places.real
    found: set[str] = set()
    for site in places.sites:
        with suppress(OSError), os.scandir(site) as entries:
            for entry in entries:
                if not entry.name.endswith(".dist-info") or entry.name in but:
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
        while _is_empty(directory) and places.hold(directory):
            if directory in places.roots:
                break
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError:
                break
            directory = os.path.dirname(directory)


def _is_empty(directory: str) -> bool:
    """Also where it is gone: then those above it may be empty."""
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
