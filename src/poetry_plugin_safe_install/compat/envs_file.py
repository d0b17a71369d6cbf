"""``envs.toml``: one file that says for all projects which environment is active."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from poetry.utils.env.env_manager import EnvsFile

    from poetry_plugin_safe_install.compat.command_line import StartingCommand


ENVS_FILE = Internals("envs.toml")


class _Changes:
    """The context of ``ENVS_FILE``."""

    def __init__(self, alone: Callable[[Path], AbstractContextManager[Any]]) -> None:
        self.alone = alone
        self._read: list[tuple[Any, dict[str, Any]]] = []

    def has_read(self, document: Any) -> None:
        self._read.append((document, document.unwrap()))

    def before(self, document: Any) -> dict[str, Any]:
        """What a document was when it was read; it may be read more than once."""
        found = (plain for read, plain in self._read if read is document)
        return next(found, {})


def merge_changes(
    command: StartingCommand, alone: Callable[[Path], AbstractContextManager[Any]]
) -> None:
    """Have only what this command has changed come into the file.

    ``EnvManager.activate`` reads it, makes an environment, and writes it: meanwhile other
    projects write it too.

    :param alone: keeps other commands away from a file.
    """
    command.patch(ENVS_FILE, _Changes(alone))


@ENVS_FILE.around("poetry.utils.env.env_manager", "EnvsFile.read")
def _read(changes: _Changes, original: Callable[..., Any], file: EnvsFile) -> Any:
    found = original(file)
    changes.has_read(found)
    return found


@ENVS_FILE.uses("tomlkit", "document", "TOMLDocument.unwrap")
@ENVS_FILE.around("poetry.utils.env.env_manager", "EnvsFile.write")
def _write(
    changes: _Changes, original: Callable[..., None], file: EnvsFile, data: Any
) -> None:
    import tomlkit

    before, wanted = changes.before(data), data.unwrap()
    with changes.alone(file.path):
        merged = file.read() if file.exists() else tomlkit.document()
        for name in {**before, **wanted}:
            if wanted.get(name) == before.get(name):
                continue
            if name in wanted:
                merged[name] = wanted[name]
            else:
                merged.pop(name, None)
        original(file, merged)
