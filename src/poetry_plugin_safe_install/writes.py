"""Files that Poetry writes: a killed command leaves the old one or the new one.

Poetry empties a file and then writes it. Here it writes a copy beside the file, which
is renamed when it is whole. Mode, owner, extended attributes and symbolic links stay.
Where that cannot be done the file is written as Poetry writes it.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid

from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.activation import Protection
from poetry_plugin_safe_install.compat.files import FILES
from poetry_plugin_safe_install.settings import settings_or_default


if TYPE_CHECKING:
    from collections.abc import Iterator

    from poetry_plugin_safe_install.compat.command_line import StartingCommand

PRIVATE = ".poetry-safe-install-"
"""How files are called that are not whole yet."""

ABANDONED_AFTER = 3600.0
"""Seconds after which such a file counts as left behind by a killed command."""


def protect_files(
    command: StartingCommand, protection: Protection | None
) -> Protection | None:
    """Have files written whole until the command ends, unless the user objects.

    :param protection: that of the command's project, if it has one.
    :return: what protects the command.
    """
    if protection is None and not settings_or_default(command).enabled:
        return None
    command.patch(FILES, replacing)
    return protection or Protection()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write what is going to be the content of a file.

    A copy of the file is there already, if there is a file.
    """
    target = Path(os.path.realpath(path))
    private = _copy(target)
    if private is None:
        yield path
        return
    try:
        yield private
        _put_in_place(private, target)
    finally:
        _remove(private)


def _copy(target: Path) -> Path | None:
    """What takes the place of the file later; ``None`` if nothing can."""
    private = target.with_name(f"{PRIVATE}{uuid.uuid4().hex}")
    try:
        about = os.stat(target)
    except FileNotFoundError:
        return private if os.access(target.parent, os.W_OK | os.X_OK) else None
    except OSError:
        return None
    if about.st_nlink > 1 or not os.access(target, os.W_OK):
        return None  # the other links would keep the old content; or Poetry says why
    try:
        shutil.copy2(target, private)
        copied = os.stat(private)
        if (copied.st_uid, copied.st_gid) != (about.st_uid, about.st_gid):
            os.chown(private, about.st_uid, about.st_gid)
            os.chmod(private, about.st_mode & 0o7777)
    except OSError:
        _remove(private)
        return None
    _remove_abandoned(target.parent)
    return private


def _put_in_place(private: Path, target: Path) -> None:
    try:
        os.replace(private, target)
    except OSError:  # a mount point, or a file that is open on Windows
        shutil.copyfile(private, target)


def _remove(private: Path) -> None:
    with suppress(OSError):
        private.unlink()


def _remove_abandoned(directory: Path) -> None:
    before = time.time() - ABANDONED_AFTER
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(PRIVATE) and entry.stat().st_ctime < before:
                _remove(Path(entry.path))
