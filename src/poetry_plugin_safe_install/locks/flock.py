"""``flock``: the kernel's lock on a file, shared or exclusive, tried without waiting."""

from __future__ import annotations

import errno
import os
import sys

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.store import FILE_MODE
from poetry_plugin_safe_install.store import make_directory


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    HAS_FLOCK = False
else:
    HAS_FLOCK = True

NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)


def try_flock(path: Path, *, shared: bool) -> Callable[[], None] | None:
    """Lock a file that is created if it does not exist.

    :return: what releases the lock; ``None`` if somebody else has it.
    :raises OSError: if the file cannot be opened or locked.
    """
    fd, _ = open_lock_file(path)
    if lock_descriptor(fd, shared=shared):
        return lambda: os.close(fd)
    return None


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


def open_lock_file(path: Path) -> tuple[int, bool]:
    """A descriptor of the lock file, which is created if need be; whether it can write.

    NFS turns ``flock`` into a byte-range lock and wants a descriptor that can write; a
    local file that belongs to another user can be locked without.
    """
    flags = os.O_RDWR | os.O_CREAT | NO_FOLLOW
    try:
        return os.open(path, flags, FILE_MODE), True
    except FileNotFoundError:
        make_directory(path.parent)
        return os.open(path, flags, FILE_MODE), True
    except OSError as error:
        if not HAS_FLOCK or error.errno not in NOT_WRITABLE:
            raise
        return os.open(path, os.O_RDONLY | NO_FOLLOW), False
