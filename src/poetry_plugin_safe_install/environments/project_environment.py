"""The environment of a project: found, created, held and removed under its locks."""

from __future__ import annotations

import os
import sys

from contextlib import ExitStack
from contextlib import contextmanager
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install import needs
from poetry_plugin_safe_install.compat.environments import environment_of
from poetry_plugin_safe_install.compat.environments import find_environment
from poetry_plugin_safe_install.compat.environments import is_active
from poetry_plugin_safe_install.compat.environments import register_loggers
from poetry_plugin_safe_install.environments.places import JOURNALS
from poetry_plugin_safe_install.environments.places import holds
from poetry_plugin_safe_install.environments.places import is_marked
from poetry_plugin_safe_install.environments.places import lock_path
from poetry_plugin_safe_install.environments.places import may_have_journals
from poetry_plugin_safe_install.environments.places import may_need_repair
from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.errors import OwnEnvironmentError
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.project_files import identity


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from cleo.events.console_command_event import ConsoleCommandEvent
    from cleo.io.io import IO

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.locks.lock import HeldLock
    from poetry_plugin_safe_install.locks.session import Session
    from poetry_plugin_safe_install.locks.session import Step
    from poetry_plugin_safe_install.store import Store


def environment_lock(environment: Any, store: Store | None, backend: str) -> Lock:
    """The lock that guards an environment.

    :param store: that of the project that the environment is in, if it is in one.
    :param backend: the setting ``lock-backend``.
    """
    is_venv = environment.is_venv()
    directory = environment.path if is_venv else environment.purelib
    path = lock_path(directory, is_venv=is_venv, cache_directory=_cache_directory)
    return _lock_at(path, environment.path, store, backend)


def lock_of_uv(environment: Any, store: Store | None, backend: str) -> Lock | None:
    """The lock that uv takes; ``None`` where it locks nothing in the environment."""
    path = Path(environment.path)
    if not environment.is_venv() or not os.access(path, os.W_OK):
        return None
    return _lock_at(path / ".lock", path, store, backend)


def _cache_directory() -> Path:
    from poetry_plugin_safe_install.compat.config import cache_directory

    return cache_directory()


def _lock_at(path: Path, environment: Path, store: Store | None, backend: str) -> Lock:
    recorded_in = store.locks if store else None
    return Lock(path, f"the environment {environment}", recorded_in, backend)


def _set_aside(environment: Path) -> Path:
    from poetry_plugin_safe_install.environments.set_aside import set_aside

    return set_aside(environment)


def repair(environment: Any, lock: Lock, io: IO) -> None:
    """Finish what a command that died has begun to change; the lock is held."""
    if may_need_repair(environment):
        from poetry_plugin_safe_install.environments import changes

        changes.repair(environment, lock, io.write_error_line)


class ProjectEnvironment:
    """The environment that one command works on."""

    def __init__(
        self, session: Session, store: Store, project: Path, backend: str
    ) -> None:
        self._session = session
        self._store = store
        self._project = project
        self._backend = backend
        self._command: StartingCommand | None = None
        """The one that is watched: see ``watch``."""
        self.locks: list[Lock] = []
        """That of the environment which was asked for last, if one was."""

    def lock_of(self, environment: Any) -> Lock:
        store = self._store_of(Path(environment.path))
        lock = environment_lock(environment, store, self._backend)
        self.locks = [lock]
        return lock

    def lock_of_uv(self, environment: Any) -> Lock | None:
        store = self._store_of(Path(environment.path))
        return lock_of_uv(environment, store, self._backend)

    def _store_of(self, environment: Path) -> Store | None:
        """Within the project, locks use the backend that the project's store records."""
        return self._store if self._project in environment.parents else None

    def have(
        self,
        event: ConsoleCommandEvent,
        alone: Callable[[], AbstractContextManager[None]],
    ) -> Any:
        """The environment, whole and ready; it is created if need be.

        :param alone: has the project exclusively while it is entered.
        """
        poetry = event.command.poetry  # type: ignore[attr-defined]
        with ExitStack() as stack:
            begin = cache(lambda: stack.enter_context(alone()))

            def building(path: Path) -> AbstractContextManager[None] | None:
                active = path.with_name("envs.toml")
                before = identity(active)
                begin()
                is_same = event.command.poetry is poetry  # type: ignore[attr-defined]
                if not is_same or os.path.lexists(path) or identity(active) != before:
                    return None
                register_loggers(event)
                return self.creating(path)

            found = find_environment(event, building)
            if found is not None and not is_marked(found.path):
                return found
            begin()
            return self._create(event)

    def _create(self, event: ConsoleCommandEvent) -> Any:
        """Create it, unless somebody else has in the meantime."""
        from poetry_plugin_safe_install.compat.environment_making import (
            create_environment,
        )
        from poetry_plugin_safe_install.environments import unfinished

        keep = unfinished.is_to_be_kept
        register_loggers(event)
        poetry = event.command.poetry  # type: ignore[attr-defined]
        environment = create_environment(poetry, event.io, keep)
        path = environment.path
        if not is_marked(path) or is_active(path):
            return environment
        cut_off = f"The creation of the environment {path} was cut off"
        if unfinished.is_as_left(path):
            _say(event, f"{cut_off}. It is created again; nothing in it is removed.")
            with self._locked(path):
                return create_environment(poetry, event.io, keep, force=True)
        _say(event, f"{cut_off}, and somebody has made it since. It is used as it is.")
        unfinished.forget(path)
        return environment

    def wait_until_ready(
        self, event: ConsoleCommandEvent, plan: Sequence[Step]
    ) -> None:
        """Nothing is held while the user's program runs, nor while it is waited for.

        :param plan: the lock plan of the command.
        """
        environment = environment_of(event)
        if environment is not None:
            lock, uv = self.lock_of(environment), self.lock_of_uv(environment)
            locks = [lock, uv] if uv else [lock]
            self._session.wait_until_ready(plan, needs.READY, locks)
            self._warn_of_unfinished(event, environment, lock)

    def _warn_of_unfinished(
        self, event: ConsoleCommandEvent, environment: Any, lock: Lock
    ) -> None:
        """Tell of packages that a killed command has left, unless somebody is busy."""
        if not may_have_journals(environment.path):
            return
        from poetry_plugin_safe_install.environments import changes
        from poetry_plugin_safe_install.locks.descendants import path_for_descendant

        if path_for_descendant(lock.path) != lock.path:
            return  # an ancestor is busy
        with suppress(LockUnavailableError):
            if held := self._session.try_now(lock, Mode.SHARED):
                found = changes.unfinished(environment)
                held.release()
                for package, why in found:
                    _say(event, _unfinished_message(package, environment.path, why))

    def watch(self, command: StartingCommand) -> None:
        """Have the command make and remove environments under their locks."""

        self._command = command
        from poetry_plugin_safe_install.compat.environment_making import (
            watch_environments,
        )

        watch_environments(command, self.creating, self.removing, _set_aside)
        if command.words[0].split()[0] == "env":
            from poetry_plugin_safe_install.compat.envs_file import merge_changes

            merge_changes(command, self._alone_with)

    def _alone_with(self, file: Path) -> AbstractContextManager[HeldLock]:
        path = file.with_name(f"{file.name}.lock")
        lock = Lock(path, f"{file}", None, self._backend)
        return self._session.beside_plan(lock, Mode.EXCLUSIVE)

    def creating(self, environment: Path) -> AbstractContextManager[None]:
        """To be entered around the creation of an environment."""
        from poetry_plugin_safe_install.environments import unfinished

        if self._command:
            from poetry_plugin_safe_install.caches.protection import protect_seeds

            protect_seeds(self._command)
        return unfinished.creating(environment)

    @contextmanager
    def removing(self, environment: Path) -> Iterator[None]:
        """``env remove`` and ``env use`` wait for whoever installs there.

        An install that finds its environment broken removes it too, before it is locked.

        :raises OwnEnvironmentError: if Poetry runs from this environment.
        """
        try:
            refuse_own(environment)
        except OwnEnvironmentError as error:
            from poetry_plugin_safe_install.events import refused

            raise refused(error) from None
        with self._locked(environment) as release:
            if os.name == "nt":  # an open file cannot be removed
                release()
            yield

    @contextmanager
    def _locked(self, environment: Path) -> Iterator[Callable[[], None]]:
        """Hold the locks of a virtual environment; yields what releases them early."""
        store = self._store_of(environment)
        with ExitStack() as stack:
            for name in (f"{JOURNALS}.lock", ".lock"):
                lock = _lock_at(environment / name, environment, store, self._backend)
                held = self._session.beside_plan(lock, Mode.EXCLUSIVE)
                stack.enter_context(held)
            yield stack.close


def refuse_own(environment: Path) -> None:
    """
    :raises OwnEnvironmentError: if Poetry runs from this environment.
    """
    if holds(environment, [sys.prefix]):
        raise OwnEnvironmentError(
            f"This Poetry runs from the environment {environment}, which is not"
            " removed. Use a Poetry that is installed elsewhere, as"
            " https://python-poetry.org/docs/#installation has it."
        )


def _say(event: ConsoleCommandEvent, text: str) -> None:
    event.io.write_error_line(f"<warning>{text}</warning>")


def _unfinished_message(package: str, environment: Path, why: str) -> str:
    return (
        f"{package} is not whole in the environment {environment} ({why})."
        " To repair it: `poetry install`."
    )
