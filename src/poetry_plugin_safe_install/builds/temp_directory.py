"""Isolated builds on any temporary directory: look, decide, act.

Poetry builds a distribution in a virtual environment in the temporary directory. Such
an environment links to the interpreter, or holds copies of it
(``VIRTUALENV_ALWAYS_COPY``). On the interpreter's own device links work. On another
one links may be refused, and copies may not be allowed to run or find no room; so what
works there is tried out with the real interpreter before anything is changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time

from contextlib import ExitStack
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from poetry_plugin_safe_install.builds.interpreters import interpreters_of_builds
from poetry_plugin_safe_install.compat import DISTRIBUTION
from poetry_plugin_safe_install.compat.config import cache_directory
from poetry_plugin_safe_install.compat.config import parallel_builds
from poetry_plugin_safe_install.compat.environment_making import (
    isolated_environments_refused,
)
from poetry_plugin_safe_install.compat.environment_making import (
    own_environments_made_in,
)
from poetry_plugin_safe_install.errors import TempDirectoryError


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Iterator
    from collections.abc import Mapping

    from cleo.io.io import IO

COPY = {"VIRTUALENV_ALWAYS_COPY": "true"}

NAMES = 3
"""Copies in one environment, ``python``, ``python3`` and ``python3.11``: virtualenv's
``CPythonPosix._executables``, 20.32 to 21.15."""

BESIDE = 32 * 1024**2
"""Bytes kept free in each environment for what a build itself needs."""

FULL = 8 * 1024**2
"""Bytes without which no build gets along, whether the interpreter is copied or not."""

LEFT_OVER = 7 * 24 * 3600.0
"""Seconds after which a directory of a command that was killed is removed."""


# What was found.


class Place(NamedTuple):
    """A directory for temporary files, and what the interpreter can do there.

    Each ``no_…`` says why something does not work there and is empty if it does.
    """

    path: Path
    same_device: bool = False
    """Whether it is on the device of every interpreter that builds may use."""
    no_links: str = ""
    """A link to the interpreter cannot be made, or cannot be run."""
    no_copies: str = ""
    """A copy of the interpreter cannot be made, or cannot be run."""
    no_room: str = ""
    """The copies that builds side by side may need are too large."""

    @property
    def takes_links(self) -> bool:
        return not self.no_links

    @property
    def takes_copies(self) -> bool:
        return not self.no_copies and not self.no_room

    @property
    def problems(self) -> str:
        problems = {
            "links": self.no_links,
            "copies": self.no_copies,
            "room": self.no_room,
        }
        return ", ".join(f"{what}: {why}" for what, why in problems.items() if why)


class Found(NamedTuple):
    """All that the decision rests on."""

    setting: str
    """The setting ``always-copy``."""
    users_choice: str = ""
    """Where the user has told virtualenv to copy or to link, in words."""
    windows: bool = False
    temp: Place | None = None
    """The temporary directory, where it matters."""
    others: tuple[Place, ...] = ()
    """Those tried in its stead, the last of them the first that is fit."""


# What to do.


class Decision:
    """What is done for the isolated builds of one command, with a line that says why."""

    def __init__(
        self,
        text: str,
        *,
        copy: bool = False,
        move_to: Path | None = None,
        unfit: bool = False,
    ) -> None:
        """
        :param copy: whether virtualenv is told to copy.
        :param move_to: where temporary files go instead.
        :param unfit: whether no directory will do, and the first build fails.
        """
        self.text = text
        self.copy = copy
        self.move_to = move_to
        self.unfit = unfit


SAME_DEVICE = "nothing is changed: same device as the interpreter"
"""The usual case, of which nobody is told."""


def decide(found: Found) -> Decision:
    """Decide by what was found, and by nothing else."""
    temp = found.temp
    if found.users_choice:
        return Decision(f"virtualenv does as told by {found.users_choice}")
    if found.setting == "never":
        return Decision('nothing is changed: always-copy is "never"')
    if found.windows:
        return Decision("nothing is changed: on Windows virtualenv copies anyway")
    if found.setting == "always":
        return Decision('the interpreter is copied: always-copy is "always"', copy=True)
    if temp is None or temp.same_device:
        return Decision(SAME_DEVICE)
    if temp.takes_copies:
        return Decision(
            f"the interpreter is copied: {temp.path} is on another device", copy=True
        )
    if temp.takes_links:
        return Decision(
            f"nothing is changed: links work in {temp.path}, no copies"
            f" ({temp.problems})"
        )
    for place in found.others:
        if place.takes_links or place.takes_copies:
            copy = place.takes_copies and not (place.same_device and place.takes_links)
            return Decision(
                f"temporary files go to {place.path}, because neither links nor copies"
                f" of the interpreter work in {temp.path} ({temp.problems})",
                copy=copy,
                move_to=place.path,
            )
    return Decision(
        "no directory is fit: "
        + "; ".join(f"{p.path} ({p.problems})" for p in (temp, *found.others)),
        unfit=True,
    )


# How it is found out.


def examine(
    setting: str, environment: Any, others: Callable[[], Iterable[Path]]
) -> Found:
    """Find out what the decision rests on; leaves nothing behind.

    :param environment: the project's, which builds take their interpreter from.
    :param others: directories that may take the place of the temporary directory, in
        order; they need not exist.
    """
    found = Found(setting, windows=sys.platform == "win32")
    if setting == "never" or found.windows:
        return found
    if setting == "auto":
        interpreters = interpreters_of_builds(environment)
        found = found._replace(temp=_temp(interpreters))
        if found.temp and found.temp.same_device:
            return found
    choice = users_choice(os.environ)
    if choice or found.temp is None:
        return found._replace(users_choice=choice)
    parallel = parallel_builds()
    if not found.temp.problems:
        found = found._replace(temp=probe(found.temp.path, interpreters, parallel))
    if decide(found).unfit:
        for other in others():
            place = probe(other, interpreters, parallel)
            found = found._replace(others=(*found.others, place))
            if not decide(found).unfit:
                break
    return found


def _temp(interpreters: Iterable[Path]) -> Place:
    """The temporary directory, with nothing tried out yet."""
    try:
        path = Path(tempfile.gettempdir())
        if full := _full(path):
            return Place(path, no_links=full, no_copies=full)
        return Place(path, same_device(path, interpreters))
    except OSError as error:  # Python has looked for one that it can write to
        path = Path(os.environ.get("TMPDIR", "/tmp"))
        return Place(path, no_links=_why(error), no_copies=_why(error))


def untried() -> Path:
    """As ``tempfile.gettempdir``, which writes a file into each candidate to try it."""
    candidates: list[str] = tempfile._candidate_tempdir_list()  # type: ignore[attr-defined]
    for candidate in [*filter(None, [tempfile.tempdir]), *candidates]:
        if os.path.isdir(candidate) and os.access(candidate, os.W_OK | os.X_OK):
            return Path(os.fsdecode(candidate)).absolute()
    return Path.cwd()


def users_choice(environ: Mapping[str, str]) -> str:
    """Where the user has told virtualenv to copy or to link, in words.

    The names and places are those of virtualenv's ``VirtualEnvConfigParser`` and
    ``IniConfig``, 20.32 to 21.15; there too an empty variable counts as unset.
    """
    names = ("copies", "always_copy", "symlinks")
    for name in names:
        variable = f"VIRTUALENV_{name.upper()}"
        if environ.get(variable):
            return f"the environment variable {variable}"

    from configparser import ConfigParser
    from configparser import Error

    from platformdirs import user_config_dir

    file = environ.get("VIRTUALENV_CONFIG_FILE") or os.path.join(
        user_config_dir(appname="virtualenv", appauthor="pypa"), "virtualenv.ini"
    )
    parser = ConfigParser(interpolation=None)
    with suppress(OSError, UnicodeError, Error):
        parser.read(file, encoding="utf-8-sig")
    for name in names:
        if parser.has_option("virtualenv", name):
            return f"{name} in {file}"
    return ""


def probe(path: Path, interpreters: Iterable[Path], parallel: int) -> Place:
    """Try out in a directory what isolated builds need there; leaves nothing behind.

    A directory that does not exist yet is judged by the one that it would be made in.
    """
    existing = next(p for p in (path, *path.parents) if p.is_dir())
    interpreters = sorted(interpreters)
    place = Place(path, same_device(existing, interpreters))
    for interpreter in interpreters:
        try:
            with tempfile.TemporaryDirectory(
                prefix="safe-install-", dir=existing, ignore_cleanup_errors=True
            ) as directory:
                place = _probe(place, Path(directory), interpreter, parallel)
        except OSError as error:
            return place._replace(no_links=_why(error), no_copies=_why(error))
    return place


def _probe(place: Place, directory: Path, interpreter: Path, parallel: int) -> Place:
    link, copy = directory / "python", directory / "python3"
    if full := _full(directory):
        return place._replace(no_links=full, no_copies=full)
    no_room = _no_room(directory, interpreter.stat().st_size, parallel)
    return place._replace(
        no_links=place.no_links
        or _why_not_run(link, lambda: link.symlink_to(interpreter)),
        no_room=place.no_room or no_room,
        # Never fill up a directory that others use too.
        no_copies=place.no_copies
        or ("" if no_room else _why_not_run(copy, lambda: _copy(interpreter, copy))),
    )


def _copy(interpreter: Path, copy: Path) -> None:
    shutil.copyfile(interpreter, copy)
    copy.chmod(0o700)


def _why_not_run(program: Path, make: Callable[[], object]) -> str:
    try:
        make()
        subprocess.run(
            [program, "-V"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=10,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        return f"exit status {error.returncode} when run"
    except subprocess.TimeoutExpired:
        return "does not end when run"
    except OSError as error:
        return _why(error)
    return ""


def _no_room(directory: Path, size: int, parallel: int) -> str:
    needed = parallel * (NAMES * size + BESIDE)
    usage = shutil.disk_usage(directory)
    if usage.free >= needed or not usage.total:  # a file system without a limit
        return ""
    return (
        f"{usage.free // 1024**2} MiB are free and {parallel} builds side by side may"
        f" need {needed // 1024**2} MiB"
    )


def _full(directory: Path) -> str:
    try:
        usage = shutil.disk_usage(directory)
    except OSError:  # whatever is tried there says why
        return ""
    if usage.free >= FULL or not usage.total:
        return ""
    return f"only {usage.free // 1024} KiB are free"


def same_device(path: Path, interpreters: Iterable[Path]) -> bool:
    """Whether a directory is on the device of every one of these."""
    return {path.stat().st_dev} == {python.stat().st_dev for python in interpreters}


def _why(error: OSError) -> str:
    return error.strerror or str(error)


# How it is done.


@contextmanager
def prepared(setting: str, environment: Any, store: Path, io: IO) -> Iterator[None]:
    """Have isolated builds work while this lasts; all is as before afterwards."""
    try:
        decision = decide(examine(setting, environment, lambda: other_places(store)))
        with ExitStack() as stack:
            _apply(decision, stack)
            undo = stack.pop_all()
    except Exception as error:  # Poetry then behaves as without this plugin
        decision, undo = Decision(f"nothing is changed: {error}"), ExitStack()
    if io.is_verbose() and decision.text != SAME_DEVICE:
        io.write_error_line(f"{DISTRIBUTION}: isolated builds: {decision.text}")
    with undo:
        yield


def other_places(store: Path) -> list[Path]:
    """Where temporary files may go instead, the better one first."""
    cache = cache_directory()
    return [cache / "safe-install" / "tmp", store / "tmp"]


def _apply(decision: Decision, stack: ExitStack) -> None:
    if decision.move_to:
        stack.enter_context(_moved_to(decision.move_to))
        from poetry_plugin_safe_install.events import tell

        path = str(decision.move_to)
        tell("temp-directory-moved", path=path, text=decision.text)
    if decision.copy:
        stack.enter_context(_environment(COPY))
        stack.enter_context(
            own_environments_made_in(lambda: _environment(dict.fromkeys(COPY)))
        )
    if decision.unfit:
        stack.enter_context(
            isolated_environments_refused(
                TempDirectoryError(
                    f"Isolated builds cannot run here: {decision.text}.\nSet TMPDIR to a"
                    " directory where the interpreter can be linked to or copied and"
                    " run, or POETRY_CACHE_DIR to one on such a file system."
                )
            )
        )


@contextmanager
def _moved_to(base: Path) -> Iterator[None]:
    """Have temporary files made in a directory of this command's own."""
    for left in base.glob("*"):
        with suppress(OSError):
            if left.stat().st_mtime < time.time() - LEFT_OVER:
                shutil.rmtree(left)
    own = _own_directory(base)
    cached, tempfile.tempdir = tempfile.tempdir, own.name
    try:
        with own, _environment({"TMPDIR": own.name}):
            yield
    finally:
        tempfile.tempdir = cached
        with suppress(OSError):
            base.rmdir()  # only the last of several commands succeeds


def _own_directory(base: Path) -> tempfile.TemporaryDirectory[str]:
    for _ in range(100):
        base.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another command has just removed ``base``
            return tempfile.TemporaryDirectory(dir=base, ignore_cleanup_errors=True)
    raise FileNotFoundError(f"{base} is removed again and again")


@contextmanager
def _environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables, or with ``None`` unset them, for a while."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
