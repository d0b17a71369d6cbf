"""What guards the environment that a command is about to change."""

from __future__ import annotations

import os
import sys

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.operations import guard_environment


if TYPE_CHECKING:
    from cleo.events.console_command_event import ConsoleCommandEvent

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.compat.operations import TargetEnvironment
    from poetry_plugin_safe_install.environments.system import SystemEnvironment
    from poetry_plugin_safe_install.own_packages.guard import OwnPackagesGuard
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.summary import Summary


class Guards:
    """Those of one command: of the system's Python, and of Poetry itself."""

    def __init__(
        self, command: StartingCommand, settings: Settings, summary: Summary
    ) -> None:
        self._command = command
        self._settings = settings
        self._summary = summary
        self._system: SystemEnvironment | None = None
        self._own_packages: OwnPackagesGuard | None = None

    def watch(self, event: ConsoleCommandEvent) -> None:
        """
        :raises SafeInstallError: if the command must not go on.
        """
        guard_environment(self._command, event, self._guard)

    def command_ended(self) -> None:
        for part in (self._system, self._own_packages):
            if part:
                part.command_ended()

    def _guard(self, target: TargetEnvironment) -> None:
        if not target.is_virtual and not target.changes_nothing:
            from poetry_plugin_safe_install.environments.system import watch

            self._system = watch(target, self._settings.externally_managed, os.environ)

        from poetry_plugin_safe_install.environments.places import poetry_runs_from

        if poetry_runs_from(target, sys.path):
            from poetry_plugin_safe_install.own_packages.guard import OwnPackagesGuard

            self._own_packages = OwnPackagesGuard(
                target,
                self._settings.on_self_change,
                self._command.arguments,
                self._summary,
                self._command.place,
            )
            target.guard(self._command, self._own_packages)
