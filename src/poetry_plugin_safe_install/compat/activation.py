"""The moment between loading and activating plugins, and the events of a command."""

from __future__ import annotations

import sys

from functools import wraps
from typing import TYPE_CHECKING
from typing import Any

from poetry.plugins.application_plugin import ApplicationPlugin

from poetry_plugin_safe_install.compat.command_line import StartingCommand
from poetry_plugin_safe_install.compat.internals import DISTRIBUTION
from poetry_plugin_safe_install.compat.internals import Internal
from poetry_plugin_safe_install.compat.internals import missing_internals
from poetry_plugin_safe_install.compat.internals import unknown_poetry
from poetry_plugin_safe_install.compat.internals import warn


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from cleo.events.console_command_event import ConsoleCommandEvent
    from cleo.io.io import IO
    from poetry.console.application import Application
    from poetry.plugins.plugin_manager import PluginManager


if TYPE_CHECKING:

    class Protection(Protocol):
        """What the story of a protected command is told by, moment after moment."""

        def plugins_loaded(self) -> None:
            """All plugins are loaded and constructed, none is activated yet."""

        def plugins_activated(self, *, listen: bool) -> None:
            """All plugins are activated; ``listen``: some other than this one to events."""

        def command_starts(self, event: ConsoleCommandEvent) -> None:
            """Before every other listener, Poetry's own included."""

        def command_runs(self, event: ConsoleCommandEvent) -> None:
            """After every other listener, just before the command's own code."""

        def command_ended(self) -> None:
            """After every other listener."""


INTERNALS = (
    Internal("poetry.plugins.plugin_manager", "PluginManager.activate"),
    Internal("poetry.plugins.plugin_manager", "PluginManager.load_plugins"),
    Internal("poetry.plugins.plugin_manager", "PluginManager.ensure_project_plugins"),
    Internal("poetry.plugins.plugin_manager", "ProjectPluginCache.PATH"),
    Internal("poetry.plugins.plugin_manager", "ProjectPluginCache.ensure_plugins"),
    Internal("poetry.plugins.plugin_manager", "ProjectPluginCache._install"),
    Internal("poetry.plugins.plugin_manager", "ProjectPluginCache._is_fresh"),
    Internal("poetry.console.application", "Application.reset_poetry"),
    Internal(
        "poetry.console.application",
        "Application.project_directory",
        "2.1.4, 2.2.1, 2.3.4, 2.4.3, 2.5.1",
        instead="Application._project_directory",
    ),
    Internal("poetry.factory", "Factory.create_poetry"),
    Internal("poetry.factory", "Factory.locate"),
    Internal("poetry.utils.env", "EnvManager.create_venv"),
    Internal("poetry.utils.env", "EnvManager.build_venv"),
    Internal("poetry.utils.env", "EnvManager.remove_venv"),
    Internal("cleo.application", "Application.event_dispatcher"),
    Internal("poetry.config.config", "Config.installer_max_workers"),
)
"""What can be looked up in a module. What only an instance has is in ``ON_INSTANCES``."""

ON_INSTANCES = {
    "manager": ("_group", "_plugins"),
    "application": ("_io", "_disable_cache"),
    "input": ("_tokens",),
}
"""Attributes of the running objects, all seen in every version of ``ALL``."""


def call_before_activation(
    protect: Callable[[StartingCommand], Protection | None],
) -> None:
    """Have ``protect`` called when all plugins are loaded and none is activated.

    ``Application._load_plugins`` loads every plugin of ``poetry.application.plugin``,
    then calls ``PluginManager.activate(application)`` once. Seen in ``ALL``.
    """
    from poetry.plugins.plugin_manager import PluginManager

    original = getattr(PluginManager, "activate", None)
    if original is None:
        _stand_aside(None, unknown_poetry("PluginManager.activate not found"))
        return
    if hasattr(original, "_safe_install"):
        return

    @wraps(original)
    def activate(manager: PluginManager, *args: Any, **kwargs: Any) -> None:
        protection = None
        group = getattr(manager, "_group", ApplicationPlugin.group)
        if args and group == ApplicationPlugin.group:
            protection = _begin(protect, manager, args[0])
        if protection is None:
            original(manager, *args, **kwargs)
            return
        before = _listeners(args[0])
        original(manager, *args, **kwargs)
        listen = _listeners(args[0]) != before
        protection.plugins_activated(listen=listen)
        _listen(args[0], protection)

    activate._safe_install = True  # type: ignore[attr-defined]
    setattr(PluginManager, "activate", activate)  # noqa: B010 (mypy allows no other way)


def _begin(
    protect: Callable[[StartingCommand], Protection | None],
    manager: PluginManager,
    application: Application,
) -> Protection | None:
    protection: Protection | None = None
    try:
        absent = _missing_on_instances(manager, application)
        if not absent:
            protection = protect(StartingCommand(manager, application))
            if protection is None:
                return None
            absent = missing_internals(INTERNALS)
            if not absent:
                protection.plugins_loaded()
                return protection
        text = unknown_poetry(f"{', '.join(absent)} not found")
    except Exception as error:
        if protection:
            protection.command_ended()
        text = unknown_poetry(f"{type(error).__name__}: {error}")
        if isinstance(error, OSError):  # a path that is too long, for example
            text = f"{DISTRIBUTION} cannot protect this command: {error}"
    _stand_aside(getattr(application, "_io", None), text)
    return None


def _stand_aside(io: IO | None, text: str) -> None:
    """Let this Poetry run unprotected, and say so once."""
    from poetry.plugins.plugin_manager import PluginManager

    if hasattr(PluginManager, "activate"):
        original = getattr(PluginManager.activate, "__wrapped__", None)
        if original:
            setattr(PluginManager, "activate", original)  # noqa: B010
    warn(io, text)


def _missing_on_instances(
    manager: PluginManager, application: Application
) -> list[str]:
    input = getattr(getattr(application, "_io", None), "input", None)
    objects = {"manager": manager, "application": application, "input": input}
    return [
        f"{type(objects[which]).__name__}.{name}"
        for which, names in ON_INSTANCES.items()
        for name in names
        if not hasattr(objects[which], name)
    ]


def _listeners(application: Application) -> int:
    """How many listeners there are to console events."""
    from cleo.events.console_events import COMMAND
    from cleo.events.console_events import ERROR
    from cleo.events.console_events import SIGNAL
    from cleo.events.console_events import TERMINATE

    dispatcher = application.event_dispatcher
    if dispatcher is None:
        return 0
    return sum(
        len(dispatcher.get_listeners(event))
        for event in (COMMAND, ERROR, SIGNAL, TERMINATE)
    )


def _listen(application: Application, protection: Protection) -> None:
    from cleo.events.console_events import COMMAND
    from cleo.events.console_events import TERMINATE

    dispatcher = application.event_dispatcher
    assert dispatcher is not None
    first, last = sys.maxsize, -sys.maxsize
    dispatcher.add_listener(
        COMMAND, lambda event, *_: protection.command_starts(event), first
    )
    dispatcher.add_listener(
        COMMAND, lambda event, *_: protection.command_runs(event), last
    )
    dispatcher.add_listener(TERMINATE, lambda *_: protection.command_ended(), last)
