"""``poetry self …``: the environment that Poetry itself is installed in."""

from __future__ import annotations

import os

from contextlib import ExitStack
from typing import TYPE_CHECKING

from poetry_plugin_safe_install import needs
from poetry_plugin_safe_install.compat.activation import Protection
from poetry_plugin_safe_install.compat.environments import poetrys_environment
from poetry_plugin_safe_install.environments import changes
from poetry_plugin_safe_install.environments.project_environment import environment_lock
from poetry_plugin_safe_install.environments.project_environment import lock_of_uv
from poetry_plugin_safe_install.environments.uv_lock import UvLock
from poetry_plugin_safe_install.errors import SafeInstallError
from poetry_plugin_safe_install.locks.session import Session
from poetry_plugin_safe_install.settings import resolve
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

    def command_ended(self) -> None:
        self._ending.close()
