"""A command that is going to fail, with an error that Poetry reports as its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.command_events import Protection


if TYPE_CHECKING:
    from cleo.events.console_command_event import ConsoleCommandEvent

    from poetry_plugin_safe_install.compat.command_line import StartingCommand


class FailedCommand(Protection):
    """A command that is going to fail: its error is raised when it starts.

    There Poetry reports errors as usual; until then other plugins are left out.
    """

    def __init__(self, command: StartingCommand, error: Exception) -> None:
        self._command = command
        self._error = error

    def plugins_loaded(self) -> Protection:
        self._command.activate_no_other()
        return self

    def command_starts(self, event: ConsoleCommandEvent) -> None:
        raise self._error


def failed(command: StartingCommand, error: Exception) -> Protection:
    """Go on with a command that fails with this error.

    :raises Exception: the error itself, if it is a fault of this plugin's own.
    """
    from poetry_plugin_safe_install.compat.faults import is_own_fault

    if is_own_fault(error):
        raise error
    return FailedCommand(command, error).plugins_loaded()
