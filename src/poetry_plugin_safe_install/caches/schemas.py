"""Poetry's schemas, compiled: kept as Python keeps the byte code of modules.

They lie beside the byte code of the library that has compiled them, in Poetry's own
environment: who can write there can change Poetry as well. A cache directory will not do,
since it may be another user's, or part of a checkout.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import stat
import sys
import time

from contextlib import suppress
from functools import cache
from importlib.util import MAGIC_NUMBER
from importlib.util import cache_from_source
from types import CodeType
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.settings import settings_or_default


if TYPE_CHECKING:
    from collections.abc import Callable

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.compat.schemas import Compiled

KEPT_FOR = 30 * 24 * 3600
"""Seconds after which what was compiled is removed, when something else is kept."""

MOST = 32
"""Files at most: a few for each Python; more are no schemas of Poetry's."""

LARGEST = 1 << 22
"""Bytes; the largest has a twentieth of that."""

PREFIX = "safe-install-schema-"

FORMAT = 1
"""Part of the name: what is in another one is not looked at."""

MODE = 0o644
"""At most, whatever the umask: what others may write they may have Poetry run."""

DIGEST = hashlib.sha256().digest_size


def kept(
    command: StartingCommand, library: str, key: str, make: Callable[[], Compiled]
) -> Compiled | None:
    """What is kept under this key, made and kept if there is nothing yet.

    :param library: the directory of what has compiled it.
    :return: ``None`` where nothing can be kept.
    """
    if not settings_or_default(command).enabled:
        return None
    try:
        path = _place(library, key)
    except OSError:  # in an archive, for example
        return None
    found = _read(path, library)
    if found is None and not sys.dont_write_bytecode:
        found = make()
        _keep(path, found)
    return found


def _place(library: str, key: str) -> str:
    """Another one for another Python, whose byte code this is, and another library."""
    told = f"{FORMAT}\0{sys.version}\0{_sources(library)}\0{key}"
    name = hashlib.sha256(MAGIC_NUMBER + told.encode()).hexdigest()[:24]
    return cache_from_source(os.path.join(library, f"{PREFIX}{name}.py"))


@cache
def _sources(library: str) -> str:
    """By which its sources are known, as Python knows those of byte code."""
    with os.scandir(library) as entries:
        return repr(
            sorted(
                (entry.name, about.st_size, about.st_mtime_ns)
                for entry in entries
                if entry.name.endswith(".py") and (about := entry.stat())
            )
        )


def _read(path: str, library: str) -> Compiled | None:
    """``None`` where there is nothing that is whole, and that others could not write."""
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
            return None
        if not _is_trusted(about, library):
            return None
        with open(path, "rb") as file:
            data = file.read()
        body = memoryview(data)[DIGEST:]
        if hashlib.sha256(body).digest() != data[:DIGEST]:
            return None
        name, code = marshal.loads(body)
    except (OSError, EOFError, ValueError, TypeError):
        return None
    return (name, code) if isinstance(code, CodeType) else None


def _is_trusted(about: os.stat_result, library: str) -> bool:
    """Whether it is from somebody who can change Poetry, or whom everybody trusts."""
    if sys.platform == "win32":
        return True
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    return about.st_uid in (0, os.geteuid(), os.stat(library).st_uid)


def _keep(path: str, made: Compiled) -> None:
    """What cannot be written is no error: it was compiled all the same."""
    from pathlib import Path

    from poetry_plugin_safe_install.caches.files import write_whole

    body = marshal.dumps(made)
    with suppress(OSError):
        if _tidied(os.path.dirname(path)) < MOST:
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            write_whole(Path(path), hashlib.sha256(body).digest() + body, MODE)


def _tidied(directory: str) -> int:
    """How many are kept, once the old ones are gone."""
    before, count = time.time() - KEPT_FOR, 0
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                count += 1
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        os.unlink(entry.path)
                        count -= 1
    return count
