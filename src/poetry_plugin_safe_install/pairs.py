"""What ``add`` and ``remove`` write: poetry.lock, then pyproject.toml, or neither.

Before the lock file is replaced, its old content is kept in the project's store, until
pyproject.toml is replaced too. Whoever finds it there, and has the project alone, puts
the old lock file back: the command that wrote the new one has died.
"""

from __future__ import annotations

import hashlib
import json

from contextlib import contextmanager
from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.files import FILES
from poetry_plugin_safe_install.writes import replacing


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cleo.io.io import IO

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.store import Store


def pair_writes(command: StartingCommand, pyproject: Path, store: Store) -> Pair:
    """Have a command replace both files or neither. It holds the project exclusively."""
    pair = Pair(pyproject, store)
    FILES.undo()  # they are replaced one by one
    command.patch(FILES, pair.replacing)
    return pair


class Pair:
    """The two files of one project."""

    def __init__(self, pyproject: Path, store: Store) -> None:
        self._lock = pyproject.with_name("poetry.lock")
        self._pyproject = pyproject
        self._journal = store.pair

    @contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        """As ``writes.replacing``, for every file that the command writes."""
        with replacing(path) as private:
            yield private
            if path == self._lock and private != path:
                self._begin(private)
        if path == self._pyproject:
            self._end()

    def put_back(self, io: IO) -> None:
        """Have the old lock file back, unless pyproject.toml fits the new one.

        The project's lock is held exclusively.
        """
        if not self._journal.exists():
            return
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(self._journal.read_text(encoding="utf-8"))
            before = told["before"]
            if (_digest(self._lock), _digest(self._pyproject)) == (
                told["after"],
                told["pyproject"],
            ):
                self._restore(None if before is None else before.encode("latin-1"))
                io.write_error_line(
                    "<info>Put back</info>: poetry.lock (the command that changed it was"
                    " ended before it changed pyproject.toml)."
                )
        self._end()

    def _begin(self, private: Path) -> None:
        before = None
        with suppress(FileNotFoundError):
            before = self._lock.read_bytes().decode("latin-1")
        told = {
            "before": before,
            "after": _digest(private),
            "pyproject": _digest(self._pyproject),
        }
        with suppress(OSError), replacing(self._journal) as new:
            new.write_text(json.dumps(told), encoding="utf-8")

    def _end(self) -> None:
        with suppress(OSError):
            self._journal.unlink()

    def _restore(self, content: bytes | None) -> None:
        if content is None:
            self._lock.unlink()
            return
        with replacing(self._lock) as place:
            place.write_bytes(content)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
