"""``--check`` and ``--show-config`` as a command that holds and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cleo.io.outputs.output import Verbosity

from poetry_plugin_safe_install.check.collect import CheckContext
from poetry_plugin_safe_install.compat.command_events import Protection
from poetry_plugin_safe_install.errors import SafeInstallError
from poetry_plugin_safe_install.project_plugins.loading import ProjectPlugins
from poetry_plugin_safe_install.settings import read_project_file


if TYPE_CHECKING:
    from cleo.events.console_command_event import ConsoleCommandEvent

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.store import Store


class OutsideProject(Protection):
    """Outside a project ``--status`` and ``--prune`` are about the machine alone."""

    def __init__(self, command: StartingCommand) -> None:
        self._command = command

    def plugins_loaded(self) -> Protection:
        keep_for_json(self._command)
        return self

    def command_starts(self, event: ConsoleCommandEvent) -> None:
        event.command.is_outside_project = True  # type: ignore[attr-defined]
        event.stop_propagation()  # Poetry would look for the project


def keep_for_json(command: StartingCommand) -> None:
    """Have the JSON be all that goes to stdout, with ``-v`` too."""
    if command.option("format") == "json":
        command.io.output.set_verbosity(Verbosity.QUIET)


class ReadOnlyCommand(Protection):
    """Loads the plugins that an install would load, and hands over what it knows."""

    def __init__(
        self,
        command: StartingCommand,
        settings: Settings,
        store: Store,
        failure: SafeInstallError | None,
    ) -> None:
        """
        :param failure: why an install would not even start: mostly a bad setting.
        """
        assert command.project is not None
        self._command = command
        self._pyproject = command.project
        self._settings = settings
        self._store = store
        self._failure = failure
        self._requires = read_project_file(command.project).requires_plugins or {}
        self._plugins = ProjectPlugins(command, store)

    def plugins_loaded(self) -> Protection:
        keep_for_json(self._command)
        if self._failure is None and self._settings.enabled:
            try:
                self._plugins.load_untouched(self._requires)
            except SafeInstallError as error:
                self._failure = error
        if self._failure:
            self._command.activate_no_other()
        return self

    def command_starts(self, event: ConsoleCommandEvent) -> None:
        event.command.context = CheckContext(  # type: ignore[attr-defined]
            self._pyproject,
            self._requires,
            self._settings,
            self._failure,
            self._store,
            self._plugins,
        )
        # Poetry would create the environment, other plugins rewrite the project.
        event.stop_propagation()
