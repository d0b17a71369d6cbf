"""Finishing what a command that died has begun to change in an environment.

An installation is undone and a removal finished: either way the package is not
installed afterwards, and Poetry installs it if it is wanted.
"""

from __future__ import annotations

import os
import time

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.installs import PROJECT
from poetry_plugin_safe_install.environments import journal
from poetry_plugin_safe_install.environments.commit_point import belongs_to_others
from poetry_plugin_safe_install.environments.commit_point import finish_removal
from poetry_plugin_safe_install.environments.commit_point import has_begun
from poetry_plugin_safe_install.environments.commit_point import left_by_pip
from poetry_plugin_safe_install.environments.commit_point import undo_installation
from poetry_plugin_safe_install.environments.removal import committed


if TYPE_CHECKING:
    from collections.abc import Callable
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
        kept = belongs_to_others(change, places)
        try:
            finish(change, places, kept)
        except OSError as error:
            say(f"<warning>Cannot repair {change.package}: {error}</warning>")
            continue
        if left:
            from poetry_plugin_safe_install.events import tell

            say(f"<info>Repaired</info>: {change.package} ({describe(change)}).")
            tell("repaired", what=change.package, place=change.site)
    journal.sweep(places.sites)


def unfinished(places: Places) -> Iterator[tuple[Change, bool]]:
    """What has been begun, and whether something of it is left. Changes nothing."""
    changes = [change for site in places.sites for change in journal.changes_in(site)]
    if not changes:
        return
    not_whole = [left_by_pip(change) for change in changes]
    kept = committed(places, [name for names in not_whole for name in names])
    for change, names in zip(changes, not_whole, strict=True):
        if change.removes:
            left = has_begun(change)
        else:
            files = (places.real(change.site, name) for name in change.files)
            written = (file for file in files if file not in kept)
            left = any(map(os.path.lexists, written)) or bool(names)
        yield change, left


def describe(change: Change) -> str:
    """Who left a package as it is, in words."""
    what = WHAT.get((change.job, change.removes), "the command that was changing it")
    when = time.strftime("%H:%M", time.localtime(change.since))
    return f"{what}, pid {change.pid} at {when}, was killed"
