"""What is prepared before a command builds, or changes an environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poetry_plugin_safe_install import needs
from poetry_plugin_safe_install.builds.command_builds import CommandBuilds
from poetry_plugin_safe_install.compat.environments import environment_of
from poetry_plugin_safe_install.environments import changes
from poetry_plugin_safe_install.guards import Guards


if TYPE_CHECKING:
    from contextlib import ExitStack

    from cleo.events.console_command_event import ConsoleCommandEvent

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.environments.uv_lock import UvLock
    from poetry_plugin_safe_install.locks.session import Session
    from poetry_plugin_safe_install.locks.session import Step
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.store import Store
    from poetry_plugin_safe_install.summary import Summary


class Work:
    """The builds of one command, and what it changes."""

    def __init__(
        self,
        command: StartingCommand,
        session: Session,
        settings: Settings,
        store: Store,
        ending: ExitStack,
        uv: UvLock,
    ) -> None:
        """
        :param ending: what is done when the command has ended.
        :param uv: the lock of uv's on the environment that is changed.
        """
        self._command = command
        self._settings = settings
        self._ending = ending
        self._uv = uv
        self._builds = CommandBuilds(command, session, settings, store, ending)

    def share_builds(self, row: needs.Row, plan: list[Step]) -> None:
        """:param plan: the lock plan of the command."""
        if row.builds:
            self._builds.share(plan, self._uv)

    def prepare_builds(self, event: ConsoleCommandEvent) -> None:
        """``event.command`` may be one that another command calls."""
        if needs.row_of(str(event.command.name).split()).builds:
            self._builds.prepare(event)

    def protect_changes(self, event: ConsoleCommandEvent) -> None:
        """The lock of the environment is held."""
        protected = changes.protect(self._command, environment_of(event), self._uv)
        self._ending.callback(protected.close)

    def guard(self, event: ConsoleCommandEvent, summary: Summary) -> None:
        """
        :raises SafeInstallError: if the command must not go on.
        """
        guards = Guards(self._command, self._settings, summary)
        self._ending.callback(guards.command_ended)
        guards.watch(event)
