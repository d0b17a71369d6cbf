"""The moment between loading and activating plugins.

All that ``poetry --version`` loads of this plugin; what other commands need is imported
where it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat import UnknownPoetryError
from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable

    from cleo.io.io import IO
    from poetry.console.application import Application
    from poetry.plugins.application_plugin import ApplicationPlugin
    from poetry.plugins.plugin_manager import PluginManager

    from poetry_plugin_safe_install.compat.command_events import Protect


START = Internals("the start of a command")
"""Patched while a plugin of ours is loaded and not activated yet."""


class _Start:
    """The context of ``START``."""

    def __init__(self, protect: Protect, plugin: ApplicationPlugin) -> None:
        from weakref import ref

        self.protect = protect
        # Poetry drops a plugin that it loads and never activates.
        self._plugin = ref(plugin, lambda _: START.undo())


def call_before_activation(protect: Protect, plugin: ApplicationPlugin) -> None:
    """Have ``protect`` called when all plugins are loaded and none is activated.

    ``Application._load_plugins`` loads every plugin of ``poetry.application.plugin``,
    then calls ``PluginManager.activate(application)`` once. Seen in ``ALL``.
    """
    try:
        START.apply(_Start(protect, plugin))
    except UnknownPoetryError as error:
        from poetry_plugin_safe_install.compat.faults import unknown_poetry
        from poetry_plugin_safe_install.compat.faults import warn

        warn(None, unknown_poetry(str(error)))


@START.around("poetry.plugins.plugin_manager", "PluginManager.activate")
def _activate(
    start: _Start,
    original: Callable[..., None],
    manager: PluginManager,
    *args: Any,
    **kwargs: Any,
) -> None:
    if args and _tells_version_only(manager, args[0]):
        START.undo()
        original(manager, *args, **kwargs)
        return
    from poetry_plugin_safe_install.compat.command_line import activates_this_plugin
    from poetry_plugin_safe_install.compat.command_line import is_running

    if not args or not activates_this_plugin(manager):
        original(manager, *args, **kwargs)
        return
    START.undo()
    application = args[0]
    from poetry_plugin_safe_install.compat.command_events import begin
    from poetry_plugin_safe_install.compat.command_events import listeners

    protected = None
    if is_running(application):
        protected = begin(start.protect, manager, application)
    if protected is None:
        original(manager, *args, **kwargs)
        return
    try:
        before = listeners(application)
        original(manager, *args, **kwargs)
        protected.activated(listen=listeners(application) != before)
        protected.listen(application)
    except BaseException:
        protected.end()
        raise


@START.uses("poetry.plugins.plugin_manager", "PluginManager._plugins")
@START.uses("poetry.console.application", "Application._io")
def _tells_version_only(manager: PluginManager, application: Application) -> bool:
    """``poetry --version`` without another plugin needs nothing, and so loads nothing."""
    io: IO | None = getattr(application, "_io", None)
    if io is None or len(getattr(manager, "_plugins", ())) != 1:
        return False
    return io.input.has_parameter_option(["--version", "-V"], True)
