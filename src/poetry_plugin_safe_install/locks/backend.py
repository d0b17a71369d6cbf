"""Which kind of lock holds where: the kernel's, or marker files.

The kernel's locks are best: they go with the process that holds them, however it dies.
But some filesystems do not offer them, and some keep them to one host. There a marker
file of filelock's serves, whose holder says by a heartbeat that it lives. Everybody holds
it alone, also who would share the kernel's lock.
"""

from __future__ import annotations

import errno
import json
import os
import time

from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.store import FILE_MODE


if TYPE_CHECKING:
    from pathlib import Path

UNSUPPORTED = frozenset(
    {
        errno.ENOSYS,
        errno.ENOLCK,
        errno.EOPNOTSUPP,
        getattr(errno, "ENOTSUP", errno.EOPNOTSUPP),
        524,  # ENOTSUPP of the Linux kernel, which NFS servers let through
        errno.EBADF,
    }
)
"""What ``flock`` answers where it cannot lock at all."""

KEPT_TO_ONE_HOST = frozenset(
    {"fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "9p", "vboxsf"}
)
"""Filesystem types that grant the same lock to every host (measured for sshfs)."""

HEARTBEAT = 10.0
"""Seconds between two signs of life of a soft lock's holder."""

STALE_AFTER = 60.0
"""Seconds without a sign of life after which a soft lock's holder counts as dead.

sshfs shows the signs up to 20 s late, NFS up to 60 s where a file is not opened anew. All
hosts have to agree: filelock refuses a marker that was made with another number.
"""

RECORD = "backend.json"


class Backend(Enum):
    NATIVE = "native"
    SOFT = "soft"


class Choice:
    def __init__(self, backend: Backend, why: str) -> None:
        self.backend = backend
        self.why = why


def decide(
    setting: str,
    recorded: str = "",
    mount_type: str = "",
    mount_options: str = "",
    error: int = 0,
) -> Choice:
    """Which locks to use. Once soft, always soft: another host may see no reason.

    :param setting: ``auto``, ``native`` or ``soft``.
    :param recorded: what was chosen there before, by whatever host.
    :param error: what ``flock`` answered there, 0 if it did not fail.
    """
    if setting != "auto":
        return Choice(Backend(setting), "set by the user")
    if recorded == Backend.SOFT.value:
        return Choice(Backend.SOFT, "recorded in the project")
    if error in UNSUPPORTED:
        name = errno.errorcode.get(error, str(error))
        return Choice(Backend.SOFT, f"flock answers {name} here")
    if mount_type in KEPT_TO_ONE_HOST:
        return Choice(Backend.SOFT, f"{mount_type} keeps locks to one host")
    if mount_type.startswith("nfs") and any(
        option in ("nolock", "local_lock=flock", "local_lock=all")
        for option in mount_options.split(",")
    ):
        return Choice(Backend.SOFT, "this NFS mount keeps locks to one host")
    return Choice(Backend.NATIVE, "the kernel's locks hold here")


def choose(directory: Path, setting: str, error: int = 0) -> Choice:
    """Decide for a store, and record it so that every host that shares it does alike.

    :param error: what ``flock`` answered when it was tried, if it failed.
    :raises LockUnavailableError: if this filelock cannot do what was recorded.
    """
    recorded = recorded_choice(directory)
    choice = decide(setting, recorded, *mount_of(directory), error)
    if choice.backend.value != recorded:
        text = {"backend": choice.backend.value, "why": choice.why}
        with suppress(OSError):  # a directory that cannot be written decides each time
            _write(directory / RECORD, json.dumps(text))
    return choice


def recorded_choice(directory: Path) -> str:
    try:
        text = (directory / RECORD).read_text(encoding="utf-8")
        backend = json.loads(text)["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return str(backend)


def mount_of(directory: Path) -> tuple[str, str]:
    """The type and options of the filesystem that holds a directory (Linux only)."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            lines = file.readlines()
    except OSError:
        return "", ""
    place = os.path.realpath(directory)
    best, found = -1, ("", "")
    for line in lines:
        fields, _, tail = line.partition(" - ")
        mount_point = fields.split(" ")[4].replace("\\040", " ")
        inside = (place + "/").startswith(mount_point.rstrip("/") + "/")
        if inside and len(mount_point) >= best:
            kind, _, options = tail.split(" ", 2)
            best = len(mount_point)
            found = (kind, ",".join((fields.split(" ")[5], options.strip())))
    return found


def soft_lock(path: Path) -> Any:
    """filelock's marker file with a heartbeat; there is no sharing it.

    Its reader/writer lock would allow that, but rests on hard links, and those of sshfs
    do not show that they are links: it never gets the lock there (filelock 4.2).

    :raises LockUnavailableError: if this filelock is too old.
    """
    import filelock

    lock_class = getattr(filelock, "SoftFileLease", None)
    if lock_class is None:
        raise LockUnavailableError(
            f"Locks between hosts need filelock 3.30 or newer, but Poetry's environment"
            f" holds {filelock.__version__}: `poetry self add filelock@latest`."
        )
    return lock_class(
        soft_path(path),
        lease_duration=STALE_AFTER,
        heartbeat_interval=HEARTBEAT,
        thread_local=False,
    )


class SoftHolder:
    """The holder of a soft lock, as one who waits for it sees it.

    filelock takes over the marker of a holder that gives no sign of life, but only where
    two names can be exchanged in one step, and hardly any network filesystem does that
    (``break_lock_file`` of filelock 4.2). Elsewhere it leaves breaking to those who wait.
    """

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._sign: tuple[bytes, int] | None = None
        self._since = 0.0

    def break_if_dead(self) -> None:
        """Break the lock if its holder was silent for ``STALE_AFTER``; to be asked often."""
        sign = self._last_sign()
        now = time.monotonic()
        if sign != self._sign:
            self._sign, self._since = sign, now
        elif sign and now - self._since >= STALE_AFTER:
            self._break(sign)

    def _last_sign(self) -> tuple[bytes, int] | None:
        """What the next holder changes, and every heartbeat; ``None`` without a holder."""
        try:
            with open(self._lock.lock_file, "rb") as file:  # NFS asks its server then
                return file.read(), os.fstat(file.fileno()).st_mtime_ns
        except OSError:
            return None

    def _break(self, sign: tuple[bytes, int]) -> None:
        """One waiter alone, lest another breaks what the first one then has."""
        from filelock import SoftFileLock
        from filelock import Timeout

        alone = SoftFileLock(f"{self._lock.lock_file}.break", blocking=False)
        with suppress(OSError, Timeout), alone:
            if self._last_sign() == sign:
                self._lock.force_break()


def soft_path(path: Path) -> Path:
    """The marker file that stands for a lock file."""
    return path.with_name(f"{path.name}.soft")


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
