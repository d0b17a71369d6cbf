"""The environment of a project: found, created, held and removed under its locks."""

from __future__ import annotations

import os

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.config import cache_directory
from poetry_plugin_safe_install.compat.environments import create_environment
from poetry_plugin_safe_install.compat.environments import environment_without_creating
from poetry_plugin_safe_install.compat.environments import remove_environment
from poetry_plugin_safe_install.environments.places import UnfinishedEnvironments
from poetry_plugin_safe_install.environments.places import lock_path
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode


if TYPE_CHECKING:
    from collections.abc import Iterator

    from cleo.events.console_command_event import ConsoleCommandEvent

    from poetry_plugin_safe_install.locks.session import Session
    from poetry_plugin_safe_install.store import Store


def environment_lock(environment: Any, store: Store | None, backend: str) -> Lock:
    """The lock that guards an environment.

    :param store: that of the project that the environment is in, if it is in one.
    :param backend: the setting ``lock-backend``.
    """
    path = lock_path(
        environment.path,
        environment.purelib,
        is_venv=environment.is_venv(),
        cache_directory=cache_directory,
    )
    return _lock_at(path, environment.path, store, backend)


def _lock_at(path: Path, environment: Path, store: Store | None, backend: str) -> Lock:
    recorded_in = store.path if store else None
    return Lock(path, f"the environment {environment}", recorded_in, backend)


class ProjectEnvironment:
    """The environment that one command works on."""

    def __init__(
        self, session: Session, store: Store, project: Path, backend: str
    ) -> None:
        self._session = session
        self._store = store
        self._project = project
        self._backend = backend
        self._unfinished = UnfinishedEnvironments(store.path)
        self.creating = self._unfinished.creating
        """To be entered around the creation of an environment."""

    def lock_of(self, environment: Any) -> Lock:
        store = self._store_of(Path(environment.path))
        return environment_lock(environment, store, self._backend)

    def _store_of(self, environment: Path) -> Store | None:
        """Within the project, locks use the backend that the project's store records."""
        return self._store if self._project in environment.parents else None

    def find(self, event: ConsoleCommandEvent) -> Any:
        """The environment that is whole and ready; ``None`` if it must be created."""
        poetry = event.command.poetry  # type: ignore[attr-defined]
        found = environment_without_creating(poetry, event.io)
        if found is not None and not self._unfinished.contains(found.path):
            return found
        return None

    def create(self, event: ConsoleCommandEvent) -> Any:
        """Create it, unless somebody else has in the meantime.

        The caller holds the project exclusively.
        """
        poetry = event.command.poetry  # type: ignore[attr-defined]
        if self._unfinished.exist:
            found = environment_without_creating(poetry, event.io)
            if found is not None and self._unfinished.contains(found.path):
                remove_environment(found.path)
                self._unfinished.forget(found.path)
        return create_environment(poetry, event.io)

    @contextmanager
    def removing(self, environment: Path) -> Iterator[None]:
        """``env remove`` and ``env use`` wait for whoever installs there.

        An install that finds its environment broken removes it too, before it is locked.
        """
        path = environment / ".lock"
        lock = _lock_at(path, environment, self._store_of(environment), self._backend)
        with self._session.beside_plan(lock, Mode.EXCLUSIVE) as held:
            if os.name == "nt":  # an open file cannot be removed
                held.release()
            yield
        self._unfinished.forget(environment)
