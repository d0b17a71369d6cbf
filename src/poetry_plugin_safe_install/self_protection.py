"""``poetry self …``: the environment that Poetry itself is installed in.

What is wanted there is in a pyproject.toml and a poetry.lock in Poetry's configuration
directory. That is a project like any other, which all Poetrys of a user share.
"""

from __future__ import annotations

import os

from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from poetry_plugin_safe_install import needs
from poetry_plugin_safe_install.compat.command_events import Protection
from poetry_plugin_safe_install.compat.command_line import real_path
from poetry_plugin_safe_install.compat.config import cache_directory
from poetry_plugin_safe_install.compat.config import configuration_file
from poetry_plugin_safe_install.compat.environments import poetrys_environment
from poetry_plugin_safe_install.environments import changes
from poetry_plugin_safe_install.environments.project_environment import environment_lock
from poetry_plugin_safe_install.environments.project_environment import lock_of_uv
from poetry_plugin_safe_install.environments.uv_lock import UvLock
from poetry_plugin_safe_install.errors import SafeInstallError
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.session import Session
from poetry_plugin_safe_install.project_writes import PYPROJECT
from poetry_plugin_safe_install.project_writes import ProjectWrites
from poetry_plugin_safe_install.settings import resolve
from poetry_plugin_safe_install.store import find_store
from poetry_plugin_safe_install.store import make_store
from poetry_plugin_safe_install.summary import Summary


if TYPE_CHECKING:
    from cleo.events.console_command_event import ConsoleCommandEvent

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.settings import Settings


def protect_self(command: StartingCommand, row: needs.Row) -> Protection | None:
    """Only the environment tells how: a project has no say in Poetry's own."""
    try:
        settings = resolve({}, os.environ, {})
    except SafeInstallError:  # told by the commands that have a project
        settings = resolve({}, {}, {})
    return SelfCommand(command, row, settings) if settings.enabled else None


class SelfCommand(Protection):
    """One command that changes Poetry's own environment."""

    def __init__(
        self, command: StartingCommand, row: needs.Row, settings: Settings
    ) -> None:
        self._command = command
        self._settings = settings
        self._plan = needs.lock_plan(row, settings.lock_scope, needs.Facts())
        self._session = Session(
            command.io, command.line, settings.lock_timeout, Summary().waited
        )
        self._ending = ExitStack()
        self._ending.callback(self._session.release_all)
        self._directory = real_path(configuration_file().parent)

    @cached_property
    def files(self) -> ProjectWrites:
        return ProjectWrites(self._directory, lambda: None)  # it is held all along

    def plugins_loaded(self) -> Protection:
        """Lock the two files, with what a killed command has left put back."""
        try:
            self._lock_files()
        except Exception as error:  # Poetry reports it when the command starts
            from poetry_plugin_safe_install.failed_command import failed

            self._session.release_all()
            return failed(self._command, error)
        return self

    def _lock_files(self) -> None:
        from poetry_plugin_safe_install.pairs import Pair

        store = find_store(self._directory, cache_directory)
        backend = self._settings.lock_backend
        guards = f"the files of poetry self in {self._directory}"
        lock = Lock(store.project_lock, guards, store.locks, backend, store.records)

        def locks_of(_: str) -> list[Lock]:
            make_store(store)
            return [lock]

        self._session.walk(self._plan, needs.LOADED, locks_of)
        if self._session.is_locked(needs.PROJECT):
            io = self._command.io
            Pair(self._directory / PYPROJECT, store, io).put_back()
            self.files.write_both_or_none(store, io, self._ending)

    def command_starts(self, event: ConsoleCommandEvent) -> None:
        environment = poetrys_environment()
        lock = environment_lock(environment, None, self._settings.lock_backend)
        locks = {needs.ENVIRONMENT: [lock]}  # for uv's see ``environments.uv_lock``
        taken = self._session.walk(
            self._plan, needs.FOUND, lambda resource: locks.get(resource, [])
        )
        if taken and self._session.is_locked(needs.ENVIRONMENT):
            changes.repair(environment, lock, self._command.io.write_error_line)
            uv = UvLock(self._session)
            self._ending.callback(uv.release)
            uv.guard(lock_of_uv(environment, None, self._settings.lock_backend))
            protected = changes.protect(self._command, environment, uv)
            self._ending.callback(protected.close)

    def command_runs(self, event: ConsoleCommandEvent) -> None:
        self.files.command_runs(rewritten=False)
        self.files.check_before_packages(self._command)

    def command_ended(self) -> None:
        self._ending.close()
