"""How Poetry finds, creates and removes environments."""

from __future__ import annotations

import os
import sys

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from cleo.events.console_command_event import ConsoleCommandEvent
    from cleo.io.buffered_io import BufferedIO
    from cleo.io.io import IO
    from poetry.poetry import Poetry
    from poetry.utils.env import EnvManager
    from virtualenv.create.pyenv_cfg import PyEnvCfg

    from poetry_plugin_safe_install.compat.command_line import StartingCommand


ENVIRONMENTS = Internals("environments")

WATCH = Internals("the making and removing of environments")


@ENVIRONMENTS.uses(
    "poetry.utils.env",
    "EnvManager.create_venv",
    "EnvManager.build_venv",
    "EnvManager.remove_venv",
)
def environment_without_creating(poetry: Poetry, io: IO) -> Any:
    """The project's environment, or ``None`` if Poetry would have to create it.

    ``EnvManager.create_venv`` is what Poetry calls in ``Application.configure_env``; it
    calls ``build_venv`` and ``remove_venv`` on itself for all that it makes.
    """
    from poetry.utils.env import EnvManager

    class MustCreate(BaseException):
        """Passes through all that handles errors, a patch of our own included."""

    def must_create(*args: Any, **kwargs: Any) -> None:
        raise MustCreate

    said = _Kept(io)
    manager = EnvManager(poetry, io=said)  # type: ignore[arg-type]
    manager.build_venv = must_create  # type: ignore[method-assign,assignment]
    manager.remove_venv = must_create  # type: ignore[method-assign]
    try:
        environment = manager.create_venv()
    except MustCreate:
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


class _Watch:
    """The context of ``WATCH``."""

    def __init__(
        self,
        building: Callable[[Path], AbstractContextManager[None]],
        removing: Callable[[Path], AbstractContextManager[None]],
        set_aside: Callable[[Path], Path],
    ) -> None:
        self.building = building
        self.removing = removing
        self.set_aside = set_aside


def watch_environments(
    command: StartingCommand,
    building: Callable[[Path], AbstractContextManager[None]],
    removing: Callable[[Path], AbstractContextManager[None]],
    set_aside: Callable[[Path], Path],
) -> None:
    """Have these entered around the making and removing of the user's environments.

    :param set_aside: moves one that is about to be removed, and says where it is.

    ``EnvManager.create_venv`` makes them with ``self.build_venv(path, …)``; isolated
    environments are made with ``EnvManager.build_venv`` and do not matter here.
    """
    command.patch(WATCH, _Watch(building, removing, set_aside))


@WATCH.around("poetry.utils.env", "EnvManager.create_venv")
def _create_venv(
    watch: _Watch,
    original: Callable[..., Any],
    manager: EnvManager,
    *args: Any,
    **kwargs: Any,
) -> Any:
    def build_venv(path: Path, *args: Any, **kwargs: Any) -> Any:
        with watch.building(Path(path)):
            return type(manager).build_venv(path, *args, **kwargs)

    vars(manager).setdefault("build_venv", build_venv)
    return original(manager, *args, **kwargs)


@WATCH.around("poetry.utils.env", "EnvManager.remove_venv")
def _remove_venv(
    watch: _Watch, original: Callable[..., None], cls: type[EnvManager], path: Path
) -> None:
    with watch.removing(Path(path)):
        original(cls, watch.set_aside(Path(path)))


@ENVIRONMENTS.uses("poetry.console.application", "Application.register_command_loggers")
def register_loggers(event: ConsoleCommandEvent) -> None:
    """Have log messages shown, or left out, as Poetry does from its own listener on.

    Without handlers Python writes warnings of virtualenv to stderr, whatever the verbosity.
    A second call does no more (``logging.basicConfig``).
    """
    application: Any = event.command.application
    application.register_command_loggers(event, "", application.event_dispatcher)


def create_environment(
    poetry: Poetry, io: IO, keep: Callable[[Path], bool], *, force: bool = False
) -> Any:
    """The project's environment, created if need be, as Poetry creates it.

    :param keep: asked before Poetry removes one to create it again; where it is true,
        virtualenv works over what is there. It replaces its own files and no others.
    :param force: create it although it is there.
    """
    from poetry.utils.env import EnvManager

    manager = EnvManager(poetry, io=io)
    remove = manager.remove_venv

    def remove_venv(path: Path) -> None:
        if not keep(Path(path)):
            remove(path)

    manager.remove_venv = remove_venv  # type: ignore[method-assign]
    return manager.create_venv(force=force)


@ENVIRONMENTS.uses("poetry.utils.env", "EnvManager.get")
def is_active(environment: Path) -> bool:
    """Whether it is used because it is activated, as ``EnvManager.get`` finds out."""
    prefix = os.environ.get("VIRTUAL_ENV", os.environ.get("CONDA_PREFIX"))
    return bool(prefix) and Path(str(prefix)) == Path(environment)


CONFIGURATION = Internals("what virtualenv writes into pyvenv.cfg")


@contextmanager
def configuration_watched(
    path: Path, before: Callable[[bytes], None]
) -> Iterator[None]:
    """Have this called with what is going to be the content of a ``pyvenv.cfg``.

    With a virtualenv that writes it in another way it is not called.
    """
    if CONFIGURATION.missing():
        yield
        return
    with CONFIGURATION.applied((path, before)):
        yield


@CONFIGURATION.around(
    "virtualenv.create.pyenv_cfg", "PyEnvCfg.write", seen_in="20.32 to 21.15"
)
def _write(
    watch: tuple[Path, Callable[[bytes], None]],
    original: Callable[[PyEnvCfg], None],
    configuration: PyEnvCfg,
) -> None:
    path, before = watch
    if configuration.path == path:
        rehearsal = path.with_name(f"{path.name}.rehearsal")
        original(type(configuration)(configuration.content, rehearsal))
        content = rehearsal.read_bytes()
        rehearsal.unlink()
        before(content)
    original(configuration)


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
    "poetry.utils.env", "Env.purelib", "Env.platlib", "Env.fallbacks", "Env.paths"
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


def build_pythons(environment: Any) -> list[tuple[Path, Path]]:
    """The Pythons that isolated builds start from, each with its prefix.

    :param environment: the project's; none if it is still to be made, by Poetry's own.

    Distributions are built with the project's (``Chef``, ``build_environment``), their
    metadata with Poetry's own (``isolated_builder`` as ``get_pep517_metadata`` of
    ``poetry.inspection.info`` calls it).
    """
    own = (Path(sys.executable), Path(sys.prefix))
    if environment is None:
        return [own]
    return [(Path(environment.python), Path(environment.path)), own]


OWN_ENVIRONMENTS = Internals("what the user's own environments are made in")

ISOLATED_ENVIRONMENTS = Internals("isolated environments that are refused")


def own_environments_made_in(
    surroundings: Callable[[], AbstractContextManager[None]],
) -> AbstractContextManager[None]:
    """Have Poetry make the user's own environments inside of ``surroundings()``.

    They all come from ``EnvManager.create_venv``, isolated ones from
    ``ephemeral_environment``, which calls ``EnvManager.build_venv``.
    """
    return OWN_ENVIRONMENTS.applied(surroundings)


@OWN_ENVIRONMENTS.around("poetry.utils.env", "EnvManager.create_venv")
def _create_in_surroundings(
    surroundings: Callable[[], AbstractContextManager[None]],
    original: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> Any:
    with surroundings():
        return original(*args, **kwargs)


class _Refusal:
    """The context of ``ISOLATED_ENVIRONMENTS``."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.is_lifted = False


def isolated_environments_refused(error: Exception) -> AbstractContextManager[None]:
    """Have every isolated build end in this error; the user's own are made as ever."""
    return ISOLATED_ENVIRONMENTS.applied(_Refusal(error))


@ISOLATED_ENVIRONMENTS.around("poetry.utils.env", "EnvManager.create_venv")
def _create_own(
    refusal: _Refusal, original: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    refusal.is_lifted = True
    try:
        return original(*args, **kwargs)
    finally:
        refusal.is_lifted = False


@ISOLATED_ENVIRONMENTS.around("poetry.utils.env", "EnvManager.build_venv")
def _refuse(
    refusal: _Refusal, original: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    if refusal.is_lifted:
        return original(*args, **kwargs)
    raise refusal.error


CHECK = Internals("the check")

SYNC = Internals("safe-install --sync")


@CHECK.uses("poetry.utils.env", "EnvManager.in_project_venv")
@CHECK.uses("poetry.utils.env", "Env.is_venv", "Env.paths")
def stand_in_environment() -> Any:
    """For an install whose environment is still to be made: Poetry's own Python."""
    from poetry.utils.env import NullEnv

    return NullEnv()


@CHECK.uses("poetry.utils.env", "NullEnv")
def environment_to_be_used(poetry: Poetry) -> Any:
    """The environment an install would use; ``None`` if it would have to make one.

    :raises Exception: Poetry's own errors, if it cannot use any.
    """
    from cleo.io.buffered_io import BufferedIO
    from poetry.utils.env import EnvManager

    if EnvManager(poetry).in_project_venv.is_file():
        return None  # EnvManager.create_venv would remove the file
    return environment_without_creating(poetry, BufferedIO())
