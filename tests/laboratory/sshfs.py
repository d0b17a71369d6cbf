"""One folder, mounted twice over ssh: as two hosts see it."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time

from pathlib import Path
from typing import TYPE_CHECKING

import pytest


if TYPE_CHECKING:
    from collections.abc import Iterator


def require_sshfs() -> None:
    if not shutil.which("sshfs") or not _sshd():
        pytest.skip("needs sshfs and an ssh server: install sshfs openssh-server")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs /dev/fuse")


@contextlib.contextmanager
def two_hosts(folder: Path, base: Path) -> Iterator[tuple[Path, Path]]:
    """Two mount points that show the folder, each through a connection of its own."""
    base.mkdir(mode=0o700)
    for key in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(base / key)]
        subprocess.run(command, check=True)
    shutil.copy(base / "user.pub", base / "authorized")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (base / "sshd.conf").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {base}/host\n"
        f"AuthorizedKeysFile {base}/authorized\nPidFile {base}/pid\n"
        "StrictModes no\nPermitRootLogin yes\nUsePAM no\n"
        "Subsystem sftp internal-sftp\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen(
        [_sshd(), "-D", "-e", "-f", base / "sshd.conf"], stderr=subprocess.DEVNULL
    )
    mounts = (base / "first", base / "second")
    try:
        _wait_for(port)
        for mount in mounts:
            mount.mkdir()
            _mount(folder, mount, port, base)
        yield mounts
    finally:
        for mount in mounts:
            subprocess.run(
                ["fusermount", "-uz", mount], check=False, stderr=subprocess.DEVNULL
            )
        server.terminate()
        server.wait()


def _mount(folder: Path, mount: Path, port: int, base: Path) -> None:
    options = {
        "port": port,
        "IdentityFile": base / "user",
        "UserKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "no",
        "cache": "no",
        "dcache_timeout": 0,
    }
    command = ["sshfs", f"{getpass.getuser()}@127.0.0.1:{folder}", str(mount)]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def _wait_for(port: int) -> None:
    for _ in range(200):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port)),
        ):
            return
        time.sleep(0.05)
    raise RuntimeError("the ssh server did not start")


def _sshd() -> str:
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""
