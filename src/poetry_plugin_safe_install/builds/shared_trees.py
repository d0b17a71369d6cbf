"""Builds that share a source tree with other commands.

A directory that a build backend runs in is locked while it does, for one process of
the backend only and never while another lock is asked for: so builds of two projects
that depend on each other cannot wait for each other.
"""

from __future__ import annotations

import os

from contextlib import ExitStack
from contextlib import contextmanager
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.builds.artifacts import Artifacts
from poetry_plugin_safe_install.builds.clones import MarkedClones
from poetry_plugin_safe_install.builds.clones import remove_unfinished
from poetry_plugin_safe_install.compat import DISTRIBUTION
from poetry_plugin_safe_install.compat.command_line import real_path
from poetry_plugin_safe_install.compat.config import cache_directory
from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.locks.descendants import announcement
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.store import find_store
from poetry_plugin_safe_install.store import make_directory
from poetry_plugin_safe_install.store import make_store


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cleo.io.io import IO

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.environments.uv_lock import UvLock
    from poetry_plugin_safe_install.locks.deadline import WaitReport
    from poetry_plugin_safe_install.locks.session import Session
    from poetry_plugin_safe_install.needs import Row
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.store import Store

    DuringBackend = Callable[[Lock, WaitReport], AbstractContextManager[None]]


def share_builds(
    command: StartingCommand,
    session: Session,
    row: Row,
    during_backend: DuringBackend,
    settings: Settings,
    uv: UvLock,
) -> None:
    """From now on this process builds without harm to others that do so too.

    :param row: what the command does.
    :param during_backend: holds a lock while a build backend runs.
    :param uv: that of the environment that the command changes.
    """
    from poetry_plugin_safe_install.compat.builds import BUILDS
    from poetry_plugin_safe_install.compat.builds import PROJECT_BUILDS
    from poetry_plugin_safe_install.compat.builds import BuildWatch
    from poetry_plugin_safe_install.compat.clones import CLONES

    builds = SharedBuilds(
        command.line, command.io, session, during_backend, uv, settings.lock_backend
    )
    watch = BuildWatch(builds)
    command.patch(BUILDS, watch)
    if row.builds_project:
        command.patch(PROJECT_BUILDS, watch)
    command.patch(CLONES, MarkedClones())


def tree_lock(store: Store, tree: Path, backend: str = "auto") -> Lock:
    """:param backend: the setting ``lock-backend``."""
    guards = f"the source tree {tree}"
    lock = Lock(store.build_lock, guards, store.locks, backend, store.records)
    lock.is_told_to_one = True
    return lock


class SharedBuilds(Artifacts):
    """The builds of one command; its methods are called by several threads at once."""

    def __init__(
        self,
        command: str,
        io: IO,
        session: Session,
        during_backend: DuringBackend,
        uv: UvLock,
        backend: str = "auto",
    ) -> None:
        """
        :param during_backend: holds a lock while a build backend runs.
        :param uv: that of the environment that the command changes.
        :param backend: the setting ``lock-backend``.
        """
        super().__init__(command)
        self._io = io
        self._session = session
        self._during_backend = during_backend
        self.backend = uv.backend
        self._backend = backend

    @contextmanager
    def tree(
        self, directory: Path, tell: Callable[[str], bool] | None = None
    ) -> Iterator[dict[str, str]]:
        """Keep a source tree to oneself while a build backend runs in it."""
        tree = real_path(directory)
        environ: dict[str, str] = {}
        with ExitStack() as stack:
            # A build cannot disturb another in a tree that cannot be written to.
            if os.access(tree, os.W_OK | os.X_OK):
                store = find_store(tree, cache_directory)
                lock = tree_lock(store, tree, self._backend)
                with self._noted_if_unavailable(lock):
                    make_store(store)
                    report = self._session.report(tell)
                    stack.enter_context(self._during_backend(lock, report))
                    environ = announcement(lock.path)
            yield environ

    @contextmanager
    def checkout(self, place: Path) -> Iterator[None]:
        """Keep a git checkout to oneself, from cloning to the end of its use.

        The lock lies beside the checkout, which git creates itself. It is asked for
        before that of the source tree, never the other way round.
        """
        path = place.parent / ".safe-install" / f"{place.name}.lock"
        lock = Lock(path, f"the git checkout {place}", path.parent, self._backend)
        with ExitStack() as stack:
            with self._noted_if_unavailable(lock):
                make_directory(path.parent)
                report = self._session.report()
                held = self._session.wait_for(lock, Mode.EXCLUSIVE, report)
                held.announce()
                stack.callback(held.release)
                if remove_unfinished(place):
                    self._io.write_error_line(
                        f"<warning>The git checkout {place} was not finished by the"
                        " command that made it; it is cloned again.</warning>"
                    )
            yield

    @contextmanager
    def _noted_if_unavailable(self, lock: Lock) -> Iterator[None]:
        try:
            yield
        except (OSError, LockUnavailableError) as error:
            if self._io.is_verbose():
                self._io.write_error_line(
                    f"{DISTRIBUTION}: {lock.guards} is used without a lock: {error}"
                )
