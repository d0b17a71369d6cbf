"""``init`` where there is no pyproject.toml: what another command makes meanwhile stays.

There is no project to lock yet, so the file itself says who was the first.
"""

from __future__ import annotations

import os

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.errors import ProjectChangedError
from poetry_plugin_safe_install.private_files import private_in
from poetry_plugin_safe_install.private_files import remove


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from poetry_plugin_safe_install.compat.files import Files

PYPROJECT = "pyproject.toml"


class NewProject:
    """How ``init`` writes files; one that it has read is replaced like any other."""

    def __init__(self, files: Files) -> None:
        """Called in the directory of the new project."""
        self._files = files
        self._read: list[Any] = []
        self._is_first = not os.path.lexists(PYPROJECT)

    def reading(self, path: Path, read: Callable[[], Any]) -> Any:
        """
        :raises ProjectChangedError: if it was not there when the command started.
        """
        if self._is_first and Path.cwd() / PYPROJECT == path:
            raise _changed()
        document = self._files.reading(path, read)
        self._read.append(document)
        return document

    def replacing(
        self, path: Path, document: Any = None
    ) -> AbstractContextManager[Path]:
        was_read = any(document is one for one in self._read)
        if path.name != PYPROJECT or was_read:
            return self._files.replacing(path, document)
        return _creating(path)


@contextmanager
def _creating(path: Path) -> Iterator[Path]:
    """Yield where to write what is going to be the content of a file.

    :raises ProjectChangedError: if there is such a file by then.
    """
    directory = Path(os.path.realpath(path.parent))
    if not os.access(directory, os.W_OK | os.X_OK):
        yield path  # Poetry says why
        return
    private = private_in(directory)
    try:
        yield private
        _put_in_place(private, path)
    finally:
        remove(private)


def _put_in_place(private: Path, path: Path) -> None:
    """A link is made by one process only, where the file system has links."""
    try:
        os.link(private, path)
    except OSError:
        if os.path.lexists(path):
            raise _changed() from None
        os.replace(private, path)


def _changed() -> ProjectChangedError:
    from poetry_plugin_safe_install.events import refused

    return refused(ProjectChangedError(PYPROJECT))
