"""How Poetry writes pyproject.toml, poetry.lock, envs.toml and its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Protocol

    from poetry.installation.installer import Installer
    from poetry.packages.locker import Locker
    from tomlkit import TOMLDocument
    from tomlkit.toml_file import TOMLFile

    class Files(Protocol):
        """What is asked by whatever of Poetry's reads or writes such a file."""

        def reading(self, path: Path, read: Callable[[], Any]) -> Any:
            """Have a document read from a file, and return it."""

        def replacing(
            self, path: Path, document: Any = None
        ) -> AbstractContextManager[Path]:
            """Yields where to write what is going to be the content of a file.

            :param document: what is written, if it may have been read before.
            """


TOMLKIT = "tomlkit 0.15.2"

FILES = Internals("the files that Poetry writes")

PACKAGES = Internals("the moment before packages are changed")


@FILES.uses("tomlkit.toml_file", "TOMLFile._path", seen_in=TOMLKIT)
@FILES.around("tomlkit.toml_file", "TOMLFile.read", seen_in=TOMLKIT)
def _read(
    files: Files, original: Callable[[TOMLFile], TOMLDocument], file: TOMLFile
) -> Any:
    """All that ``PyProjectTOML.data`` and commands know of pyproject.toml."""
    return files.reading(Path(file._path), lambda: original(file))


@FILES.uses("tomlkit.toml_file", "TOMLFile._path", seen_in=TOMLKIT)
@FILES.around("tomlkit.toml_file", "TOMLFile.write", seen_in=TOMLKIT)
def _write(
    files: Files,
    original: Callable[[TOMLFile, TOMLDocument], None],
    file: TOMLFile,
    data: TOMLDocument,
) -> None:
    """All but an existing lock file; it opens the file, which empties it, and writes."""
    _elsewhere(files, data, file, "_path", lambda: original(file, data))


@FILES.uses("poetry.packages.locker", "Locker._lock")
@FILES.around("poetry.packages.locker", "Locker._write_lock_data")
def _write_lock_data(
    files: Files,
    original: Callable[[Locker, TOMLDocument], None],
    locker: Locker,
    data: TOMLDocument,
) -> None:
    """It reads the line ending of the lock file before it empties it."""
    _elsewhere(files, data, locker, "_lock", lambda: original(locker, data))


@PACKAGES.around("poetry.installation.installer", "Installer._execute")
def _execute(
    check: Callable[[], None],
    original: Callable[[Installer, Any], int],
    installer: Installer,
    operations: Any,
) -> int:
    """``add``, ``remove`` and ``update`` write their files after the packages."""
    check()
    return original(installer, operations)


def _elsewhere(
    files: Files,
    document: Any,
    writer: Any,
    attribute: str,
    write: Callable[[], None],
) -> None:
    path = getattr(writer, attribute)
    with files.replacing(Path(path), document) as place:
        setattr(writer, attribute, place)
        try:
            write()
        finally:
            setattr(writer, attribute, path)
