"""Which kind of lock holds where: the kernel's, or marker files.

The kernel's locks are best: they go with the process that holds them, however it dies.
But some filesystems do not offer them, and some keep them to one host. There a marker
file of filelock's serves, whose holder says by a heartbeat that it lives. Only
one command holds it, even where several would share the kernel's lock.
"""

from __future__ import annotations

import errno
import json
import os

from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.store import FILE_MODE


if TYPE_CHECKING:
    from pathlib import Path
    from typing import ClassVar

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
    {
        "9p",
        "fakeowner",
        "fuse.gcsfuse",
        "fuse.grpcfuse",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "prl_fs",
        "vboxsf",
        "virtiofs",
    }
)
"""Filesystem types that grant the same lock to every host (measured for sshfs).

FUSE (gcsfuse, rclone, s3fs): where a filesystem does not implement ``flock``, the kernel
locks on its own host (libfuse, ``fuse_operations.flock``; s3fs-fuse/s3fs-fuse#2137). prl_fs:
``prlfs_file_fops`` in prlfs/file.c of Parallels Tools has neither ``flock`` nor ``lock``, so
that the kernel locks on its own there too. vboxsf: the same in ``vboxsf_reg_fops`` of Linux. 9p: QEMU's
``v9fs_lock`` (hw/9pfs/9p.c) grants every lock. virtiofs: virtiofsd keeps locks to the guest unless started with
``--remote-locks`` (virtio-fs/virtiofsd, merge request 4). fakeowner, grpcfuse: Docker Desktop's view of the
host's files; two containers both get an exclusive lock (docker/for-mac#7004).
"""

LOCAL_OPTIONS = {
    "afs": ("flock=local",),
    "cifs": ("nobrl",),
    "lustre": ("localflock",),
    "nfs": ("nolock", "local_lock=flock", "local_lock=all"),
    "nfs4": ("nolock", "local_lock=flock", "local_lock=all"),
    "smb3": ("nobrl",),
}
"""Mount options that keep locks to one host, by type of filesystem.

afs: what brought its modes to Linux 5.2 (linux-fsdevel, 2019-05-07); cifs, smb3: mount.cifs(8); lustre:
mount.lustre(8); nfs: nfs(5).
"""

RECORD = "backend.json"


class Backend:
    """A kind of lock. No ``Enum``: every command would pay for making it."""

    NATIVE: ClassVar[Backend]
    SOFT: ClassVar[Backend]

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Backend.{self.value.upper()}"


Backend.NATIVE, Backend.SOFT = Backend("native"), Backend("soft")


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
        backend = Backend.SOFT if setting == "soft" else Backend.NATIVE
        return Choice(backend, "set by the user")
    if recorded == Backend.SOFT.value:
        return Choice(Backend.SOFT, "recorded in the project")
    if error in UNSUPPORTED:
        name = errno.errorcode.get(error, str(error))
        return Choice(Backend.SOFT, f"flock answers {name} here")
    if mount_type in KEPT_TO_ONE_HOST:
        return Choice(Backend.SOFT, f"{mount_type} keeps locks to one host")
    local = LOCAL_OPTIONS.get(mount_type, ())
    if not set(mount_options.split(",")).isdisjoint(local):
        return Choice(Backend.SOFT, f"this {mount_type} mount keeps locks to one host")
    return Choice(Backend.NATIVE, "the kernel's locks hold here")


def choose(
    directory: Path, recorded_in: Path | None, setting: str, error: int = 0
) -> Choice:
    """Decide for the locks in a directory.

    :param recorded_in: the directory where a choice of marker files is recorded, so that
        every host that shares it makes the same one; ``None`` where nothing is recorded.
    :param error: what ``flock`` answered when it was tried, if it failed.
    """
    if recorded_in is None or not recorded_in.is_dir():
        return decide(setting, "", *mount_of(directory), error)
    recorded = recorded_choice(recorded_in)
    choice = decide(setting, recorded, *mount_of(directory), error)
    if choice.backend is Backend.SOFT and recorded != Backend.SOFT.value:
        text = {"backend": choice.backend.value, "why": choice.why}
        with suppress(OSError):  # in a read-only directory each command decides
            _write(recorded_in / RECORD, json.dumps(text))
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


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
