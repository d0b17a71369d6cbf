"""What is prepared before a command builds, or changes an environment."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from poetry_plugin_safe_install import needs
from poetry_plugin_safe_install.builds.shared_trees import share_builds
from poetry_plugin_safe_install.builds.temp_directory import prepared
from poetry_plugin_safe_install.compat.environments import environment_of


if TYPE_CHECKING:
    from cleo.events.console_command_event import ConsoleCommandEvent

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.environments.uv_lock import UvLock
    from poetry_plugin_safe_install.locks.session import Session
    from poetry_plugin_safe_install.locks.session import Step
    from poetry_plugin_safe_install.needs import Row
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
        :param ending: what is done when the command has ended, the locks still held.
        :param uv: the lock of uv's on the environment that is changed.
        """
        self._command = command
        self._session = session
        self._settings = settings
        self._store = store
        self._uv = uv
        self._temp_directory = ending.enter_context(ExitStack())
        self._changes = ending.enter_context(ExitStack())
        """What is done before the environment's lock is released."""

    def share_builds(self, row: Row, plan: list[Step]) -> None:
        """Have each process of a build backend keep its source tree to itself.

        :param plan: the lock plan of the command.
        """
        during = needs.BACKEND_STARTS, needs.BACKEND_ENDED
        hold = partial(self._session.between, plan, *during)
        share_builds(self._command, self._session, row, hold, self._settings, self._uv)

    def prepare_builds(self, event: ConsoleCommandEvent) -> None:
        """Have a temporary directory that isolated builds can use.

        ``event.command`` may be one that another command calls.
        """
        environment = environment_of(event)
        builds = needs.row_of(str(event.command.name).split()).builds
        if not builds or environment is None:  # ``publish``: it has ``build`` do that
            return
        self._temp_directory.close()
        setting, store = self._settings.always_copy, self._store.path
        place = prepared(setting, environment, store, event.io)
        self._temp_directory.enter_context(place)

    def protect_changes(self, event: ConsoleCommandEvent) -> None:
        """The lock of the environment is held."""
        from poetry_plugin_safe_install.environments import changes

        protected = changes.protect(self._command, environment_of(event), self._uv)
        self._changes.callback(protected.close)

    def guard(self, event: ConsoleCommandEvent, summary: Summary) -> None:
        """
        :raises SafeInstallError: if the command must not go on.
        """
        from poetry_plugin_safe_install.guards import Guards

        guards = Guards(self._command, self._settings, summary)
        self._changes.callback(guards.command_ended)
        guards.watch(event)

    def called_has_ended(self, row: needs.Row) -> None:
        """
        :param row: that of the command that has called. If that changes nothing itself,
            the lock of the environment is about to be released.
        """
        if not row.changes:
            self._changes.close()
