"""What an install would do, without doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internal
from poetry_plugin_safe_install.compat.internals import missing_internals
from poetry_plugin_safe_install.compat.internals import replaced
from poetry_plugin_safe_install.compat.operations import INTERNALS_OF_INSTALLERS
from poetry_plugin_safe_install.compat.operations import TargetEnvironment


if TYPE_CHECKING:
    from poetry.console.commands.install import InstallCommand
    from poetry.installation.operations.operation import Operation


INTERNALS_OF_OPERATIONS = (
    *INTERNALS_OF_INSTALLERS,
    Internal(
        "poetry.console.application", "Application.configure_installer_for_command"
    ),
    Internal("poetry.console.commands.install", "InstallCommand.handle"),
    Internal("poetry.packages.locker", "Locker.is_locked"),
    Internal("poetry.packages.locker", "Locker.lock_data"),
)
"""Looked up only where Poetry would install into the environment it lives from."""


class LookedAtEnvironment(TargetEnvironment):
    """The environment that ``install`` would change, if it were run with its options."""

    def __init__(self, command: InstallCommand, environment: Any) -> None:
        from copy import copy

        from cleo.events.console_command_event import ConsoleCommandEvent
        from cleo.io.buffered_io import BufferedIO

        self._said = BufferedIO(command.io.input)
        looking = copy(command)
        looking._io = self._said
        looking.set_env(environment)
        super().__init__(ConsoleCommandEvent(looking, self._said))

    def operations(self) -> list[Operation]:
        """What would be executed. Nothing is, and nothing is written.

        ``InstallCommand.handle`` gives the installer its options, and ends when the
        executor fails: before it writes a lock file or builds the project. With a lock
        file nothing is asked of an index. Seen in ``ALL``.

        :raises SafeInstallError: if there is no lock file, or in Poetry's own words.
        """
        from poetry_plugin_safe_install.errors import SafeInstallError

        if absent := missing_internals(INTERNALS_OF_OPERATIONS):
            raise SafeInstallError(f"{', '.join(absent)} not found")
        try:
            locker = self._command.poetry.locker
            is_locked = locker.is_locked() and bool(locker.lock_data)
        except Exception as error:
            text = f"poetry.lock cannot be read: {error}"
            raise SafeInstallError(text) from error
        if not is_locked:
            raise SafeInstallError("there is no lock file yet")
        collected: list[list[Operation]] = []
        try:
            self._handle(collected)
        except Exception as error:
            text = self._said.output.formatter.remove_format(str(error))
            raise SafeInstallError(text or type(error).__name__) from error
        if not collected:
            said = self._said.fetch_error() or self._said.fetch_output()
            raise SafeInstallError(said.strip() or "Poetry does not say why")
        return collected[0]

    def _handle(self, collected: list[list[Operation]]) -> None:
        from poetry.console.application import Application
        from poetry.console.commands.install import InstallCommand
        from poetry.plugins.plugin_manager import PluginManager

        def collect(operations: list[Operation]) -> int:
            collected.append(operations)
            return 1

        def leave_plugins(*args: Any, **kwargs: Any) -> None:
            pass

        command = self._command
        assert isinstance(command, InstallCommand)
        Application.configure_installer_for_command(command, self._said)
        command.installer.executor.execute = collect  # type: ignore[method-assign]
        leave = staticmethod(leave_plugins)
        with replaced(PluginManager, "ensure_project_plugins", leave):
            InstallCommand.handle(command)
