"""How a command writes pyproject.toml and poetry.lock: nobody's change is lost.

Each is written whole, under the project's lock, and only while it is what the command
has read. An editor takes no lock: what it has saved meanwhile is what this is for, and
commands that read before they had the lock (poetry-plugin-up).
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.command_line import real_path
from poetry_plugin_safe_install.errors import ProjectChangedError
from poetry_plugin_safe_install.project_files import identity
from poetry_plugin_safe_install.writes import replacing


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from cleo.io.io import IO

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.pairs import Pair
    from poetry_plugin_safe_install.rewrites import Rewrites
    from poetry_plugin_safe_install.store import Store

PYPROJECT, LOCK = "pyproject.toml", "poetry.lock"


class ProjectWrites:
    """Those of one command."""

    def __init__(self, project: Path, own: Callable[[], object]) -> None:
        """
        :param project: the real directory of pyproject.toml.
        :param own: has the command hold the project exclusively from then on.
        """
        self._project = project
        self._own = own
        self._read: list[tuple[Any, bytes | None]] = []
        """Every document that was read, and the content that it is from."""
        self._written: list[bytes | None] = []
        """What this command, or a plugin in it, has written last."""
        self._lock: object = ...
        """What poetry.lock was when the command's own code started."""
        self.pair: Pair | None = None
        """What keeps the two files together where the command writes both."""
        self.rewrites: Rewrites | None = None
        """What a plugin has done to them for the length of the command."""

    def write_both_or_none(self, store: Store, io: IO, ending: ExitStack) -> None:
        """:param ending: what is done when the command has ended."""
        from poetry_plugin_safe_install.pairs import Pair

        self.pair = Pair(self._project / PYPROJECT, store, io)
        ending.callback(self.pair.put_back)

    def reading(self, path: Path, read: Callable[[], Any]) -> Any:
        if not self._is(path, PYPROJECT):
            return read()
        content = _content(path)
        document = read()
        self._read.append((document, content))
        return document

    @contextmanager
    def replacing(self, path: Path, document: Any = None) -> Iterator[Path]:
        if self._is(path, PYPROJECT):
            with self._replacing_pyproject(path, document) as place:
                yield place
        elif self._is(path, LOCK):
            with self._replacing_lock(path) as place:
                yield place
        else:
            with replacing(path) as place:
                yield place

    def command_runs(self, *, rewritten: bool) -> None:
        """
        :param rewritten: whether a plugin has rewritten pyproject.toml for the length of
            the command: it is going to put it back, so that is no change of others.
        """
        self._lock = identity(self._project / LOCK)
        if rewritten:
            self._written = [_content(self._project / PYPROJECT)]

    def check_before_packages(self, command: StartingCommand) -> None:
        """Have packages changed only for the sake of files that can be written then."""
        from poetry_plugin_safe_install.compat.files import PACKAGES

        command.patch(PACKAGES, self._check)

    def _check(self) -> None:
        """
        :raises ProjectChangedError: if a file is not what the command has read.
        """
        self._check_lock()
        if self.pair:
            self._check_pyproject(None)

    @contextmanager
    def _replacing_pyproject(self, path: Path, document: Any) -> Iterator[Path]:
        self._own()
        new: list[Path] = []
        try:
            with replacing(path, partial(self._before, path, document, new)) as place:
                if place != path:
                    new.append(place)
                yield place
        except ProjectChangedError:
            if self.pair:
                self.pair.give_up()
            raise
        if self.pair:
            self.pair.written()
        self._written = [_content(path)]

    def _before(self, path: Path, document: Any, new: list[Path]) -> None:
        """:param new: what is about to take the place of pyproject.toml."""
        self._check_pyproject(document)
        if not (new and self.rewrites):
            return
        if self.rewrites.written_by_command(path, *new) and self.pair:
            self.pair.go_on(*new)

    @contextmanager
    def _replacing_lock(self, path: Path) -> Iterator[Path]:
        self._own()
        with replacing(path, self._check) as place:
            yield place
            if self.pair and place != path:
                self.pair.begin(place, self._original)
        self._lock = identity(path)

    @property
    def _original(self) -> bytes | None:
        """What pyproject.toml was before a plugin has rewritten it."""
        path = self._project / PYPROJECT
        return self.rewrites.original(path) if self.rewrites else None

    def _check_pyproject(self, document: Any) -> None:
        """:param document: what is going to be written, if it was read before."""
        last = [content for _, content in self._read[-1:]]
        own = [content for read, content in self._read if read is document]
        expected = (own or last) + self._written
        if expected and _content(self._project / PYPROJECT) not in expected:
            raise _changed(PYPROJECT)

    def _check_lock(self) -> None:
        if self._lock not in (..., identity(self._project / LOCK)):
            raise _changed(LOCK)

    def _is(self, path: Path, name: str) -> bool:
        return path.name == name and real_path(path.parent) == self._project


def _changed(name: str) -> ProjectChangedError:
    from poetry_plugin_safe_install.events import refused

    return refused(ProjectChangedError(name))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
