"""A command before Poetry has parsed it, and the project that it is about."""

from __future__ import annotations

import os

from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

from poetry_plugin_safe_install.compat import PACKAGE
from poetry_plugin_safe_install.compat import UnknownPoetryError
from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any
    from typing import TypeVar

    from cleo.io.io import IO
    from poetry.console.application import Application
    from poetry.plugins.plugin_manager import PluginManager
    from poetry.poetry import Poetry

    Found = TypeVar("Found")


COMMAND_LINE = Internals("the command line")

PLACE = ("--directory", "-C", "--project", "-P")
"""Options that say where the project is; they may come before the command."""


@COMMAND_LINE.uses("poetry.console.application", "Application._io")
@COMMAND_LINE.uses("poetry.plugins.plugin_manager", "PluginManager._plugins")
class StartingCommand:
    """A command that is about to start: its plugins are loaded, none is activated."""

    def __init__(self, manager: PluginManager, application: Application) -> None:
        self._manager = manager
        # Poetry drops one whose plugins it has activated only: see ``compat.activation``.
        self._application = ref(application)
        self.io: IO = application._io  # type: ignore[assignment]
        self._at_end = ExitStack()
        self._is_known_poetry = True
        self._found: dict[Any, Any] = {}
        self._before_work: list[tuple[bool, Callable[[], object]]] = []

    def once(self, find: Callable[[StartingCommand], Found]) -> Found:
        """What this function finds of the command; it is called once."""
        if find not in self._found:
            self._found[find] = find(self)
        found: Found = self._found[find]
        return found

    def patch(self, internals: Internals, context: Any) -> None:
        """Patch these until the command ends, or say that this Poetry is not known.

        :param context: what those that take the place of Poetry's functions are given.
        """
        try:
            if internals.apply(context, self.io):
                self.at_end(internals.undo)
        except UnknownPoetryError as error:
            self.explain(error)

    def before_work(
        self, prepare: Callable[[], object], *, fetches: bool = False
    ) -> None:
        """Have this called before the command fetches, builds or changes anything.

        An install that finds nothing to do is spared it: see ``compat.work``.

        :param fetches: whether it is for what asks an index alone, or installs more than
            the project itself.
        """
        from poetry_plugin_safe_install.compat.work import WORK

        self._before_work.append((fetches, prepare))
        try:
            if WORK.apply(self, self.io):
                self.at_end(WORK.undo)
        except UnknownPoetryError:
            self.prepare_for_work()

    @property
    def is_prepared(self) -> bool:
        return not self._before_work

    def prepare_for_work(self, *, fetches: bool = True) -> bool:
        """Something may be changed from now on, whatever Poetry has to do.

        :param fetches: whether that may be more than the project itself.
        :return: whether there was anything to prepare.
        """
        due = [one for one in self._before_work if fetches or not one[0]]
        for one in due:
            self._before_work.remove(one)
            one[1]()
        return bool(due)

    def explain(self, error: Exception) -> None:
        """Say why the command is not protected; once, if that is a Poetry not known."""
        from poetry_plugin_safe_install.compat.faults import explain

        is_unknown = isinstance(error, UnknownPoetryError)
        if self._is_known_poetry or not is_unknown:
            self.warn(explain(error))
        self._is_known_poetry &= not is_unknown

    def warn(self, text: str) -> None:
        from poetry_plugin_safe_install.compat.faults import warn

        warn(self.io, text)

    def at_end(self, undo: Callable[[], None]) -> None:
        """Have this called when the command has ended, the last one first."""
        self._at_end.callback(undo)

    def end(self) -> None:
        """The command has ended, in whichever way: undo what was done for it."""
        self._at_end.close()

    @property
    def application(self) -> Application:
        application = self._application()
        assert application is not None
        return application

    @property
    @COMMAND_LINE.uses("cleo.io.inputs.argv_input", "ArgvInput._tokens")
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
            if token in PLACE:
                next(tokens, None)
            elif token == "--":
                words += tokens
            elif not token.startswith("-"):
                words.append(token)
        return words or ["list"]

    @property
    def line(self) -> str:
        """The command as the user might have typed it, for those who wait for it."""
        return shown(self.arguments)

    @property
    def arguments(self) -> list[str]:
        """The command and all that follows it."""
        tokens, first, at = self._tokens, self.words[0], 0
        while tokens[at:] and tokens[at] != first:
            at += 2 if tokens[at] in PLACE else 1  # a directory may be called like it
        return tokens[at:] or tokens

    @property
    def place(self) -> list[str]:
        """The options before the command that say where the project is."""
        place: list[str] = []
        tokens = iter(self._tokens[: len(self._tokens) - len(self.arguments)])
        for token in tokens:
            if token in PLACE:
                place += [token, next(tokens, "")]
            elif token.partition("=")[0] in PLACE:
                place.append(token)
        return place

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
        """The names of the long options that are given, and the letters of short ones."""
        names: set[str] = set()
        for token in self._tokens:
            if token == "--":
                break
            if token.startswith("--"):
                names.add(token[2:].partition("=")[0])
            elif token.startswith("-"):
                names.update(token[1:])
        return names

    @cached_property
    @COMMAND_LINE.uses("poetry.factory", "Factory.locate")
    @COMMAND_LINE.uses(
        "poetry.console.application",
        "Application.project_directory",
        seen_in="2.1.4, 2.2.1, 2.3.4, 2.4.3, 2.5.1",
        instead="Application._project_directory",
    )
    def project(self) -> Path | None:
        """The project's pyproject.toml, if there is one, in its real directory.

        ``Application.project_directory``; in Poetry 2.0 ``_project_directory``. It may
        be relative, and is then relative to itself: Poetry has changed into it.
        """
        from poetry.factory import Factory

        directory = getattr(self.application, "project_directory", None)
        if directory is None:
            directory = self.application._project_directory
        try:
            found = Factory.locate(directory)
        except RuntimeError:
            return None
        return real_path(found.parent) / found.name

    @property
    @COMMAND_LINE.uses("poetry.plugins.plugin_manager", "ProjectPluginCache.PATH")
    def poetry_cache(self) -> Path:
        """Where unprotected Poetry keeps the plugins of this project."""
        from poetry.plugins.plugin_manager import ProjectPluginCache

        assert self.project is not None
        return self.project.parent / ProjectPluginCache.PATH

    @property
    def has_other_plugins(self) -> bool:
        return any(not is_own_plugin(plugin) for plugin in self._manager._plugins)

    @COMMAND_LINE.uses("poetry.console.application", "Application.reset_poetry")
    def reload_project(self) -> None:
        """Have the project read again: it may have changed while we waited."""
        self.application.reset_poetry()

    @COMMAND_LINE.uses("poetry.plugins.plugin_manager", "PluginManager.load_plugins")
    def load_plugins_again(self) -> None:
        """Load all plugins again, as ``sys.path`` now has them."""
        self._replace_plugins([])
        self._manager.load_plugins()

    def activate_no_other(self) -> None:
        """The command is going to fail: leave the other plugins out of it."""
        self._replace_plugins([*filter(is_own_plugin, self._manager._plugins)])

    def _replace_plugins(self, plugins: list[Any]) -> None:
        before, self._manager._plugins = self._manager._plugins, plugins
        self.at_end(lambda: setattr(self._manager, "_plugins", before))

    @property
    def other_plugin_packages(self) -> set[str]:
        """The top-level packages that the other plugins are from."""
        return {
            type(plugin).__module__.partition(".")[0]
            for plugin in self._manager._plugins
            if not is_own_plugin(plugin)
        }


WITH_SECRETS = {"publish": 1, "config": 2, "run": 2}
"""How much of a command is shown to others: what follows may be a password."""


def shown(arguments: list[str]) -> str:
    """A command as others may see it: without passwords.

    >>> shown(["add", "demo @ https://name:secret@host/demo.whl"])
    'poetry add demo @ https://…@host/demo.whl'
    """
    length = WITH_SECRETS.get(arguments[0], 6) if arguments else 0
    kept = [_without_user(argument) for argument in arguments if argument != "--"]
    return " ".join(["poetry", *kept[:length]])


def _without_user(argument: str) -> str:
    """A URL in it without the user's name and password."""
    before, slashes, rest = argument.partition("://")
    host, slash, path = rest.partition("/")
    if "@" in host:
        host = f"…@{host.rpartition('@')[2]}"
    return f"{before}{slashes}{host}{slash}{path}"


@COMMAND_LINE.uses("poetry.plugins.plugin_manager", "PluginManager._plugins")
def activates_this_plugin(manager: PluginManager) -> bool:
    """Whether this plugin is among those of the manager; true if that is not known."""
    plugins = getattr(manager, "_plugins", None)
    return plugins is None or any(map(is_own_plugin, plugins))


def real_path(path: Path | str) -> Path:
    """The one name of what is there: links are followed, and it is spelled as listed.

    Where case does not count, a kernel may take two spellings for two files, and grant
    both the same lock: FUSE knows most files by their names (exfat-fuse).
    """
    real = os.path.realpath(path)
    directory, name = os.path.split(real)
    other = os.path.join(directory, name.swapcase())
    if other == real or not os.path.lexists(other):
        return Path(real)
    try:
        is_known = os.path.samefile(real, other)
    except OSError:
        is_known = True
    return Path(real if is_known else _as_listed(Path(real)))


def _as_listed(path: Path) -> Path:
    listed = Path(path.anchor)
    for name in path.parts[1:]:
        try:
            names = os.listdir(listed)
        except OSError:
            names = [name]
        alike = [one for one in names if one.casefold() == name.casefold()]
        listed /= alike[0] if name not in names and len(alike) == 1 else name
    return listed


@COMMAND_LINE.uses("poetry.console.application", "Application._io")
def is_running(application: Application) -> bool:
    """Whether ``Application.run`` is under way; true if that is not known."""
    return getattr(application, "_io", application) is not None


def io_of(application: Application) -> IO | None:
    """Where to say something, if Poetry says where that is."""
    return getattr(application, "_io", None)


def is_own_plugin(plugin: object) -> bool:
    return type(plugin).__module__.partition(".")[0] == PACKAGE


@COMMAND_LINE.uses("poetry.factory", "Factory.create_poetry")
@COMMAND_LINE.uses("poetry.console.application", "Application._disable_cache")
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


@COMMAND_LINE.uses("poetry.utils._compat", "tomllib")
def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML with the parser that Poetry brings for its Python.

    :raises ValueError: if it is not TOML.
    """
    from poetry.utils._compat import tomllib

    return tomllib.loads(text)
