"""How Poetry writes pyproject.toml, poetry.lock, envs.toml and its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from poetry.packages.locker import Locker
    from tomlkit import TOMLDocument
    from tomlkit.toml_file import TOMLFile

    Replacing = Callable[[Path], AbstractContextManager[Path]]
    """Yields where to write what is going to be the content of a file."""


TOMLKIT = "tomlkit 0.15.2"

FILES = Internals("the files that Poetry writes")


@FILES.uses("tomlkit.toml_file", "TOMLFile._path", seen_in=TOMLKIT)
@FILES.around("tomlkit.toml_file", "TOMLFile.write", seen_in=TOMLKIT)
def _write(
    replacing: Replacing,
    original: Callable[[TOMLFile, TOMLDocument], None],
    file: TOMLFile,
    data: TOMLDocument,
) -> None:
    """All but an existing lock file; it opens the file, which empties it, and writes."""
    _elsewhere(replacing, file, "_path", lambda: original(file, data))


@FILES.uses("poetry.packages.locker", "Locker._lock")
@FILES.around("poetry.packages.locker", "Locker._write_lock_data")
def _write_lock_data(
    replacing: Replacing,
    original: Callable[[Locker, TOMLDocument], None],
    locker: Locker,
    data: TOMLDocument,
) -> None:
    """It reads the line ending of the lock file before it empties it."""
    _elsewhere(replacing, locker, "_lock", lambda: original(locker, data))


def _elsewhere(
    replacing: Replacing, writer: Any, attribute: str, write: Callable[[], None]
) -> None:
    path = getattr(writer, attribute)
    with replacing(Path(path)) as place:
        setattr(writer, attribute, place)
        try:
            write()
        finally:
            setattr(writer, attribute, path)
