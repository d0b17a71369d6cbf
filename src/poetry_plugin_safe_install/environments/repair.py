"""Finishing what a command that died has begun to change in an environment.

An installation is undone and a removal finished: either way the package is not
installed afterwards, and Poetry installs it if it is wanted.
"""

from __future__ import annotations

import os
import shutil
import time

from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.installs import PROJECT
from poetry_plugin_safe_install.environments import journal
from poetry_plugin_safe_install.environments.removal import RealPaths
from poetry_plugin_safe_install.environments.removal import committed
from poetry_plugin_safe_install.environments.removal import named_in
from poetry_plugin_safe_install.environments.removal import remove
from poetry_plugin_safe_install.environments.removal import remove_tree


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Collection
    from collections.abc import Iterator

    from poetry_plugin_safe_install.environments.journal import Change
    from poetry_plugin_safe_install.environments.removal import Places

WHAT = {
    ("install", False): "the install that was writing it",
    ("update", False): "the update that was writing it",
    ("update", True): "the update that was replacing it",
    ("uninstall", True): "the command that was removing it",
    (PROJECT, False): "the install that was writing it",
    (PROJECT, True): "the install that was replacing it",
}


def repair(places: Places, say: Callable[[str], None]) -> None:
    """Finish what commands that died have begun. The environment's lock is held.

    :param say: shows a line to the user.
    """
    for change, left in unfinished(places):
        finish = finish_removal if change.removes else undo_installation
        kept = committed(places.sites, RealPaths())
        try:
            finish(change, places, kept)
        except OSError as error:
            say(f"<warning>Cannot repair {change.package}: {error}</warning>")
            continue
        if left:
            say(f"<info>Repaired</info>: {change.package} ({describe(change)}).")
    journal.sweep(places.sites)


def unfinished(places: Places) -> Iterator[tuple[Change, bool]]:
    """What has been begun, and whether something of it is left. Changes nothing."""
    changes = [change for site in places.sites for change in journal.changes_in(site)]
    if not changes:
        return
    real = RealPaths()
    kept = committed(places.sites, real)
    for change in changes:
        if change.removes:
            left = _has_begun(change)
        else:
            files = (real(change.site, name) for name in change.files)
            left = any(os.path.lexists(file) for file in files if file not in kept)
        yield change, left


def describe(change: Change) -> str:
    """Who left a package as it is, in words."""
    what = WHAT.get((change.job, change.removes), "the command that was changing it")
    when = time.strftime("%H:%M", time.localtime(change.since))
    return f"{what}, pid {change.pid} at {when}, was killed"


def undo_installation(change: Change, places: Places, kept: Collection[str]) -> None:
    """Remove what was written for a package that is not installed.

    :param kept: what belongs to others; where the package is installed after all, it
        is its own.
    """
    real = RealPaths()
    files = {real(change.site, name) for name in change.files}
    directories = {os.path.dirname(file) for file in files}
    directories.update(os.path.join(change.site, name) for name in change.replaces)
    for directory in directories:
        with suppress(OSError):
            os.unlink(os.path.join(directory, change.temporary))
    remove(files.difference(kept), places)
    journal.close(change)


def finish_removal(change: Change, places: Places, kept: Collection[str]) -> None:
    """Remove the files of a package whose dist-info is gone from site-packages.

    Where it is still there, the removal has not begun.
    """
    if _has_begun(change):
        real = RealPaths()
        for tree in change.trees:
            remove_tree(os.path.join(change.site, tree), places)
        directory = change.dist_info or change.place
        named = named_in(os.path.join(directory, "RECORD"))
        files = {real(change.site, name) for name in named}
        if change.stays:
            _remove_where_it_is(os.path.join(change.site, change.stays))
        remove(files.difference(kept), places)
    journal.close(change)


def _has_begun(change: Change) -> bool:
    if not change.stays:
        return change.dist_info is not None
    metadata = os.path.join(change.site, change.stays, "METADATA")
    return not os.path.exists(metadata)


def _remove_where_it_is(dist_info: str) -> None:
    """Without METADATA it is no package for Poetry, without entry points no plugin."""
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(dist_info, "entry_points.txt"))
    shutil.rmtree(dist_info, ignore_errors=True)
