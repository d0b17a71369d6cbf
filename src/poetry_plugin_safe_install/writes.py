"""Files that Poetry writes: a killed command leaves the old one or the new one.

Poetry empties a file and then writes it. Here it writes a copy beside the file, which
is renamed when it is whole. Mode, owner, extended attributes and symbolic links stay.
Where that cannot be done the file is written as Poetry writes it.
"""

from __future__ import annotations

import hashlib
import os
import shutil

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.command_events import Protection
from poetry_plugin_safe_install.compat.files import FILES
from poetry_plugin_safe_install.private_files import private_in
from poetry_plugin_safe_install.private_files import remove
from poetry_plugin_safe_install.private_files import remove_abandoned
from poetry_plugin_safe_install.settings import settings_or_default


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.compat.files import Files


def protect_files(
    command: StartingCommand, protection: Protection | None, *, creates: bool = False
) -> Protection | None:
    """Have files written whole until the command ends, unless the user objects.

    :param protection: that of the command's project, if it has one.
    :param creates: whether the command makes a new project.
    :return: what protects the command.
    """
    if protection is None and not settings_or_default(command).enabled:
        return None
    files: Files = (protection and protection.files) or WholeFiles()
    if creates:
        from poetry_plugin_safe_install.new_projects import NewProject

        files = NewProject(files)
    command.patch(FILES, files)
    return protection or Protection()


class WholeFiles:
    """How a command writes files that it has for itself."""

    def reading(self, path: Path, read: Callable[[], Any]) -> Any:
        return read()

    def replacing(
        self, path: Path, document: Any = None
    ) -> AbstractContextManager[Path]:
        return replacing(path)


@contextmanager
def replacing(path: Path, check: Callable[[], object] = bool) -> Iterator[Path]:
    """Yield where to write what is going to be the content of a file.

    A copy of the file is there already, if there is a file.

    :param check: called before the file is touched; it stays as it is if this raises.
    """
    target = Path(os.path.realpath(path))
    private = _copy(target)
    if private is None:
        check()
        yield path
        return
    try:
        yield private
        check()
        _put_in_place(private, target)
    finally:
        remove(private)


def _copy(target: Path) -> Path | None:
    """What takes the place of the file later; ``None`` if nothing can."""
    private = private_in(target.parent)
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
        remove(private)
        return None
    remove_abandoned(private)
    return private


def digest(path: Path) -> str:
    """By which a content is known again; empty if there is none."""
    try:
        return digest_of(path.read_bytes())
    except OSError:
        return ""


def digest_of(content: bytes) -> str:
    """By which a content that has been read is known again."""
    return hashlib.sha256(content).hexdigest()


def _put_in_place(private: Path, target: Path) -> None:
    try:
        os.replace(private, target)
    except OSError:  # a mount point, or a file that is open on Windows
        shutil.copyfile(private, target)
