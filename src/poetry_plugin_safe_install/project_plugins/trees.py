"""Files of a plugin set in a second place: one content on the disk wherever possible.

A clone (reflink) shares what the disk holds and nothing else. A hard link shares owner,
mode and times too, so that it serves only where these are what a new file would have, and
only for files that nobody writes into. Elsewhere the file is copied.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys

from contextlib import suppress
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    HAS_CLONES = False
else:
    HAS_CLONES = sys.platform == "linux"

FICLONE = 0x40049409
"""``ioctl_ficlone(2)``: btrfs, xfs, bcachefs, overlayfs over one of them."""

READ_ONLY = 0o444
EXECUTABLE = 0o111
CHUNK = 1 << 16

KEEPS_MODES = os.name != "nt"
"""Windows neither removes a read-only file nor has owners to compare."""


class DamagedError(Exception):
    """A file is not what it was."""


class File:
    """A file of a tree, as it was when the tree was complete."""

    def __init__(self, path: str, size: int, digest: str, executable: bool) -> None:
        """
        :param path: relative, with slashes.
        :param digest: SHA-256, in hexadecimal digits.
        """
        self.path = path
        self.size = size
        self.digest = digest
        self.executable = executable

    @property
    def row(self) -> list[str | int | bool]:
        return [self.path, self.size, self.digest, self.executable]


def make_read_only(tree: Path) -> None:
    """Have nobody write into these files by mistake; they can still be removed."""
    if KEEPS_MODES:
        for path in _files_of(tree):
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)


def files_in(tree: Path, besides: str) -> list[File]:
    """
    :param besides: a file at the top that is left out.
    :raises DamagedError: for what is neither a file nor a directory.
    """
    found = []
    for path in _files_of(tree):
        name = path.relative_to(tree).as_posix()
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode):
            raise DamagedError(str(path))
        if name != besides:
            executable = bool(about.st_mode & EXECUTABLE)
            found.append(File(name, about.st_size, digest_of(path), executable))
    return found


def _files_of(tree: Path) -> Iterator[Path]:
    for path in sorted(tree.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            yield path


def digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def check_file(tree: Path, file: File, *, thoroughly: bool) -> os.stat_result:
    """Look at a file that is going to be used: at its size, and at who may write it.

    :param thoroughly: look at its content too.
    :raises DamagedError: if it is not what it was, or is another user's.
    """
    path = tree / file.path
    try:
        about = path.lstat()
        is_it = stat.S_ISREG(about.st_mode) and about.st_size == file.size
        if is_it and thoroughly:
            is_it = digest_of(path) == file.digest
    except OSError as error:
        raise DamagedError(str(error)) from error
    if not is_it:
        raise DamagedError(f"{path} is not what it was")
    if not is_own(about):
        raise DamagedError(f"{path} is not this user's alone")
    return about


def is_own(about: os.stat_result) -> bool:
    """Whether it is this user's, and not everybody may write it."""
    if sys.platform == "win32":
        return True
    return about.st_uid == os.geteuid() and not about.st_mode & stat.S_IWOTH


class SecondPlace:
    """A directory that files of another tree are put into."""

    def __init__(self, tree: Path, like: Path) -> None:
        """
        :param like: a file in it that was made just now, read-only: all are to have its
            owner and its mode.
        """
        self._tree = tree
        self._like = like.lstat()
        self._clones = HAS_CLONES
        self._directories = {tree}

    def put(self, source: Path, file: File, about: os.stat_result) -> None:
        """
        :param about: the source.
        :raises OSError: if that is not possible.
        """
        target = self._tree / file.path
        self._make_directory(target.parent)
        mode = self._mode(file)
        if self._clones and not self._clone(source, target, mode, about):
            self._clones = False
        elif self._clones:
            return
        if KEEPS_MODES and self._is_alike(about, mode):
            with suppress(OSError):  # too many links, or none on this file system
                os.link(source, target)
                return
        self._copy(source, target, mode, about)

    def _make_directory(self, directory: Path) -> None:
        if directory not in self._directories:
            self._make_directory(directory.parent)
            directory.mkdir(0o775, exist_ok=True)
            self._directories.add(directory)

    def _mode(self, file: File) -> int:
        mode = stat.S_IMODE(self._like.st_mode)
        return mode | (mode & READ_ONLY) >> 2 if file.executable else mode

    def _is_alike(self, about: os.stat_result, mode: int) -> bool:
        """Whether a link cannot be told from a new file."""
        like = self._like
        return (
            about.st_dev,
            about.st_uid,
            about.st_gid,
            stat.S_IMODE(about.st_mode),
        ) == (
            like.st_dev,
            like.st_uid,
            like.st_gid,
            mode,
        )

    def _clone(
        self, source: Path, target: Path, mode: int, about: os.stat_result
    ) -> bool:
        with source.open("rb") as read, target.open("xb") as written:
            try:
                if sys.platform != "win32":
                    fcntl.ioctl(written.fileno(), FICLONE, read.fileno())
            except OSError:
                target.unlink()
                return False
        _finish(target, mode, about)
        return True

    @staticmethod
    def _copy(source: Path, target: Path, mode: int, about: os.stat_result) -> None:
        with source.open("rb") as read, target.open("xb") as written:
            while chunk := read.read(CHUNK):
                written.write(chunk)
        _finish(target, mode, about)


def _finish(target: Path, mode: int, about: os.stat_result) -> None:
    """Byte code is good for a source of one size and time."""
    os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))
    if KEEPS_MODES:
        target.chmod(mode)
