"""``flock``: the kernel's lock on a file, shared or exclusive, tried without waiting."""

from __future__ import annotations

import errno
import os
import sys

from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.store import FILE_MODE
from poetry_plugin_safe_install.store import let_read
from poetry_plugin_safe_install.store import make_directory


if TYPE_CHECKING:
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    HAS_FLOCK = False
else:
    HAS_FLOCK = True

NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)


class Flock:
    """An open file that is locked until it is closed."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._path = path

    def release(self) -> None:
        os.close(self._fd)

    def share(self) -> bool:
        """Let others share what was exclusive; nobody else gets it in between.

        Linux converts a lock in one step since 4.0 (``flock_lock_inode``). Others release
        it first, and an NFS client asks its server.

        :return: whether it is shared now; otherwise it is as it was.
        """
        if sys.platform != "linux":
            return False
        with suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        return False

    def release_and_remove(self) -> None:
        """The last one to release it removes the file."""
        with suppress(OSError):
            if sys.platform != "win32":
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._path.unlink()
        os.close(self._fd)


def try_flock(path: Path, *, shared: bool) -> Flock | None:
    """Lock a file that is created if it does not exist.

    :return: ``None`` if somebody else has the lock.
    :raises OSError: if the file cannot be opened or locked.
    """
    fd, _ = open_lock_file(path)
    return Flock(fd, path) if lock_descriptor(fd, shared=shared) else None


def is_flocked(path: Path) -> bool:
    """Whether somebody has the exclusive lock. Creates nothing, and only reads.

    Where the file cannot be opened or locked nobody can be asked, and it is not.
    """
    try:
        fd = os.open(path, os.O_RDONLY | NO_FOLLOW)
    except OSError:
        return False
    try:
        if lock_descriptor(fd, shared=True):
            os.close(fd)
            return False
        return os.path.exists(path)
    except OSError:
        return False


def lock_descriptor(fd: int, *, shared: bool) -> bool:
    """Lock an open file; it is closed unless it is locked afterwards.

    :return: whether it is locked: not if somebody else has the lock, nor if the file was
        removed after it was opened, because then the lock guards nothing.
    :raises OSError: if it cannot be locked at all.
    """
    if sys.platform == "win32":  # for mypy: there is no fcntl
        raise NotImplementedError
    try:
        operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
        locked = os.fstat(fd).st_nlink > 0
    except BlockingIOError:
        locked = False
    except BaseException:
        os.close(fd)
        raise
    if not locked:
        os.close(fd)
    return locked


def lock_own_file(fd: int) -> bool:
    """Lock a file that nobody else locks for longer than a look at it."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def is_locked(path: Path) -> bool | None:
    """Whether somebody has this file locked; ``None`` where that cannot be told.

    :raises OSError: if the file cannot be read.
    """
    if sys.platform == "win32":
        return None
    fd = os.open(path, os.O_RDONLY | NO_FOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(fd)
    return False


def _open_or_create(path: Path) -> int:
    flags = os.O_RDWR | NO_FOLLOW
    with suppress(FileNotFoundError):
        return os.open(path, flags)
    make_directory(path.parent)
    fd = os.open(path, flags | os.O_CREAT, FILE_MODE)
    let_read(path)
    return fd


def open_lock_file(path: Path) -> tuple[int, bool]:
    """A descriptor of the lock file, which is created if need be; whether it can write.

    NFS turns ``flock`` into a byte-range lock and wants a descriptor that can write; a
    local file that belongs to another user can be locked without.
    """
    try:
        return _open_or_create(path), True
    except OSError as error:
        if not HAS_FLOCK or error.errno not in NOT_WRITABLE:
            raise
        return os.open(path, os.O_RDONLY | NO_FOLLOW), False
