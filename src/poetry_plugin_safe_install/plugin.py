"""The plugin as Poetry sees it: it only registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poetry.plugins.application_plugin import ApplicationPlugin

from poetry_plugin_safe_install import poetry_compat


if TYPE_CHECKING:
    from poetry.console.application import Application
    from poetry.console.commands.command import Command


class SafeInstallPlugin(ApplicationPlugin):
    """Protects Poetry's commands; adds ``poetry safe-install``."""

    def __init__(self) -> None:
        # Poetry constructs every plugin before it activates the first one: this is
        # the only moment to get ahead of the others.
        poetry_compat.call_before_activation(_protect)

    def activate(self, application: Application) -> None:
        application.command_loader.register_factory("safe-install", _safe_install)


def _protect(command: poetry_compat.StartingCommand) -> poetry_compat.Protection | None:
    from poetry_plugin_safe_install.commands import Need
    from poetry_plugin_safe_install.commands import need_of

    need = need_of(command.words, command.options)
    if need is Need.NOTHING or command.project is None:
        return None

    from poetry_plugin_safe_install.store import find_store

    store = find_store(command.project.parent, poetry_compat.cache_directory)
    if need is Need.PLUGINS and not store.plugin_sets.is_dir():
        return None

    from poetry_plugin_safe_install.protected_command import protect

    return protect(command, need, store)


def _safe_install() -> Command:
    from poetry_plugin_safe_install.safe_install import SafeInstallCommand

    return SafeInstallCommand()
