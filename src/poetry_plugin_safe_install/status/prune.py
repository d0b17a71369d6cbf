"""Removing what nobody uses. What somebody may be using stays for a later call."""

from __future__ import annotations

import shutil

from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import try_acquire
from poetry_plugin_safe_install.locks.session import project_lock
from poetry_plugin_safe_install.project_plugins.copies import PluginCopies
from poetry_plugin_safe_install.project_plugins.copies import copies_directory
from poetry_plugin_safe_install.project_plugins.sets import PluginSet
from poetry_plugin_safe_install.project_plugins.sets import staged_in
from poetry_plugin_safe_install.status import look


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator

    from poetry_plugin_safe_install.check.collect import CheckContext
    from poetry_plugin_safe_install.status.look import Kept
    from poetry_plugin_safe_install.status.look import Left
    from poetry_plugin_safe_install.status.look import Status

COMMAND = "poetry safe-install --prune"


@dataclass(frozen=True)
class Removed:
    kind: str
    path: str
    bytes: int


def prune(context: CheckContext | None, status: Status) -> list[Removed]:
    """Remove what a status found to be unused, or left; say what is gone now.

    :param context: ``None`` where there is no project.
    """
    found: list[Kept | Left] = [
        *(kept for kept in (*status.project_kept, *status.machine_kept) if kept.unused),
        *(left for left in status.left if left.removed_by == "prune"),
    ]
    paths: dict[str, list[Path]] = {}
    for one in found:
        paths.setdefault(one.kind, []).append(Path(one.path))
    if context:
        _prune_project(context, paths)
    _prune_machine(paths)
    for path in paths.get(look.RECORD, []):
        with suppress(OSError):
            path.unlink()
            path.parent.rmdir()
    return [
        Removed(one.kind, one.path, one.bytes)
        for one in found
        if not Path(one.path).exists()
    ]


def _prune_project(context: CheckContext, paths: dict[str, list[Path]]) -> None:
    """What needs the project's lock stays where somebody has it."""
    store, sets = context.store, context.plugins.sets
    staged = [
        path for path in paths.get(look.STAGING, ()) if path.parent == store.staging
    ]
    unused = paths.get(look.SET, [])
    removed = paths.get(look.REMOVED, [])
    if not (staged or unused or removed):
        return
    project, backend = context.pyproject.parent, context.settings.lock_backend
    with _alone_with(project_lock(store, project, backend)) as is_alone:
        if is_alone:
            sets.remove(map(PluginSet, unused))
            _remove([*staged, *removed])


def _prune_machine(paths: dict[str, list[Path]]) -> None:
    root = copies_directory()
    copies = PluginCopies(root)
    for path in paths.get(look.COPY, ()):
        copies.remove(path)
    _remove(path for path in paths.get(look.STAGING, ()) if root in path.parents)
    for path in paths.get(look.STORE, ()):
        with _alone_with(Lock(path / "project.lock", str(path))) as is_alone:
            if is_alone:
                with suppress(OSError), staged_in(root / "staging") as staged:
                    path.replace(staged)


@contextmanager
def _alone_with(lock: Lock) -> Iterator[bool]:
    """Whether nobody has it, nor an ancestor of this command; it is held meanwhile."""
    held = None
    with suppress(OSError, LockUnavailableError):
        held = try_acquire(lock, Mode.EXCLUSIVE, COMMAND)
    try:
        yield held is not None and not held.is_within
    finally:
        if held:
            held.release()


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.parent.rmdir()
