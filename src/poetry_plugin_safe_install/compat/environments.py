"""How Poetry finds, creates and removes environments."""

from __future__ import annotations

import os

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from cleo.events.console_command_event import ConsoleCommandEvent
    from cleo.io.io import IO
    from poetry.poetry import Poetry


ENVIRONMENTS = Internals("environments")


def _not_now(path: Path) -> AbstractContextManager[None] | None:
    return None


def find_environment(
    event: ConsoleCommandEvent,
    building: Callable[[Path], AbstractContextManager[None] | None] = _not_now,
) -> Any:
    """The project's environment, or ``None`` if Poetry would have to create it.

    :param building: asked where Poetry would make one. What it returns is entered while
        that is done, so that nothing is looked for twice; ``None`` if it must not be.
    """
    if event.io.is_debug():  # what is logged meanwhile is shown then only
        from poetry_plugin_safe_install.compat.config import load_configuration_later

        register_loggers(event)
        load_configuration_later(event.command.application)  # type: ignore[arg-type]
    poetry: Poetry = event.command.poetry  # type: ignore[attr-defined]
    return environment_without_creating(poetry, event.io, building=building)


@ENVIRONMENTS.uses(
    "poetry.utils.env",
    "EnvManager.create_venv",
    "EnvManager.build_venv",
    "EnvManager.remove_venv",
)
def environment_without_creating(
    poetry: Poetry,
    io: IO,
    removed: Callable[[Path], None] = lambda path: None,
    building: Callable[[Path], AbstractContextManager[None] | None] = _not_now,
) -> Any:
    """The project's environment, or ``None`` if Poetry would have to create it.

    ``EnvManager.create_venv`` is what Poetry calls in ``Application.configure_env``; it
    calls ``build_venv`` and ``remove_venv`` on itself for all that it makes.

    :param removed: is told of an environment that would be removed before.
    :param building: see ``find_environment``.
    """
    from poetry.utils.env import EnvManager

    class MustCreate(BaseException):
        """Passes through all that handles errors, a patch of our own included."""

    def must_create(path: Path, *args: Any, **kwargs: Any) -> Any:
        surroundings = building(Path(path))
        if surroundings is None:
            raise MustCreate
        said.say()
        with surroundings:
            return EnvManager.build_venv(path, *args, **kwargs)

    def must_remove(path: Path) -> None:
        removed(path)
        raise MustCreate

    said = _Kept(io)
    manager = EnvManager(poetry, io=said)  # type: ignore[arg-type]
    manager.build_venv = must_create  # type: ignore[method-assign]
    manager.remove_venv = must_remove  # type: ignore[method-assign]
    try:
        environment = manager.create_venv()
    except MustCreate:
        return None
    said.say()
    return environment


@ENVIRONMENTS.uses("poetry.console.application", "Application.register_command_loggers")
def register_loggers(event: ConsoleCommandEvent) -> None:
    """Have log messages shown, or left out, as Poetry does from its own listener on.

    Without handlers Python writes warnings of virtualenv to stderr, whatever the verbosity.
    A second call does no more (``logging.basicConfig``).
    """
    application: Any = event.command.application
    application.register_command_loggers(event, "", application.event_dispatcher)


class _Kept:
    """An IO that keeps what is written to it, for ``say`` to write it."""

    def __init__(self, io: IO) -> None:
        self._io = io
        self._kept: list[tuple[str, Any, Any]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("write", "overwrite")):
            return lambda *args, **kwargs: self._kept.append((name, args, kwargs))
        return getattr(self._io, name)

    def say(self) -> None:
        while self._kept:
            name, args, kwargs = self._kept.pop(0)
            getattr(self._io, name)(*args, **kwargs)


@ENVIRONMENTS.uses("poetry.utils.env", "EnvManager.get")
def is_active(environment: Path) -> bool:
    """Whether it is used because it is activated, as ``EnvManager.get`` finds out."""
    prefix = os.environ.get("VIRTUAL_ENV", os.environ.get("CONDA_PREFIX"))
    return bool(prefix) and Path(str(prefix)) == Path(environment)


class InstallDirectories:
    """The directories of an environment that packages are installed into.

    :param roots: all that installing knows: scripts, headers, data and so on.
    :param standard_library: ``None`` in a virtual environment.
    """

    def __init__(
        self,
        prefix: str,
        sites: list[str],
        roots: list[str],
        standard_library: str | None,
    ) -> None:
        self.prefix = prefix
        self.sites = sites
        self.roots = roots
        self.standard_library = standard_library


@ENVIRONMENTS.uses(
    "poetry.utils.env",
    "Env.is_venv",
    "Env.purelib",
    "Env.platlib",
    "Env.fallbacks",
    "Env.paths",
)
def install_directories(environment: Any) -> InstallDirectories:
    """``Env.paths`` has directories by scheme, and a list of those to fall back to."""
    sites = [environment.purelib, environment.platlib, *environment.fallbacks]
    roots = [path for path in environment.paths.values() if isinstance(path, str)]
    library = None if environment.is_venv() else environment.paths.get("stdlib")
    prefix = str(environment.path)
    return InstallDirectories(prefix, [*map(str, sites)], roots, library)


@ENVIRONMENTS.uses("poetry.utils.env", "EnvManager.get_system_env")
def poetrys_environment() -> Any:
    """The one that Poetry is installed in, as ``SelfCommand.env`` has it."""
    from poetry.utils.env import EnvManager

    return EnvManager.get_system_env(naive=True)


@ENVIRONMENTS.uses("poetry.console.commands.env_command", "EnvCommand._env")
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


def set_environment(event: ConsoleCommandEvent, environment: Any) -> None:
    """Spare Poetry the search, with the message it would write."""
    if environment.is_venv() and event.io.is_verbose():
        event.io.write_error_line(
            f"Using virtualenv: <comment>{environment.path}</comment>"
        )
    event.command.set_env(environment)  # type: ignore[attr-defined]


def environment_of(event: ConsoleCommandEvent) -> Any:
    """The environment that the command works on; ``None`` if it has none.

    ``EnvCommand._env``, set by ``Application.configure_env`` before the command runs.
    """
    return getattr(event.command, "_env", None)
