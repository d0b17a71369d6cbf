"""Poetry's schemas, compiled: kept as Python keeps the byte code of modules.

What is kept is run, so it must be this user's, with nobody else able to write it; it is
whole (its digest comes first) or not there. ::

    <Poetry's cache directory>/safe-install/schemas/<key>
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import time

from contextlib import suppress
from importlib.util import MAGIC_NUMBER
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.config import cache_directory
from poetry_plugin_safe_install.ownership import is_own
from poetry_plugin_safe_install.ownership import is_private
from poetry_plugin_safe_install.settings import settings_or_default


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.compat.schemas import Compiled

KEPT_FOR = 30 * 24 * 3600
"""Seconds after which what was compiled is removed, when something else is kept."""

DIGEST = hashlib.sha256().digest_size


def kept(
    command: StartingCommand, key: str, make: Callable[[], Compiled]
) -> Compiled | None:
    """What is kept under this key, made and kept if there is nothing yet.

    :return: ``None`` where nothing can be kept.
    """
    if not settings_or_default(command).enabled:
        return None
    directory = schemas_directory()
    path = directory / _name(key)
    found = _read(path)
    if found is None and not sys.dont_write_bytecode and _prepare(directory):
        found = make()
        _keep(path, found)
    return found


def schemas_directory() -> Path:
    return cache_directory() / "safe-install" / "schemas"


def _name(key: str) -> str:
    """Another one for another Python, whose byte code this is."""
    told = f"{sys.version}\0{sys.implementation.cache_tag}\0{key}"
    return hashlib.sha256(MAGIC_NUMBER + told.encode()).hexdigest()[:32]


def _read(path: Path) -> Compiled | None:
    """``None`` where there is nothing that is whole and this user's alone."""
    try:
        if not is_private(path.parent):
            return None
        with path.open("rb") as file:
            if not is_own(os.fstat(file.fileno())):
                return None
            data = file.read()
    except OSError:
        return None
    body = memoryview(data)[DIGEST:]
    if hashlib.sha256(body).digest() != data[:DIGEST]:
        return None
    name, code = marshal.loads(body)
    return name, code


def _prepare(directory: Path) -> bool:
    """Whether something can be kept there."""
    with suppress(OSError):
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(0o700, exist_ok=True)
        return is_private(directory)
    return False


def _keep(path: Path, made: Compiled) -> None:
    """What cannot be written is no error: it was compiled all the same."""
    from poetry_plugin_safe_install.caches.files import write_whole

    body = marshal.dumps(made)
    with suppress(OSError):
        write_whole(path, hashlib.sha256(body).digest() + body, 0o600)
        _remove_old(path.parent)


def _remove_old(directory: Path) -> None:
    before = time.time() - KEPT_FOR
    for path in directory.iterdir():
        with suppress(OSError):
            if path.lstat().st_mtime < before:
                path.unlink()
