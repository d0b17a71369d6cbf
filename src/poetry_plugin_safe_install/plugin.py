"""The plugin as Poetry sees it: it only registers."""

from __future__ import annotations

import os

from functools import partial
from typing import TYPE_CHECKING

from poetry.plugins.application_plugin import ApplicationPlugin

from poetry_plugin_safe_install.compat.activation import call_before_activation


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from poetry.console.application import Application
    from poetry.console.commands.command import Command

    from poetry_plugin_safe_install.compat.command_events import Protection
    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.compat.schemas import Compiled
    from poetry_plugin_safe_install.needs import Row
    from poetry_plugin_safe_install.store import Store


class SafeInstallPlugin(ApplicationPlugin):
    """Protects Poetry's commands; adds ``poetry safe-install``."""

    def __init__(self) -> None:
        # Poetry constructs every plugin before it activates the first one: this is
        # the only moment to get ahead of the others.
        call_before_activation(_protect, self)

    def activate(self, application: Application) -> None:
        application.command_loader.register_factory("safe-install", _safe_install)


def _protect(command: StartingCommand) -> Protection | None:
    from poetry_plugin_safe_install.needs import Need
    from poetry_plugin_safe_install.needs import row_of

    row = row_of(command.words, command.options)
    if "POETRY_SAFE_INSTALL_ENABLED" in os.environ and row.need is not Need.CHECK:
        from poetry_plugin_safe_install.settings import is_switched_off

        if is_switched_off(os.environ):
            return None
    if row.need not in (Need.NOTHING, Need.CHECK):
        from poetry_plugin_safe_install.compat.schemas import keep_compiled_schemas

        keep_compiled_schemas(command, partial(_kept_schema, command))
    protection = _protect_project(command, row)
    if row.need is Need.INSTALL and protection:
        command.before_work(
            lambda: _protect_shared(command, row, protection), fetches=True
        )
        return protection
    return _protect_shared(command, row, protection)


def _kept_schema(
    command: StartingCommand, library: str, key: str, make: Callable[[], Compiled]
) -> Compiled | None:
    from poetry_plugin_safe_install.caches.schemas import kept

    return kept(command, library, key, make)


def _protect_shared(
    command: StartingCommand, row: Row, protection: Protection | None
) -> Protection | None:
    """Protect what is not the project's alone: the caches, and files as such."""
    if row.caches:
        from poetry_plugin_safe_install.caches.protection import protect_caches

        protection = protect_caches(command, protection)
    if row.writes:
        from poetry_plugin_safe_install.needs import INIT
        from poetry_plugin_safe_install.writes import protect_files

        protection = protect_files(command, protection, creates=row is INIT)
    return protection


def _protect_project(command: StartingCommand, row: Row) -> Protection | None:
    from poetry_plugin_safe_install.needs import INIT
    from poetry_plugin_safe_install.needs import Need
    from poetry_plugin_safe_install.needs import is_about_machine

    if row.need is Need.SELF:
        from poetry_plugin_safe_install.self_protection import protect_self

        return protect_self(command, row)
    others = command.has_other_plugins
    if row.need is Need.NOTHING and not others:
        return None
    if command.project is None:
        if row.need is Need.CHECK and is_about_machine(command.options):
            from poetry_plugin_safe_install.check.command import OutsideProject

            return OutsideProject(command)
        return None

    from poetry_plugin_safe_install.store import find_store

    store = find_store(command.project.parent, _cache_directory)
    if row.need is Need.PLUGINS and row is not INIT and not others:
        if not row.looks and not store.plugin_sets.is_dir():
            return None
        from poetry_plugin_safe_install.plugins_only import PluginsOnly

        return PluginsOnly(command, store, lambda: _protect_story(command, row, store))
    return _protect_story(command, row, store)


def _protect_story(
    command: StartingCommand, row: Row, store: Store
) -> Protection | None:
    from poetry_plugin_safe_install.protection import protect

    return protect(command, row, store)


def _cache_directory() -> Path:
    from poetry_plugin_safe_install.compat.config import cache_directory

    return cache_directory()


def _safe_install() -> Command:
    from poetry_plugin_safe_install.safe_install import SafeInstallCommand

    return SafeInstallCommand()
