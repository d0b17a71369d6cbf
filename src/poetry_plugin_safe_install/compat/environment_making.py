"""How Poetry makes and removes environments, and what may be made differently."""

from __future__ import annotations

import sys

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.environments import environment_without_creating
from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from cleo.io.io import IO
    from poetry.poetry import Poetry
    from poetry.utils.env import EnvManager
    from virtualenv.create.pyenv_cfg import PyEnvCfg

    from poetry_plugin_safe_install.compat.command_line import StartingCommand


WATCH = Internals("the making and removing of environments")


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
        with _unlogged():
            original(type(configuration)(configuration.content, rehearsal))
        content = rehearsal.read_bytes()
        rehearsal.unlink()
        before(content)
    original(configuration)


@contextmanager
def _unlogged() -> Iterator[None]:
    """``-vvv`` shows what virtualenv logs."""
    import logging

    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)


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
def stand_in_environment() -> Any:
    """For an install whose environment is still to be made: Poetry's own Python."""
    from poetry.utils.env import NullEnv

    return NullEnv()


@CHECK.uses("poetry.utils.env", "NullEnv")
def environment_to_be_used(
    poetry: Poetry, removed: Callable[[Path], None] = lambda path: None
) -> Any:
    """The environment an install would use; ``None`` if it would have to make one.

    :param removed: is told of an environment that would be removed before.
    :raises Exception: Poetry's own errors, if it cannot use any; those of ``removed``.
    """
    from cleo.io.buffered_io import BufferedIO
    from poetry.utils.env import EnvManager

    if EnvManager(poetry).in_project_venv.is_file():
        return None  # EnvManager.create_venv would remove the file
    return environment_without_creating(poetry, BufferedIO(), removed)


@CHECK.uses("poetry.utils.env", "EnvManager.in_project_venv")
@CHECK.uses("poetry.config.config", "Config.virtualenvs_path")
def environment_directories(poetry: Poetry) -> list[Path]:
    """The environment inside the project, and the directory of all others."""
    from poetry.utils.env import EnvManager

    return [EnvManager(poetry).in_project_venv, poetry.config.virtualenvs_path]


@CHECK.uses("poetry.utils.env", "EnvCommandError")
def failed_interpreter(error: Exception) -> str:
    """How the interpreter of an environment ended that Poetry asked something.

    Poetry's own words have the whole script that it was given.
    """
    from poetry.utils.env import EnvCommandError

    if not isinstance(error, EnvCommandError):
        return ""
    command, status = error.e.cmd, error.e.returncode
    said = error.e.stderr or error.e.output or ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    last = (text.strip().splitlines() or [""])[-1].strip()
    return f"{command[0]} ends with exit status {status}: {last}".removesuffix(": ")
