"""Files of a cache that other processes read and replace at the same time."""

from __future__ import annotations

import os
import shutil
import uuid

from contextlib import contextmanager
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.private_files import private_in
from poetry_plugin_safe_install.private_files import remove
from poetry_plugin_safe_install.private_files import remove_abandoned


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ATTEMPTS = 10
"""How often to start again where others fill the directory that is being removed."""


def write_private(
    path: Path, data: bytes | memoryview, mode: int | None = None
) -> Path:
    """Write what is going to be renamed to ``path``, and return where it is.

    Missing directories are made. What killed processes have left beside it is removed.

    :param mode: of the file and, with the right to search, of new directories; ``None``
        for what the user's umask says.
    :raises OSError: if it cannot be written; then nothing is left.
    """
    private = private_in(path.parent)
    file_mode = 0o666 if mode is None else mode
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        fd = os.open(private, flags, file_mode)
    except FileNotFoundError:
        directory_mode = 0o777 if mode is None else mode | 0o100
        os.makedirs(path.parent, directory_mode, exist_ok=True)
        fd = os.open(private, flags, file_mode)
    else:
        remove_abandoned(private)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
    except BaseException:
        remove(private)
        raise
    return private


def write_whole(path: Path, data: bytes | memoryview, mode: int | None = None) -> None:
    """Write a file so that readers see the old one or the new one.

    :param mode: as for ``write_private``.
    :raises OSError: if it cannot be written; then the old file is untouched.
    """
    private = write_private(path, data, mode)
    try:
        os.replace(private, path)
    except BaseException:
        remove(private)
        raise


def remove_tree(path: Path, trash: Path) -> None:
    """Remove a directory that others write into: they see all of it or nothing.

    :param trash: a directory on the same device, for what is being removed.
    :raises OSError: if something cannot be removed.
    """
    try:
        trash.mkdir(parents=True, exist_ok=True)
        path.rename(trash / uuid.uuid4().hex)
    except OSError:  # on another device; or on Windows, where somebody reads in it
        _remove_busy_tree(path)
    _empty(trash)


def _empty(trash: Path) -> None:
    for leftover in trash.glob("*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _remove_busy_tree(path: Path) -> None:
    for _ in range(ATTEMPTS):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
    shutil.rmtree(path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write what replaces ``path`` when all went well."""
    private = private_in(path.parent)
    try:
        yield private
        os.replace(private, path)
    except BaseException:
        remove(private)
        raise
