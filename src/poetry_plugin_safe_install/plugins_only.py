"""A command that needs the project's plugins and, maybe, its environment."""

from __future__ import annotations

from contextlib import ExitStack
from contextlib import nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.command_events import Protection
from poetry_plugin_safe_install.compat.environments import find_environment
from poetry_plugin_safe_install.compat.environments import set_environment
from poetry_plugin_safe_install.compat.environments import wants_environment
from poetry_plugin_safe_install.environments.places import is_marked


if TYPE_CHECKING:
    from collections.abc import Callable

    from cleo.events.console_command_event import ConsoleCommandEvent
    from cleo.events.console_terminate_event import ConsoleTerminateEvent

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.store import Store


class PluginsOnly(Protection):
    """It holds no lock but while it makes the environment, if there is none.

    If a plugin of the project's listens, it may rewrite the project, and the command is
    protected from then on like any other.
    """

    def __init__(
        self,
        command: StartingCommand,
        store: Store,
        protect: Callable[[], Protection | None],
    ) -> None:
        """
        :param protect: what protects the command where its plugins may rewrite.
        """
        self._command = command
        self._store = store
        self._protect = protect
        self._full: Protection | None = None

    @cached_property
    def _settings(self) -> Settings | None:
        """``None`` if there is to be no protection; read only where it is needed."""
        from poetry_plugin_safe_install.errors import SafeInstallError
        from poetry_plugin_safe_install.settings import settings_of

        try:
            settings = settings_of(self._command)
        except SafeInstallError:  # told by the commands that it concerns
            return None
        return settings if settings.enabled else None

    def plugins_loaded(self) -> Protection:
        if not self._store.plugin_sets.is_dir() or not self._settings:
            return self
        from poetry_plugin_safe_install.failed_command import failed
        from poetry_plugin_safe_install.project_plugins.loading import ProjectPlugins
        from poetry_plugin_safe_install.settings import read_project_file

        assert self._command.project is not None
        requires = read_project_file(self._command.project).requires_plugins
        if requires:
            plugins = ProjectPlugins(self._command, self._store)
            try:
                plugins.load(requires)
            except Exception as error:  # Poetry could not load a plugin
                return failed(self._command, error)
        return self

    def plugins_activated(self, *, listen: bool) -> None:
        if listen and self._settings:
            self._full = self._protect()
        if self._full:
            self._full.plugins_activated(listen=listen)

    def command_runs(self, event: ConsoleCommandEvent) -> None:
        if self._full:
            self._full.command_runs(event)

    def command_terminates(self, event: ConsoleTerminateEvent) -> None:
        if self._full:
            self._full.command_terminates(event)

    def exit_status(self, status: int) -> int:
        return self._full.exit_status(status) if self._full else status

    def command_ended(self) -> None:
        if self._full:
            self._full.command_ended()

    def command_starts(self, event: ConsoleCommandEvent) -> None:
        if self._full:
            self._full.command_starts(event)
            return
        if not wants_environment(event):
            return
        found = find_environment(event)
        if found is not None and not is_marked(found.path):
            set_environment(event, found)
        elif self._settings:
            self._create(event, self._settings)

    def _create(self, event: ConsoleCommandEvent, settings: Settings) -> None:
        """Create the environment, unless somebody does so before we have the lock."""
        from poetry_plugin_safe_install.environments.project_environment import (
            ProjectEnvironment,
        )
        from poetry_plugin_safe_install.errors import LockUnavailableError
        from poetry_plugin_safe_install.locks.lock import Mode
        from poetry_plugin_safe_install.locks.session import Session
        from poetry_plugin_safe_install.project_files import ProjectFiles
        from poetry_plugin_safe_install.summary import Summary

        command = self._command
        assert command.project is not None
        timeout, backend = settings.lock_timeout, settings.lock_backend
        session = Session(command.io, command.line, timeout, Summary().waited)
        files = ProjectFiles(command.io, command.project, self._store, backend)
        made = ProjectEnvironment(session, self._store, command.project.parent, backend)
        made.watch(command)
        with ExitStack() as stack:
            try:
                lock = files.own_lock
                stack.enter_context(session.beside_plan(lock, Mode.EXCLUSIVE))
            except (OSError, LockUnavailableError):
                pass  # told by the commands that need it more
            set_environment(event, made.have(event, nullcontext))
