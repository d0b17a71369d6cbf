"""What changes an environment under protection, from its first look to its last change.

Only what every install pays for is here; all else is imported when there is something
to be done.
"""

from __future__ import annotations

import os

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.environments import install_directories
from poetry_plugin_safe_install.environments.places import JOURNALS
from poetry_plugin_safe_install.environments.places import KEPT
from poetry_plugin_safe_install.environments.places import place_aside
from poetry_plugin_safe_install.locks.descendants import path_for_descendant


if TYPE_CHECKING:
    from collections.abc import Callable

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.environments.commit_point import CommitPoint
    from poetry_plugin_safe_install.environments.removal import Places
    from poetry_plugin_safe_install.environments.uv_lock import UvLock
    from poetry_plugin_safe_install.locks.lock import Lock


def repair(environment: Any, lock: Lock, say: Callable[[str], None]) -> None:
    """Finish what a command that died has begun to change in an environment.

    To be called right after the environment's lock was taken, and before Poetry looks
    at what is installed. A descendant of the command that holds the lock does nothing:
    what is under way is its ancestor's.

    :param say: shows a line to the user.
    :raises SelfChangeRefusedError: if Poetry itself had to be put back.
    """
    if place_aside(environment.path).is_dir():
        from poetry_plugin_safe_install.environments.set_aside import sweep

        sweep(environment.path)
    if path_for_descendant(lock.path) != lock.path:
        return
    if _has_journals(environment):
        from poetry_plugin_safe_install.environments import repair

        repair.repair(_places(environment), say)
    sites = install_directories(environment).sites
    if any(os.path.isdir(os.path.join(site, KEPT)) for site in sites):
        from poetry_plugin_safe_install.own_packages.aftermath import settle

        settle(sites)


def unfinished(environment: Any) -> list[tuple[str, str]]:
    """Packages of an environment that are not whole, and why. Changes nothing.

    While somebody holds the environment's lock, what is being changed is told of too.
    """
    if not _has_journals(environment):
        return []
    from poetry_plugin_safe_install.environments import repair

    return [
        (change.package, repair.describe(change))
        for change, is_left in repair.unfinished(_places(environment))
        if is_left
    ]


def protect(command: StartingCommand, environment: Any, uv: UvLock) -> CommitPoint:
    """Have packages installed and removed as a whole until the command ends.

    The environment's lock is held.

    :param uv: the environment's.
    :return: what the caller closes before it releases the lock.
    """
    from poetry_plugin_safe_install.compat import project_installs  # noqa: F401
    from poetry_plugin_safe_install.compat.installs import INSTALLS
    from poetry_plugin_safe_install.compat.installs import InstallWatch
    from poetry_plugin_safe_install.compat.same_files import SAME_FILES
    from poetry_plugin_safe_install.environments.commit_point import CommitPoint
    from poetry_plugin_safe_install.environments.same_files import SharedFiles

    changes = CommitPoint(_places(environment), uv)
    command.patch(INSTALLS, InstallWatch(changes))
    command.patch(SAME_FILES, SharedFiles(command.io))  # sees files before those do
    return changes


def _has_journals(environment: Any) -> bool:
    return any(
        os.path.isdir(os.path.join(site, JOURNALS))
        for site in install_directories(environment).sites
    )


def _places(environment: Any) -> Places:
    from poetry_plugin_safe_install.environments.removal import Places

    found = install_directories(environment)
    is_managed = False
    if library := found.standard_library:
        from poetry_plugin_safe_install.environments.system import MARKER

        is_managed = os.path.exists(os.path.join(library, MARKER))
    return Places(found.prefix, found.sites, found.roots, is_managed)
