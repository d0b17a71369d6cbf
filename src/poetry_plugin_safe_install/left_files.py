"""Files of projects that a killed command has left changed: put back, each alone."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.locks.descendants import path_for_descendant
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.pairs import Pair
from poetry_plugin_safe_install.rewrites import put_back as put_back_rewritten


if TYPE_CHECKING:
    from poetry_plugin_safe_install.locks.session import Session
    from poetry_plugin_safe_install.project_files import ProjectFiles
    from poetry_plugin_safe_install.store import Store


def put_back(session: Session, files: ProjectFiles, store: Store) -> None:
    """
    :param store: that of the command's own project.
    """
    own = files.own_lock
    # First: it knows pyproject.toml as a plugin has rewritten it.
    if store.pair.exists() and path_for_descendant(own.path) == own.path:
        with (
            suppress(LockUnavailableError),
            session.beside_plan(own, Mode.EXCLUSIVE),
        ):
            Pair(files.pyproject, store, files.io).put_back()
    for project in files.left_rewritten:
        lock = files.lock_of(project)
        if path_for_descendant(lock.path) != lock.path:
            continue  # an ancestor has them changed
        # Where it cannot be taken, that is told when it is taken for the command.
        with (
            suppress(LockUnavailableError, OSError),
            session.beside_plan(lock, Mode.EXCLUSIVE),
        ):
            put_back_rewritten(project, files.journals[project], files.io)
