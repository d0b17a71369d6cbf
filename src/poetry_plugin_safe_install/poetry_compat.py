"""Poetry's internals: every one that this plugin touches is touched here.

None of them is a promise of Poetry's. ``INTERNALS`` names each with the versions it
was seen in; they are checked before the first is used. If one is missing, one warning
says which, and Poetry runs unprotected.
"""

from __future__ import annotations

import os
import sys

from contextlib import suppress
from functools import cache
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry.plugins.application_plugin import ApplicationPlugin


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from cleo.events.console_command_event import ConsoleCommandEvent
    from cleo.io.io import IO
    from poetry.console.application import Application
    from poetry.plugins.plugin_manager import PluginManager
    from poetry.poetry import Poetry

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


DISTRIBUTION = "poetry-plugin-safe-install"

ALL = "2.0.1, 2.1.4, 2.2.1, 2.3.4, 2.4.3, 2.5.1"


class Internal:
    """Something of Poetry's, or of cleo's, that Poetry does not promise.

    Neither a dataclass nor a named tuple: every command would pay for making it.

    :param name: dotted where it is an attribute of a class: ``PluginManager.activate``.
    :param instead: another name that does as well, under which other versions have it.
    """

    def __init__(
        self, module: str, name: str, seen_in: str = ALL, instead: str = ""
    ) -> None:
        self.module = module
        self.name = name
        self.seen_in = seen_in
        self.instead = instead


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
)
"""What can be looked up in a module. What only an instance has is in ``ON_INSTANCES``."""

ON_INSTANCES = {
    "manager": ("_group", "_plugins"),
    "application": ("_io", "_disable_cache"),
    "input": ("_tokens",),
}
"""Attributes of the running objects, all seen in every version of ``ALL``."""


def missing_internals() -> list[str]:
    """Those of ``INTERNALS`` that this Poetry does not have."""
    return [
        f"{internal.module}.{internal.name}"
        for internal in INTERNALS
        if not any(
            _has(internal.module, name)
            for name in (internal.name, internal.instead)
            if name
        )
    ]


def _has(module: str, name: str) -> bool:
    found: Any
    try:
        found = import_module(module)
    except ImportError:
        return False
    for part in name.split("."):
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


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
        _stand_aside(None, "PluginManager.activate not found")
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
            absent = missing_internals()
            if not absent:
                protection.plugins_loaded()
                return protection
        why = f"{', '.join(absent)} not found"
    except Exception as error:
        if protection:
            protection.command_ended()
        why = f"{type(error).__name__}: {error}"
    _stand_aside(getattr(application, "_io", None), why)
    return None


def _stand_aside(io: IO | None, why: str) -> None:
    """Let this Poetry run unprotected, and say so once."""
    from poetry.__version__ import __version__
    from poetry.plugins.plugin_manager import PluginManager

    if hasattr(PluginManager, "activate"):
        original = getattr(PluginManager.activate, "__wrapped__", None)
        if original:
            setattr(PluginManager, "activate", original)  # noqa: B010

    text = (
        f"{DISTRIBUTION} does not know this Poetry ({__version__}) well enough to"
        f" protect it and stands aside ({why}). Please look for a newer {DISTRIBUTION}."
    )
    if io:
        io.write_error_line(f"<warning>{text}</warning>")
    else:
        print(text, file=sys.stderr)


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


class StartingCommand:
    """A command that is about to start: its plugins are loaded, none is activated."""

    def __init__(self, manager: PluginManager, application: Application) -> None:
        self._manager = manager
        self.application = application

    @property
    def io(self) -> IO:
        io = self.application._io
        assert io is not None
        return io

    @property
    def _tokens(self) -> list[str]:
        tokens: list[str] = self.io.input._tokens  # type: ignore[attr-defined]
        return tokens

    @property
    def words(self) -> list[str]:
        """The command's name and its arguments, without the options before them.

        ``["--version"]`` where only Poetry's version is wanted, which
        ``Application._run`` looks for in the same way before it looks for a command.
        """
        if self.io.input.has_parameter_option(["--version", "-V"], True):
            return ["--version"]
        if self.io.input.has_parameter_option(["--help", "-h"], True):
            return ["help"]
        words: list[str] = []
        tokens = iter(self._tokens)
        for token in tokens:
            if token in ("--directory", "-C", "--project", "-P"):
                next(tokens, None)
            elif token == "--":
                words += tokens
            elif not token.startswith("-"):
                words.append(token)
        return words

    @property
    def line(self) -> str:
        """The command as the user might have typed it, for those who wait for it."""
        name = self.words[0]
        tokens = [token for token in self._tokens if token != "--"]
        return " ".join(["poetry", *tokens[tokens.index(name) :][:6]])

    def option(self, name: str) -> str | None:
        """The value of an option that Poetry has not parsed yet."""
        tokens = iter(self._tokens)
        for token in tokens:
            if token == "--":
                break
            if token == f"--{name}":
                return next(tokens, None)
            if token.startswith(f"--{name}="):
                return token.partition("=")[2]
        return None

    @property
    def project(self) -> Path | None:
        """The project's pyproject.toml, if there is one.

        ``Application.project_directory``; in Poetry 2.0 ``_project_directory``.
        """
        from poetry.factory import Factory

        directory = getattr(self.application, "project_directory", None)
        if directory is None:
            directory = self.application._project_directory
        try:
            return Factory.locate(directory)
        except RuntimeError:
            return None

    @property
    def poetry_cache(self) -> Path:
        """Where unprotected Poetry keeps the plugins of this project."""
        from poetry.plugins.plugin_manager import ProjectPluginCache

        assert self.project is not None
        return self.project.parent / ProjectPluginCache.PATH

    @property
    def has_other_plugins(self) -> bool:
        return any(not _is_own(plugin) for plugin in self._manager._plugins)

    def forget_project(self) -> None:
        """Have the project read again: it may have changed while we waited."""
        self.application.reset_poetry()

    def load_plugins_again(self) -> None:
        """Load all plugins anew, as ``sys.path`` now has them."""
        self._manager._plugins = []
        self._manager.load_plugins()

    def activate_no_other(self) -> None:
        """The command is going to fail: leave the other plugins out of it."""
        self._manager._plugins = [
            plugin for plugin in self._manager._plugins if _is_own(plugin)
        ]

    @property
    def other_plugin_packages(self) -> set[str]:
        """The top-level packages that the other plugins are from."""
        return {
            type(plugin).__module__.partition(".")[0]
            for plugin in self._manager._plugins
            if not _is_own(plugin)
        }


def _is_own(plugin: object) -> bool:
    return type(plugin).__module__.partition(".")[0] == __package__


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
                with suppress(OSError):
                    if section in Path(entry.path, "entry_points.txt").read_bytes():
                        return True
    return False


def load_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file with the parser that Poetry brings for its Python.

    :raises ValueError: if it is not TOML.
    """
    from poetry.utils._compat import tomllib

    with path.open("rb") as file:
        return tomllib.load(file)


def poetry_version() -> str:
    from poetry.__version__ import __version__

    return __version__


def cache_directory() -> Path:
    """Poetry's cache directory, as the user has configured it."""
    from poetry.config.config import Config

    return Path(Config.create().get("cache-dir"))


def without_project_plugins() -> None:
    """From now on ``install`` leaves the project's plugins to this plugin.

    ``InstallCommand.handle`` calls ``PluginManager.ensure_project_plugins``.
    """
    from poetry.plugins.plugin_manager import PluginManager

    setattr(  # noqa: B010 (mypy allows no other way)
        PluginManager,
        "ensure_project_plugins",
        classmethod(lambda cls, poetry, io: None),
    )


def read_project(command: StartingCommand) -> Poetry:
    """The project as Poetry reads it, without any plugin's doing.

    :raises Exception: Poetry's own errors for a bad pyproject.toml.
    """
    from poetry.factory import Factory

    return Factory().create_poetry(
        cwd=command.project.parent if command.project else None,
        io=command.io,
        disable_plugins=True,
        disable_cache=command.application._disable_cache,
    )


def poetry_cache_is_fresh(poetry: Poetry, io: IO) -> bool:
    """Whether Poetry takes ``.poetry/plugins`` for up to date."""
    from poetry.plugins.plugin_manager import ProjectPluginCache

    return ProjectPluginCache(poetry, io)._is_fresh()


def install_plugins(poetry: Poetry, io: IO, directory: Path) -> None:
    """Install the project's plugins as Poetry would, but all of them beneath a directory.

    What goes on ``sys.path`` comes into ``lib``; Poetry would put the console scripts
    and data files into its own environment, where projects overwrite each other's.

    :raises Exception: Poetry's own errors, for example if there is no solution.
    """
    from poetry.plugins.plugin_manager import ProjectPluginCache

    class Cache(ProjectPluginCache):
        def _install(self, plugins: Any, poetry_env: Any, installed: Any) -> None:
            for scheme, place in (
                ("scripts", "Scripts" if sys.platform == "win32" else "bin"),
                ("data", "data"),
                ("include", "include"),
            ):
                poetry_env.paths[scheme] = str(directory / place)
            super()._install(plugins, poetry_env, installed)

    cache = Cache(poetry, io)
    cache._path = directory / "lib"
    cache._config_file = cache._path / "config.toml"
    cache._gitignore_file = directory / ".gitignore"
    cache.ensure_plugins()
    cache._path.mkdir(parents=True, exist_ok=True)


def environment_without_creating(poetry: Poetry, io: IO) -> Any:
    """The project's environment, or ``None`` if Poetry would have to create it.

    ``EnvManager.create_venv`` is what Poetry calls in ``Application.configure_env``; it
    calls ``build_venv`` and ``remove_venv`` on itself for all that it makes.
    """
    from cleo.io.buffered_io import BufferedIO
    from poetry.utils.env import EnvManager

    class MustCreateError(Exception):
        pass

    def must_create(*args: Any, **kwargs: Any) -> None:
        raise MustCreateError

    said = BufferedIO(decorated=io.output.is_decorated())
    said.set_verbosity(io.output.verbosity)
    manager = EnvManager(poetry, io=said)
    manager.build_venv = must_create  # type: ignore[method-assign,assignment]
    manager.remove_venv = must_create  # type: ignore[method-assign]
    try:
        environment = manager.create_venv()
    except MustCreateError:
        return None
    finally_said(said.fetch_output(), io.write)
    finally_said(said.fetch_error(), io.write_error)
    return environment


def finally_said(text: str, write: Callable[..., None]) -> None:
    if text:
        from cleo.io.outputs.output import Type

        write(text, type=Type.RAW)


def create_environment(poetry: Poetry, io: IO) -> Any:
    """The project's environment, created if need be, as Poetry creates it."""
    from poetry.utils.env import EnvManager

    return EnvManager(poetry, io=io).create_venv()


def wants_environment(event: ConsoleCommandEvent) -> bool:
    """Whether Poetry is about to look for the project's environment.

    The conditions of ``Application.configure_env``.
    """
    from poetry.console.commands.env_command import EnvCommand
    from poetry.console.commands.self.self_command import SelfCommand

    command = event.command
    return (
        isinstance(command, EnvCommand)
        and not isinstance(command, SelfCommand)
        and command._env is None
    )


def give_environment(event: ConsoleCommandEvent, environment: Any) -> None:
    """Spare Poetry the search, with the message it would write."""
    if environment.is_venv() and event.io.is_verbose():
        event.io.write_error_line(
            f"Using virtualenv: <comment>{environment.path}</comment>"
        )
    event.command.set_env(environment)  # type: ignore[attr-defined]
