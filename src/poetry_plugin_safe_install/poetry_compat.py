"""Poetry's internals: every one that this plugin touches is touched here.

None of them is a promise of Poetry's. ``INTERNALS`` names each with the versions it
was seen in; they are checked before the first is used. If one is missing, one warning
says which, and Poetry runs unprotected.
"""

from __future__ import annotations

import os
import sys
import threading

from contextlib import contextmanager
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
    from collections.abc import Iterable
    from collections.abc import Iterator
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from typing import Protocol

    from cleo.events.console_command_event import ConsoleCommandEvent
    from cleo.io.buffered_io import BufferedIO
    from cleo.io.io import IO
    from poetry.console.application import Application
    from poetry.console.commands.install import InstallCommand
    from poetry.console.commands.installer_command import InstallerCommand
    from poetry.core.packages.dependency import Dependency
    from poetry.core.packages.package import Package
    from poetry.installation.operations.operation import Operation
    from poetry.plugins.plugin_manager import PluginManager
    from poetry.poetry import Poetry

    from poetry_plugin_safe_install.own_packages import Change
    from poetry_plugin_safe_install.own_packages import Release
    from poetry_plugin_safe_install.own_packages import Requires
    from poetry_plugin_safe_install.surroundings import EnvironmentPlaces

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
    Internal("poetry.config.config", "Config.installer_max_workers"),
)
"""What can be looked up in a module. What only an instance has is in ``ON_INSTANCES``."""

ON_INSTANCES = {
    "manager": ("_group", "_plugins"),
    "application": ("_io", "_disable_cache"),
    "input": ("_tokens",),
}
"""Attributes of the running objects, all seen in every version of ``ALL``."""


def missing_internals(internals: Iterable[Internal] = INTERNALS) -> list[str]:
    """Those that this Poetry does not have."""
    return [
        f"{internal.module}.{internal.name}"
        for internal in internals
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
        _stand_aside(None, _unknown("PluginManager.activate not found"))
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
        text = _unknown(f"{', '.join(absent)} not found")
    except Exception as error:
        if protection:
            protection.command_ended()
        text = _unknown(f"{type(error).__name__}: {error}")
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
    _warn(io, text)


def _unknown(why: str) -> str:
    from poetry.__version__ import __version__

    return (
        f"{DISTRIBUTION} does not know this Poetry ({__version__}) well enough to"
        f" protect it and stands aside ({why}). Please look for a newer {DISTRIBUTION}."
    )


def _warn(io: IO | None, text: str) -> None:
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
        return words or ["list"]

    @property
    def line(self) -> str:
        """The command as the user might have typed it, for those who wait for it."""
        arguments = [token for token in self.arguments if token != "--"]
        return " ".join(["poetry", *arguments[:6]])

    @property
    def arguments(self) -> list[str]:
        """The command and all that follows it."""
        tokens = self._tokens
        first = self.words[0]
        return tokens[tokens.index(first) :] if first in tokens else tokens

    def option(self, name: str) -> str | None:
        """The value of an option that Poetry has not parsed yet; the last one counts."""
        value = None
        tokens = iter(self._tokens)
        for token in tokens:
            if token == "--":
                break
            if token == f"--{name}":
                value = next(tokens, None)
            elif token.startswith(f"--{name}="):
                value = token.partition("=")[2]
        return value

    @property
    def options(self) -> set[str]:
        """The names of the long options that are given."""
        tokens = self._tokens
        before = tokens[: tokens.index("--")] if "--" in tokens else tokens
        return {
            token[2:].partition("=")[0] for token in before if token.startswith("--")
        }

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
                with (
                    suppress(OSError),
                    open(f"{entry.path}/entry_points.txt", "rb") as file,
                ):
                    if section in file.read():
                        return True
    return False


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML with the parser that Poetry brings for its Python.

    :raises ValueError: if it is not TOML.
    """
    from poetry.utils._compat import tomllib

    return tomllib.loads(text)


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
    from poetry.utils.env import EnvManager

    class MustCreateError(Exception):
        pass

    def must_create(*args: Any, **kwargs: Any) -> None:
        raise MustCreateError

    said = _Kept(io)
    manager = EnvManager(poetry, io=said)  # type: ignore[arg-type]
    manager.build_venv = must_create  # type: ignore[method-assign,assignment]
    manager.remove_venv = must_create  # type: ignore[method-assign]
    try:
        environment = manager.create_venv()
    except MustCreateError:
        return None
    said.say()
    return environment


class _Kept:
    """An IO that keeps what is written to it, which mostly is nothing."""

    def __init__(self, io: IO) -> None:
        self._io = io
        self._kept: BufferedIO | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("is_"):
            return getattr(self._io, name)
        if self._kept is None:
            from cleo.io.buffered_io import BufferedIO

            self._kept = BufferedIO(decorated=self._io.output.is_decorated())
            self._kept.set_verbosity(self._io.output.verbosity)
        return getattr(self._kept, name)

    def say(self) -> None:
        if self._kept:
            from cleo.io.outputs.output import Type

            self._io.write(self._kept.fetch_output(), type=Type.RAW)
            self._io.write_error(self._kept.fetch_error(), type=Type.RAW)


def watch_environments(
    building: Callable[[Path], AbstractContextManager[None]],
    removing: Callable[[Path], AbstractContextManager[None]],
) -> None:
    """Have these entered around the making and removing of the user's environments.

    ``EnvManager.create_venv`` makes them with ``self.build_venv(path, …)``; isolated
    environments are made with ``EnvManager.build_venv`` and do not matter here.
    """
    from poetry.utils.env import EnvManager

    create, remove = EnvManager.create_venv, EnvManager.remove_venv
    if hasattr(create, "_watched"):
        return

    @wraps(create)
    def create_venv(manager: EnvManager, *args: Any, **kwargs: Any) -> Any:
        def build_venv(path: Path, *args: Any, **kwargs: Any) -> Any:
            with building(Path(path)):
                return type(manager).build_venv(path, *args, **kwargs)

        vars(manager).setdefault("build_venv", build_venv)
        return create(manager, *args, **kwargs)

    def remove_venv(cls: type, /, path: Path) -> None:
        with removing(Path(path)):
            remove(path)

    create_venv._watched = True  # type: ignore[attr-defined]
    setattr(EnvManager, "create_venv", create_venv)  # noqa: B010
    setattr(EnvManager, "remove_venv", classmethod(remove_venv))  # noqa: B010


def remove_environment(path: Path) -> None:
    from poetry.utils.env import EnvManager

    EnvManager.remove_venv(path)


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


# Isolated builds.


def environment_of(event: ConsoleCommandEvent) -> Any:
    """The environment that the command works on; ``None`` if it has none.

    ``EnvCommand._env``, set by ``Application.configure_env`` before the command runs.
    """
    return getattr(event.command, "_env", None)


def build_pythons(environment: Any) -> list[tuple[Path, Path]]:
    """The Pythons that isolated builds start from, each with its prefix.

    Distributions are built with the project's (``Chef``, ``build_environment``), their
    metadata with Poetry's own (``isolated_builder`` as ``get_pep517_metadata`` of
    ``poetry.inspection.info`` calls it).
    """
    return [
        (Path(environment.python), Path(environment.path)),
        (Path(sys.executable), Path(sys.prefix)),
    ]


def parallel_builds() -> int:
    """How many distributions may be built at once: the workers of ``Executor``."""
    from poetry.config.config import Config

    config = Config.create()
    if not config.get("installer.parallel", True):
        return 1
    return config.installer_max_workers


@contextmanager
def own_environments_made_in(
    surroundings: Callable[[], AbstractContextManager[None]],
) -> Iterator[None]:
    """Have Poetry make the user's own environments inside of ``surroundings()``.

    They all come from ``EnvManager.create_venv``, isolated ones from
    ``ephemeral_environment``, which calls ``EnvManager.build_venv``.
    """
    from poetry.utils.env import EnvManager

    original = EnvManager.create_venv

    @wraps(original)
    def create_venv(*args: Any, **kwargs: Any) -> Any:
        with surroundings():
            return original(*args, **kwargs)

    with _replaced(EnvManager, "create_venv", create_venv):
        yield


@contextmanager
def isolated_environments_refused(error: Exception) -> Iterator[None]:
    """Have every isolated build end in this error; the user's own are made as ever."""
    from poetry.utils.env import EnvManager

    original = EnvManager.__dict__["build_venv"]

    def build_venv(*args: Any, **kwargs: Any) -> Any:
        raise error

    with (
        _replaced(EnvManager, "build_venv", staticmethod(build_venv)),
        own_environments_made_in(lambda: _replaced(EnvManager, "build_venv", original)),
    ):
        yield


@contextmanager
def _replaced(owner: type, name: str, value: Any) -> Iterator[None]:
    before = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


# What `poetry safe-install` and its --check use beyond that.

INTERNALS_OF_SAFE_INSTALL = (
    Internal("poetry.console.commands.install", "InstallCommand._with_synchronization"),
)
INTERNALS_OF_CHECK = (
    Internal("poetry.utils.env", "EnvManager.in_project_venv"),
    Internal("poetry.utils.env", "Env.is_venv"),
    Internal("poetry.utils.env", "Env.paths"),
    Internal("poetry.utils.env", "Env.fallbacks"),
    Internal("cleo.events.event_dispatcher", "EventDispatcher.get_listeners"),
)


def environment_to_be_used(poetry: Poetry) -> EnvironmentPlaces | None:
    """The environment an install would use; ``None`` if it would have to make one.

    :raises Exception: Poetry's own errors, if it cannot use any.
    """
    from cleo.io.buffered_io import BufferedIO
    from poetry.utils.env import EnvManager

    if EnvManager(poetry).in_project_venv.is_file():
        return None  # EnvManager.create_venv would remove the file
    environment = environment_without_creating(poetry, BufferedIO())
    if environment is None:
        return None
    from poetry_plugin_safe_install.surroundings import EnvironmentPlaces

    paths = environment.paths
    return EnvironmentPlaces(
        Path(environment.path),
        bool(environment.is_venv()),
        tuple({Path(paths["purelib"]): 0, Path(paths["platlib"]): 0}),
        Path(paths["scripts"]),
        Path(paths["stdlib"]),
        environment,
    )


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
    return sorted(packages - {"poetry", __package__.partition(".")[0]})


def generic_plugin_packages() -> list[str]:
    """The top-level packages that have plugins of ``poetry.plugin``."""
    from importlib.metadata import entry_points

    from poetry.plugins.plugin import Plugin

    found = entry_points(group=Plugin.group)
    return sorted({entry_point.module.partition(".")[0] for entry_point in found})


def application_plugin_packages() -> list[str]:
    """The top-level packages of all application plugins but this one."""
    from importlib.metadata import entry_points

    found = entry_points(group=ApplicationPlugin.group)
    packages = {entry_point.module.partition(".")[0] for entry_point in found}
    return sorted(packages - {__package__.partition(".")[0]})


# Poetry's own packages: the environment that a command changes, and its operations.


INTERNALS_OF_INSTALLERS = (
    Internal("poetry.installation.installer", "Installer.executor"),
    Internal("poetry.installation.installer", "Installer.is_dry_run"),
    Internal("poetry.installation.executor", "Executor.execute"),
    Internal("poetry.installation.operations.operation", "Operation.priority"),
    Internal("poetry.installation.operations.operation", "Operation.skip"),
    Internal("poetry.utils.env", "Env.fallbacks"),
    Internal("poetry.utils.env", "Env.pip_embedded"),
    Internal("poetry.utils.env", "Env.script_dirs"),
    Internal("poetry.utils.env", "Env.paths"),
)
"""Looked up only where Poetry has its installer ready, since they take long to import."""


def guard_environment(
    event: ConsoleCommandEvent, guard: Callable[[TargetEnvironment], None]
) -> None:
    """Call ``guard`` with the environment that the command is about to change.

    ``poetry self ...`` works on Poetry's environment, and on purpose: it is not called.

    :raises SafeInstallError: what ``guard`` raises to end the command.
    """
    from poetry.console.commands.installer_command import InstallerCommand
    from poetry.console.commands.self.self_command import SelfCommand

    from poetry_plugin_safe_install.errors import SafeInstallError

    command = event.command
    if not isinstance(command, InstallerCommand) or isinstance(command, SelfCommand):
        return
    absent = missing_internals(INTERNALS_OF_INSTALLERS)
    if absent:
        _warn(event.io, _unknown(f"{', '.join(absent)} not found"))
        return
    try:
        guard(TargetEnvironment(event))
    except SafeInstallError:
        raise
    except Exception as error:
        _warn(event.io, _unknown(f"{type(error).__name__}: {error}"))


class TargetEnvironment:
    """The environment that a command is about to change, and what is to come into it."""

    def __init__(self, event: ConsoleCommandEvent) -> None:
        self.io = event.io
        self._command: InstallerCommand = event.command  # type: ignore[assignment]

    @property
    def path(self) -> Path:
        return Path(self._command.env.path)

    @property
    def is_virtual(self) -> bool:
        return (self.path / "pyvenv.cfg").exists()

    @property
    def directories(self) -> list[Path]:
        """Where packages are installed.

        ``Env.scheme_dict`` (Poetry 2.1) goes to the user's directories where those of
        the system cannot be written to.
        """
        env = self._command.env
        found = [Path(path) for path in (env.purelib, env.platlib, *env.fallbacks)]
        userbase, scripts = env.paths.get("userbase"), env.paths.get("scripts")
        if userbase and scripts and not self.is_virtual:
            purelib = str(env.purelib)
            if not all(os.access(path, os.W_OK) for path in (purelib, scripts)):
                prefix = os.path.commonpath([scripts, purelib])
                found.append(Path(purelib.replace(prefix, userbase)))
        return found

    @property
    def script_directories(self) -> list[Path]:
        return [Path(path) for path in self._command.env.script_dirs]

    @property
    def standard_library(self) -> Path:
        return Path(self._command.env.paths["stdlib"])

    @property
    def project_name(self) -> str:
        return self._command.poetry.package.name

    @property
    def changes_nothing(self) -> bool:
        """Whether the options say that nothing is to be installed."""
        return self.io.input.has_parameter_option(["--dry-run", "--lock"], True)

    def guard(self, guard: OperationsGuard) -> None:
        """Have every list of operations pass the guard before it is executed.

        The installer keeps its executor, and the executor all that Poetry has set and
        will set: only ``Executor.execute`` becomes another. Seen in ``ALL``.
        """
        installer = self._command.installer
        executor = installer.executor

        class GuardedExecutor(type(executor)):  # type: ignore[misc]
            def execute(self, operations: list[Operation]) -> int:
                try:
                    operations, refusal = guard.pass_on(operations)
                except Exception as error:
                    _warn(guard.io, _unknown(f"{type(error).__name__}: {error}"))
                    refusal = None
                if refusal and not installer.is_dry_run():
                    raise refusal
                status: int = super().execute(operations)
                if refusal:
                    raise refusal
                return status

        executor.__class__ = GuardedExecutor

    def changes_and_requirements(
        self, operations: list[Operation], own: Iterable[Requires]
    ) -> tuple[dict[str, Change], list[Requires]]:
        """What the operations would do, by package, and what must be accepted then.

        That is what the project requires, and all that is installed as it is locked.

        :param own: what is required among Poetry's own packages.
        """
        from poetry_plugin_safe_install.own_packages import Change

        packages = self._packages_after(operations)
        dependencies = self._dependencies_of(packages)
        extras = self._wanted_extras(dependencies, own)
        releases = {
            package.name: self._release(package, requires, extras)
            for package, requires in zip(packages, dependencies, strict=True)
        }
        changes: dict[str, Change] = {}
        for operation in operations:
            package = operation.package
            removed = operation.job_type == "uninstall"
            if not operation.skipped:
                target = None if removed else releases[package.name]
                is_new = operation.job_type == "install"
                changes[package.name] = Change(package.name, target, over=is_new)
        requirements = [
            requires for release in releases.values() for requires in release.requires
        ]
        return changes, [*self.requirements_of_project(), *requirements]

    def requirements_of_project(self) -> list[Requires]:
        project = self._command.poetry.package
        return self._requires(
            f"the project {project.name}",
            project.all_requires,
            frozenset(project.extras),
        )

    def _packages_after(self, operations: list[Operation]) -> list[Package]:
        """What the operations install, and what is installed as it was locked."""
        from poetry_plugin_safe_install.own_packages import distributions

        installed = {
            name: distribution.version
            for name, distribution in distributions(
                [*map(str, self.directories), *sys.path]
            ).items()
        }
        touched = {operation.package.name for operation in operations}
        return [
            *(
                operation.package
                for operation in operations
                if operation.job_type != "uninstall"
                and (not operation.skipped or operation.package.name in installed)
            ),
            *(
                package
                for package in self._locked_packages
                if package.name not in touched
                and installed.get(package.name) == str(package.version)
            ),
        ]

    @property
    def _locked_packages(self) -> list[Package]:
        locker = self._command.poetry.locker
        return locker.locked_repository().packages if locker.is_locked() else []

    def _dependencies_of(self, packages: list[Package]) -> list[list[Dependency]]:
        """What each package requires.

        ``Locker.locked_packages`` leaves it out, since what is locked needs no solving.
        """
        locked = {(one.name, one.version): one for one in self._locked_packages}
        return [
            package.requires
            or locked.get((package.name, package.version), package).requires
            for package in packages
        ]

    def _wanted_extras(
        self, dependencies: list[list[Dependency]], own: Iterable[Requires]
    ) -> dict[str, frozenset[str]]:
        """The extras of each package that any other, or the project, asks for."""
        wanted: dict[str, frozenset[str]] = {}
        for requires in own:
            asked = wanted.get(requires.package, frozenset())
            wanted[requires.package] = asked | requires.extras
        project = self._command.poetry.package
        for required in (project.all_requires, *dependencies):
            for dependency in required:
                asked = wanted.get(dependency.name, frozenset())
                wanted[dependency.name] = asked | dependency.extras
        return wanted

    def _release(
        self,
        package: Package,
        dependencies: list[Dependency],
        extras: Mapping[str, frozenset[str]],
    ) -> Release:
        from poetry_plugin_safe_install.own_packages import Release

        version = str(package.version)
        return Release(
            package.name,
            version,
            tuple(
                self._requires(
                    f"{package.name} {version}",
                    dependencies,
                    extras.get(package.name, frozenset()),
                )
            ),
        )

    def _requires(
        self,
        requirer: str,
        dependencies: Iterable[Dependency],
        extras: frozenset[str],
    ) -> list[Requires]:
        from poetry_plugin_safe_install.own_packages import Requires

        here = {**self._command.env.marker_env, "extra": set(extras)}
        return [
            Requires(
                requirer,
                dependency.name,
                f"{dependency.pretty_name} ({dependency.pretty_constraint})",
                _acceptance(dependency),
                frozenset(dependency.extras),
            )
            for dependency in dependencies
            if dependency.marker.validate(here)
            and (not dependency.in_extras or extras & {*dependency.in_extras})
        ]

    def keep_embedded_pip(self, directory: Path) -> None:
        """Have what uninstalls packages in a directory where nothing uninstalls it.

        Where the environment has no pip of its own, ``Env.get_pip_command`` runs the
        one in the package virtualenv, out of its wheel. Seen in ``ALL``.
        """
        import shutil

        env = self._command.env
        if env.pip == env.pip_embedded:
            wheel = shutil.copy(env.pip_embedded.parent, directory)
            env._embedded_pip_path = Path(wheel) / "pip"


def _acceptance(dependency: Dependency) -> Callable[[str], bool]:
    """Which versions a dependency accepts; none where it names a source by itself."""
    from poetry.core.constraints.version import Version

    if dependency.is_direct_origin():
        return lambda version: False
    return lambda version: dependency.constraint.allows(Version.parse(version))


if TYPE_CHECKING:

    class OperationsGuard(Protocol):
        """Sees every list of operations before it is executed."""

        io: IO

        def pass_on(
            self, operations: list[Operation]
        ) -> tuple[list[Operation], Exception | None]:
            """What is to be executed instead, and why it must not be if it must not."""


def skip_operation(operation: Operation, reason: str) -> None:
    operation.skip(reason)


def one_by_one_at_the_end(
    operations: list[Operation], last: list[Operation]
) -> list[Operation]:
    """The operations with some of them after all others, one at a time.

    ``Executor.execute`` executes neighbours of one priority side by side, and waits for
    them before it goes on to those of the next. Seen in ``ALL``.
    """
    lowest = min((operation.priority for operation in operations), default=0)
    for steps, operation in enumerate(last, start=1):
        operation._priority = lowest - steps
    return [operation for operation in operations if operation not in last] + last


# Builds: whatever runs a build backend, and whatever writes into the artifact cache.

_RUN_BACKEND = ("get_requires_for_build", "prepare", "build")

BUILD_INTERNALS = (
    Internal("poetry.utils.isolated_build", "isolated_builder"),
    Internal("build", "ProjectBuilder.source_dir"),
    *(Internal("build", f"ProjectBuilder.{name}") for name in _RUN_BACKEND),
    Internal("poetry.installation.chef", "Chef._prepare"),
    Internal("poetry.installation.chef", "extractall"),
    Internal("poetry.installation.executor", "Executor._prepare_archive"),
    Internal("poetry.installation.executor", "Executor._prepare_git_archive"),
    Internal("poetry.installation.executor", "Executor._write"),
    Internal("poetry.installation.executor", "Executor.get_operation_message"),
    Internal("poetry.installation.executor", "Executor.supports_fancy_output"),
    Internal("poetry.inspection.info", "PackageInfo.from_metadata_directory"),
    Internal("poetry.inspection.info", "extractall"),
    Internal("poetry.packages.direct_origin", "_get_package_from_git"),
    Internal("poetry.vcs.git", "Git.get_name_from_source_url"),
    Internal("poetry.vcs.git", "Git.get_default_source_root"),
    Internal("poetry.utils.cache", "ArtifactCache.get_cached_archive_for_link"),
    Internal("poetry.masonry.builders.editable", "build_environment"),
    Internal("poetry.masonry.builders.editable", "EditableBuilder._setup_build"),
    Internal(
        "poetry.console.commands.build",
        "BuildHandler._build",
        "2.1.4, 2.2.1, 2.3.4, 2.4.3, 2.5.1",
        instead="build_environment",
    ),
)
"""Looked up only by a command that may build: importing them takes time."""


if TYPE_CHECKING:

    class Builds(Protocol):
        """What is asked by everything of Poetry's that builds."""

        def tree(
            self, directory: Path, tell: Callable[[str], bool] | None = None
        ) -> AbstractContextManager[None]:
            """A build backend runs in this directory meanwhile.

            :param tell: shows a text where the user looks for the progress of this build,
                and returns whether it did; raises ``KeyboardInterrupt`` if there is no
                point in waiting any longer.
            """

        def checkout(self, place: Path) -> AbstractContextManager[None]:
            """A git repository is cloned to this place and used meanwhile."""

        def wheel(self, place: Path, build: Callable[[Path], Path]) -> Path:
            """Have a wheel built that belongs into this directory of the artifact cache.

            :param build: builds it into the directory it is given, and returns its path.
            """

        def download(
            self, fetch: Callable[[str, Path], None]
        ) -> Callable[[str, Path], None]:
            """What to download with, in place of ``fetch(url, destination)``."""


def share_builds(builds: Builds, io: IO) -> None:
    """Have everything in this process that builds ask ``builds`` from now on."""
    from poetry.installation.chef import Chef

    if hasattr(Chef, "_safe_install"):
        return
    if absent := missing_internals(BUILD_INTERNALS):
        _warn(io, _unknown(f"{', '.join(absent)} not found"))
        return
    Chef._safe_install = True  # type: ignore[attr-defined]
    unpacked = _note_unpacked()
    _share_backends(builds, unpacked)
    _share_metadata(builds, unpacked)
    _share_artifacts(builds)
    _share_root(builds)
    _share_checkouts(builds)


_telling = threading.local()
"""``tell``: how a thread of the executor tells of its operation."""


def _note_unpacked() -> set[Path]:
    """Where Poetry unpacks sdists from now on: nobody else knows these directories.

    ``Chef._prepare_sdist`` and ``PackageInfo._from_sdist_file`` unpack into a temporary
    directory.
    """
    from poetry.inspection import info
    from poetry.installation import chef
    from poetry.utils.helpers import extractall as original

    unpacked: set[Path] = set()

    @wraps(original)
    def extractall(source: Path, dest: Path, zip: bool) -> None:
        unpacked.add(Path(dest))
        original(source=source, dest=dest, zip=zip)

    _replace(chef, "extractall", extractall)
    _replace(info, "extractall", extractall)
    return unpacked


def _share_backends(builds: Builds, unpacked: set[Path]) -> None:
    """Every process of a build backend.

    ``isolated_builder`` yields a ``ProjectBuilder``, each of whose methods runs one and
    is guarded alone: between two of them Poetry installs what the backend asks for, and
    that may build as well.
    """
    from build import ProjectBuilder
    from poetry.installation.executor import Executor

    def guarded(run: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(run)
        def run_guarded(self: ProjectBuilder, *args: Any, **kw: Any) -> Any:
            tree = Path(self.source_dir)
            if _is_below(unpacked, tree):
                return run(self, *args, **kw)
            with builds.tree(tree, getattr(_telling, "tell", None)):
                return run(self, *args, **kw)

        return run_guarded

    for name in _RUN_BACKEND:
        _replace(ProjectBuilder, name, guarded(getattr(ProjectBuilder, name)))

    prepare = Executor._prepare_archive

    @wraps(prepare)
    def _prepare_archive(self: Executor, operation: Any, **kw: Any) -> Path:
        def tell(text: str) -> bool:
            # The main thread is told of Ctrl-C, and waits for this one to end.
            if self._shutdown:
                raise KeyboardInterrupt
            message = self.get_operation_message(operation)
            line = f"  <fg=blue;options=bold>-</> {message}: <comment>{text}</comment>"
            self._write(operation, line)
            return self.supports_fancy_output()

        _telling.tell = tell
        try:
            return prepare(self, operation, **kw)
        finally:
            del _telling.tell

    _replace(Executor, "_prepare_archive", _prepare_archive)


def _share_metadata(builds: Builds, unpacked: set[Path]) -> None:
    """``*.egg-info`` that a backend leaves in a tree, which Poetry reads to resolve."""
    from poetry.inspection.info import PackageInfo

    read = PackageInfo.from_metadata_directory.__func__  # type: ignore[attr-defined]

    @wraps(read)
    def from_metadata_directory(cls: Any, path: Path) -> Any:
        is_tree = any((path / name).exists() for name in ("pyproject.toml", "setup.py"))
        if not is_tree or _is_below(unpacked, path):
            return read(cls, path)
        with builds.tree(path):
            return read(cls, path)

    _replace(
        PackageInfo, "from_metadata_directory", classmethod(from_metadata_directory)
    )


def _share_artifacts(builds: Builds) -> None:
    """Wheels that are built into the artifact cache, and what is downloaded there."""
    from poetry.installation.chef import Chef
    from poetry.utils.cache import ArtifactCache

    prepare = Chef._prepare
    find = ArtifactCache.get_cached_archive_for_link

    @wraps(prepare)
    def _prepare(self: Chef, directory: Path, destination: Path, **kw: Any) -> Path:
        return builds.wheel(
            destination, lambda place: prepare(self, directory, place, **kw)
        )

    @wraps(find)
    def get_cached_archive_for_link(
        self: ArtifactCache, link: Any, *, download_func: Any = None, **kw: Any
    ) -> Any:
        if download_func is not None:
            download_func = builds.download(download_func)
        return find(self, link, download_func=download_func, **kw)

    _replace(Chef, "_prepare", _prepare)
    _replace(ArtifactCache, "get_cached_archive_for_link", get_cached_archive_for_link)


def _share_root(builds: Builds) -> None:
    """What builds the project itself without ``ProjectBuilder``.

    ``EditableBuilder`` runs a build script in what ``build_environment`` yields, or
    lets pip run a setup.py that it writes into the tree. ``poetry build`` lets its own
    poetry-core build: in Poetry 2.0 in what ``build_environment`` yields, then in
    ``BuildHandler._build``.
    """
    from poetry.console.commands import build
    from poetry.masonry.builders import editable
    from poetry.utils.env import build_environment as environment

    setup = editable.EditableBuilder._setup_build

    @contextmanager
    def build_environment(poetry: Poetry, env: Any = None, io: Any = None) -> Any:
        tree = builds.tree(poetry.file.path.parent)
        with environment(poetry=poetry, env=env, io=io) as found, tree:
            yield found

    @wraps(setup)
    def _setup_build(self: Any) -> None:
        with builds.tree(self._poetry.file.path.parent):
            setup(self)

    _replace(editable, "build_environment", build_environment)
    _replace(editable.EditableBuilder, "_setup_build", _setup_build)

    if not hasattr(build, "BuildHandler"):
        _replace(build, "build_environment", build_environment)
        return
    build_in_process = build.BuildHandler._build

    @wraps(build_in_process)
    def _build(self: Any, *args: Any, **kw: Any) -> None:
        with builds.tree(self.poetry.file.path.parent):
            build_in_process(self, *args, **kw)

    _replace(build.BuildHandler, "_build", _build)


def _share_checkouts(builds: Builds) -> None:
    """Git repositories below an environment's ``src``, which its users share."""
    from poetry.installation.executor import Executor
    from poetry.packages import direct_origin
    from poetry.vcs.git import Git

    prepare = Executor._prepare_git_archive
    inspect = direct_origin._get_package_from_git

    @wraps(prepare)
    def _prepare_git_archive(self: Executor, operation: Any) -> Path:
        name = Git.get_name_from_source_url(operation.package.source_url)
        with builds.checkout(self._env.path / "src" / name):
            return prepare(self, operation)

    @wraps(inspect)
    def _get_package_from_git(url: str, *args: Any, **kw: Any) -> Any:
        root = kw.get("source_root") or Git.get_default_source_root()
        with builds.checkout(root / Git.get_name_from_source_url(url)):
            return inspect(url, *args, **kw)

    _replace(Executor, "_prepare_git_archive", _prepare_git_archive)
    _replace(direct_origin, "_get_package_from_git", _get_package_from_git)


def _is_below(directories: set[Path], path: Path) -> bool:
    return not directories.isdisjoint((path, *path.parents))


def _replace(owner: Any, name: str, value: Any) -> None:
    setattr(owner, name, value)


# What an install would do, for `poetry safe-install --check`.

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
        with _replaced(PluginManager, "ensure_project_plugins", leave):
            InstallCommand.handle(command)
