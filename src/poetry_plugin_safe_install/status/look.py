"""Finding out what is kept, held and left. Nothing here changes anything on disk."""

from __future__ import annotations

import json
import os
import re
import time

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.builds.shared_trees import tree_lock
from poetry_plugin_safe_install.check.collect import flockers_of
from poetry_plugin_safe_install.check.collect import holders_in
from poetry_plugin_safe_install.check.collect import holders_of
from poetry_plugin_safe_install.check.collect import locks_of
from poetry_plugin_safe_install.compat.config import cache_directory
from poetry_plugin_safe_install.environments.places import is_marked
from poetry_plugin_safe_install.environments.places import place_aside
from poetry_plugin_safe_install.environments.set_aside import is_abandoned
from poetry_plugin_safe_install.locks.holders import records_of_dead
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.mutual import waiters_of
from poetry_plugin_safe_install.locks.session import project_lock
from poetry_plugin_safe_install.project_files import with_path_dependencies
from poetry_plugin_safe_install.project_plugins import copies
from poetry_plugin_safe_install.project_plugins.sets import ABOUT
from poetry_plugin_safe_install.project_plugins.sets import UNUSED_AFTER
from poetry_plugin_safe_install.store import find_store


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from poetry_plugin_safe_install.check.collect import CheckContext
    from poetry_plugin_safe_install.check.topics import HolderFacts

SET, COPY, STORE = "plugin-set", "plugin-copy", "store"
STAGING, RECORD, REMOVED = "staging", "record", "removed-environment"
FILES, ENVIRONMENT, PACKAGE = "files", "environment", "package"
"""Kinds of what is kept and of what is left, as the JSON has them."""


HASH = re.compile("[0-9a-f]{16}")
"""The name of a store that is not in its project: see ``store.find_store``."""


@dataclass(frozen=True)
class Kept:
    kind: str
    path: str
    bytes: int
    """Of all its files; those that are linked count wherever they are."""
    last_used: float
    """Seconds since the epoch, as precise as a day."""
    requires: tuple[str, ...]
    """What the project required that it was made for."""
    unused: bool
    """Whether ``--prune`` removes it, unless a command uses it then."""


@dataclass(frozen=True)
class HeldNow:
    """A lock that somebody has, or waits for."""

    path: str
    guards: str
    holders: tuple[HolderFacts, ...]
    waiters: tuple[HolderFacts, ...]


@dataclass(frozen=True)
class Left:
    """What a killed command has left."""

    kind: str
    path: str
    bytes: int
    package: str
    removed_by: str
    """``prune``; or ``install``, which also puts right what is broken."""


@dataclass(frozen=True)
class Status:
    store: str
    """Where plugin sets of the project are kept; empty without a project."""
    lock_directory: str
    """Where its locks are."""
    machine: str
    """Where that is kept which several projects share."""
    project_kept: tuple[Kept, ...]
    machine_kept: tuple[Kept, ...]
    locks: tuple[HeldNow, ...]
    left: tuple[Left, ...]


def look(context: CheckContext, environment: Any) -> Status:
    """
    :param environment: Poetry's object for the one that an install would use, if any.
    """
    machine = copies.copies_directory().parent
    locks = [*_all_locks(context, environment, machine)]
    return Status(
        str(context.store.path),
        str(context.store.locks),
        str(machine),
        tuple(_sets(context)),
        (*_copies(), *_stores(context.store.path, machine)),
        (*_held(locks), *_used_sets(context)),
        (*_left_records(locks), *_left(context, environment, locks), *_left_copies()),
    )


def look_at_machine() -> Status:
    """The part that no project is needed for."""
    machine = copies.copies_directory().parent
    locks = [*_locks_in(_shared_directories(machine))]
    return Status(
        "",
        "",
        str(machine),
        (),
        (*_copies(), *_stores(None, machine)),
        _held(locks),
        (*_left_records(locks), *_left_copies()),
    )


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files below a directory."""
    total = 0
    with suppress(OSError):
        total = path.lstat().st_size if not path.is_dir() else 0
    for directory, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(directory, name)).st_size
    return total


# What is kept.


def _sets(context: CheckContext) -> Iterator[Kept]:
    for found in context.plugins.sets.everything():
        requires: Any = None
        with suppress(OSError, ValueError):
            told = json.loads((found.path / ABOUT).read_text(encoding="utf-8"))
            requires = told.get("requires-plugins")
        used = found.last_used
        is_of_now = found.is_whole and requires == dict(context.requires_plugins)
        unused = not is_of_now or time.time() - used > UNUSED_AFTER
        names = tuple(map(str, requires or ()))
        yield Kept(SET, str(found.path), size_of(found.path), used, names, unused)


def _copies() -> Iterator[Kept]:
    found = copies.PluginCopies(copies.copies_directory())
    for path, copy in found.everything():
        size = size_of(path)
        if copy is None:
            yield Kept(COPY, str(path), size, 0.0, (), unused=True)
            continue
        unused = time.time() - copy.last_used > UNUSED_AFTER
        yield Kept(COPY, str(path), size, copy.last_used, (*copy.requires,), unused)


def _stores(own: Path | None, machine: Path) -> Iterator[Kept]:
    """Those of other projects that cannot have theirs within: their names are hashes."""
    for path in _children(machine):
        if HASH.fullmatch(path.name) and path.is_dir() and path != own:
            used = max(map(_changed, (path, *path.rglob("*"))))
            unused = time.time() - used > UNUSED_AFTER
            yield Kept(STORE, str(path), size_of(path), used, (), unused)


def _changed(path: Path) -> float:
    with suppress(OSError):
        return path.lstat().st_mtime
    return 0.0


# Who holds what, and who waits.


def _all_locks(
    context: CheckContext, environment: Any, machine: Path
) -> Iterator[Lock]:
    known = [*locks_of(context, environment), *_locks_of_others(context)]
    yield from known
    seen = {lock.path for lock in known}
    store = context.store
    directories = {store.locks, store.set_locks, *_shared_directories(machine)}
    for lock in _locks_in(directories):
        if lock.path not in seen:
            yield lock


def _locks_of_others(context: CheckContext) -> Iterator[Lock]:
    """Those of path dependencies, where they are built or their plugins rewrite them."""
    backend = context.settings.lock_backend
    for directory in with_path_dependencies(context.pyproject):
        if directory != context.pyproject.parent:
            store = find_store(directory, cache_directory)
            yield project_lock(store, directory, backend)
            yield tree_lock(store, directory, backend)


def _used_sets(context: CheckContext) -> Iterator[HeldNow]:
    """Plugin sets whose plugins a command has loaded."""
    for found in context.plugins.sets.everything():
        if users := flockers_of(found.mark):
            yield HeldNow(str(found.mark), f"the plugin set {found.path}", users, ())


def _shared_directories(machine: Path) -> set[Path]:
    return {machine, machine / "downloads", copies.copies_directory() / "locks"}


def _locks_in(directories: set[Path]) -> Iterator[Lock]:
    for directory in sorted(directories):
        names = {path.stem for path in _children(directory) if _is_of_lock(path)}
        for path in sorted(directory / name for name in names):
            yield Lock(path, path.name.removesuffix(".lock"))


def _is_of_lock(path: Path) -> bool:
    return path.suffix in (".holders", ".waiters")


def _held(locks: Iterable[Lock]) -> tuple[HeldNow, ...]:
    return tuple(held for held in map(_held_now, locks) if held.holders or held.waiters)


def _held_now(lock: Lock) -> HeldNow:
    waiters = holders_in(waiters_of(lock.path))
    return HeldNow(str(lock.path), lock.guards, holders_of(lock), waiters)


# What killed commands have left.


def _left_records(locks: Iterable[Lock]) -> Iterator[Left]:
    for lock in locks:
        for directory in (lock.records, waiters_of(lock.path)):
            for path in records_of_dead(directory):
                yield _prunable(RECORD, path)


def _left(context: CheckContext, environment: Any, locks: list[Lock]) -> Iterator[Left]:
    project = context.pyproject.parent
    home = environment.path if environment else project / ".venv"
    store = context.store
    if not _held_now(locks[0]).holders:
        for path in _children(store.staging):
            yield _prunable(STAGING, path)
        for journal in (store.pair, store.rewritten):
            if journal.exists():
                yield Left(FILES, str(journal), size_of(journal), "", "install")
    for path in _children(place_aside(home)):
        if is_abandoned(path):
            yield _prunable(REMOVED, path)
    if environment and not _held_now(locks[1]).holders:
        yield from _left_in(environment)


def _left_copies() -> Iterator[Left]:
    for path in _children(copies.copies_directory() / "staging"):
        if time.time() - _changed(path) > copies.ABANDONED_AFTER:
            yield _prunable(STAGING, path)


def _left_in(environment: Any) -> Iterator[Left]:
    from poetry_plugin_safe_install.environments.changes import unfinished

    if is_marked(environment.path):
        yield Left(ENVIRONMENT, str(environment.path), 0, "", "install")
    for package, _ in unfinished(environment):
        yield Left(PACKAGE, str(environment.path), 0, package, "install")


def _prunable(kind: str, path: Path) -> Left:
    return Left(kind, str(path), size_of(path), "", "prune")


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []
