"""Poetry's plugins: what is loaded, and how a project's plugins are installed."""

from __future__ import annotations

import os
import sys

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat import PACKAGE
from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from pathlib import Path

    from cleo.io.io import IO
    from poetry.console.application import Application
    from poetry.poetry import Poetry

    from poetry_plugin_safe_install.compat.command_line import StartingCommand


PLUGINS = Internals("the project's plugins")

PROJECT_PLUGINS = Internals("what installs the project's plugins")
"""Patched where this plugin has taken that over."""


def has_generic_plugins() -> bool:
    """Whether there is a plugin of ``poetry.plugin``, which ``create_poetry`` activates.

    The files that ``importlib.metadata.entry_points`` reads, but without parsing them.
    """
    from poetry.plugins.plugin import Plugin

    section = f"[{Plugin.group}]".encode()
    return any(_has_entry_points(path or ".", section) for path in sys.path)


@cache
def _has_entry_points(path: str, section: bytes) -> bool:
    """Whether something installed in this entry of ``sys.path`` has such a section.

    Looked up once a command: what Poetry is run by does not change under it.
    """
    with suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            if entry.name.endswith(".dist-info"):
                with (
                    suppress(OSError),
                    open(f"{entry.path}/entry_points.txt", "rb") as file,
                ):
                    if section in file.read():
                        return True
    return False


def leave_project_plugins(command: StartingCommand) -> None:
    """Have ``install`` leave the project's plugins to this plugin.

    ``InstallCommand.handle`` calls ``PluginManager.ensure_project_plugins``.

    :raises UnknownPoetryError: if this plugin could not install them.
    """
    for internals in (PROJECT_PLUGINS, PLUGINS):
        internals.check()
    command.patch(PROJECT_PLUGINS, None)


@PROJECT_PLUGINS.around(
    "poetry.plugins.plugin_manager", "PluginManager.ensure_project_plugins"
)
def _ensure_project_plugins(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


@PLUGINS.uses("poetry.plugins.plugin_manager", "ProjectPluginCache._is_fresh")
def poetry_cache_is_fresh(poetry: Poetry, io: IO) -> bool:
    """Whether Poetry takes ``.poetry/plugins`` for up to date."""
    from poetry.plugins.plugin_manager import ProjectPluginCache

    return ProjectPluginCache(poetry, io)._is_fresh()


@PLUGINS.uses(
    "poetry.plugins.plugin_manager",
    "ProjectPluginCache.ensure_plugins",
    "ProjectPluginCache._install",
    "ProjectPluginCache._path",
    "ProjectPluginCache._config_file",
    "ProjectPluginCache._gitignore_file",
    "ProjectPluginCache._poetry",
)
@PLUGINS.uses("poetry.poetry", "Poetry.set_pool")
def install_plugins(poetry: Poetry, io: IO, directory: Path) -> None:
    """Install the project's plugins as Poetry would, but all of them under a directory.

    What goes on ``sys.path`` comes into ``lib``; Poetry would put the console scripts
    and data files into its own environment, where projects overwrite each other's.

    :raises Exception: Poetry's own errors, for example if there is no solution.
    """
    from poetry.plugins.plugin_manager import ProjectPluginCache

    from poetry_plugin_safe_install.compat.installed_pool import POOL
    from poetry_plugin_safe_install.compat.installed_pool import installed_first

    class Cache(ProjectPluginCache):
        def _install(self, plugins: Any, poetry_env: Any, installed: Any) -> None:
            for scheme, place in (
                ("scripts", "Scripts" if sys.platform == "win32" else "bin"),
                ("data", "data"),
                ("include", "include"),
            ):
                poetry_env.paths[scheme] = str(directory / place)
            if not POOL.missing():
                pool, path = self._poetry.pool, poetry_env.sys_path
                self._poetry.set_pool(installed_first(pool, installed, path))
            super()._install(plugins, poetry_env, installed)

    cache = Cache(poetry, io)
    cache._path = directory / "lib"
    cache._config_file = cache._path / "config.toml"
    cache._gitignore_file = directory / ".gitignore"
    cache.ensure_plugins()
    cache._path.mkdir(parents=True, exist_ok=True)


def listening_packages(application: Application) -> list[str]:
    """The top-level packages, other than Poetry's, that listen to console events."""
    from cleo.events.console_events import COMMAND
    from cleo.events.console_events import ERROR
    from cleo.events.console_events import SIGNAL
    from cleo.events.console_events import TERMINATE

    dispatcher = application.event_dispatcher
    assert dispatcher is not None
    packages = {
        str(getattr(listener, "__module__", "unknown")).partition(".")[0]
        for event in (COMMAND, ERROR, SIGNAL, TERMINATE)
        for listener in dispatcher.get_listeners(event)
    }
    return sorted(packages - {"poetry", PACKAGE})


def generic_plugin_packages() -> list[str]:
    """The top-level packages that have plugins of ``poetry.plugin``."""
    from importlib.metadata import entry_points

    from poetry.plugins.plugin import Plugin

    found = entry_points(group=Plugin.group)
    return sorted({entry_point.module.partition(".")[0] for entry_point in found})


def application_plugin_packages() -> list[str]:
    """The top-level packages of all application plugins but this one."""
    from importlib.metadata import entry_points

    from poetry.plugins.application_plugin import ApplicationPlugin

    found = entry_points(group=ApplicationPlugin.group)
    packages = {entry_point.module.partition(".")[0] for entry_point in found}
    return sorted(packages - {PACKAGE})
