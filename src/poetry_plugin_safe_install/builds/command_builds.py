"""The builds of one command: where they are made, and beside whom."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from poetry_plugin_safe_install import needs
from poetry_plugin_safe_install.compat.environments import environment_of


if TYPE_CHECKING:
    from collections.abc import Sequence

    from cleo.events.console_command_event import ConsoleCommandEvent

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.environments.uv_lock import UvLock
    from poetry_plugin_safe_install.locks.session import Session
    from poetry_plugin_safe_install.locks.session import Step
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.store import Store


class CommandBuilds:
    def __init__(
        self,
        command: StartingCommand,
        session: Session,
        settings: Settings,
        store: Store,
        ending: ExitStack,
    ) -> None:
        """:param ending: what is done when the command has ended."""
        self._command = command
        self._session = session
        self._settings = settings
        self._store = store
        self._prepared = ending.enter_context(ExitStack())

    def prepare(self, event: ConsoleCommandEvent) -> None:
        """Have a temporary directory that isolated builds can use."""
        from poetry_plugin_safe_install.builds.temp_directory import prepared

        environment = environment_of(event)
        if environment is None:  # ``publish``: it has ``build`` do that
            return
        self._prepared.close()
        setting, store = self._settings.always_copy, self._store.path
        self._prepared.enter_context(prepared(setting, environment, store, event.io))

    def share(self, plan: Sequence[Step], uv: UvLock) -> None:
        """Have each process of a build backend keep its source tree to itself.

        :param plan: the lock plan of the command.
        :param uv: that of the environment that it changes.
        """
        from poetry_plugin_safe_install.builds.shared_trees import share_builds

        during = needs.BACKEND_STARTS, needs.BACKEND_ENDED
        hold = partial(self._session.between, plan, *during)
        share_builds(self._command, self._session, hold, self._settings, uv)
