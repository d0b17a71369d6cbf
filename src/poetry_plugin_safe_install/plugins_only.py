"""A command that needs the project's plugins, and no lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.activation import Protection
from poetry_plugin_safe_install.failed_command import failed
from poetry_plugin_safe_install.project_plugins.loading import ProjectPlugins
from poetry_plugin_safe_install.settings import read_project_file


if TYPE_CHECKING:
    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.store import Store


class PluginsOnly(Protection):
    """A command that needs the project's plugins and nothing else."""

    def __init__(self, command: StartingCommand, store: Store) -> None:
        self._command = command
        self._store = store

    def plugins_loaded(self) -> Protection:
        assert self._command.project is not None
        requires = read_project_file(self._command.project).requires_plugins
        if requires:
            plugins = ProjectPlugins(self._command, self._store)
            try:
                plugins.load(requires)
            except Exception as error:  # Poetry could not load a plugin
                return failed(self._command, error)
        return self
