"""A ``poetry`` for scripts of users': its commands are begun as those of all tests are.

So that they, too, need not load Poetry, each for itself. A signal is not passed on.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.laboratory.poetry_client import NAMESPACE
from tests.laboratory.poetry_server import LONGEST
from tests.laboratory.preloaded import begin


if TYPE_CHECKING:
    from tests.laboratory.poetries import PoetryHome

CLIENT = Path(__file__).with_name("poetry_client.py")


@cache
def on_path(home: PoetryHome) -> Path:
    """A directory that has nothing but ``poetry``."""
    directory = Path(tempfile.mkdtemp(prefix="on-path-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    place = tempfile.mkdtemp(prefix="listening-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(f"{place}/socket")
    listening.listen()
    script = directory / "poetry"
    script.write_text(
        f"#!{home.python} -IS\n{CLIENT.read_text(encoding='utf-8')}\n\n"
        f"main({f'{place}/socket'!r}, {str(home.executable)!r})\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    threading.Thread(target=_serve, args=(home, listening), daemon=True).start()
    return directory


def is_elsewhere(namespace: str | None) -> bool:
    """Whether other file systems are mounted there than here."""
    return namespace not in (None, os.readlink(NAMESPACE))


def _serve(home: PoetryHome, listening: socket.socket) -> None:
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=_run, args=(home, connection), daemon=True).start()


def _run(home: PoetryHome, connection: socket.socket) -> None:
    """Say how a command ended; nothing if it is to be executed."""
    with connection:
        said, descriptors, _, _ = socket.recv_fds(connection, LONGEST, 3)
        try:
            order = json.loads(said)
            start = begin(home, order["env"])
            elsewhere = is_elsewhere(order.get("namespace"))
            if start is subprocess.Popen or (elsewhere and os.geteuid() != 0):
                return
            out, error, *namespace = descriptors
            command = start(
                order["command"],
                stdout=out,
                stderr=error,
                cwd=Path(order["cwd"]),
                env=order["env"],
                **({"namespace": namespace[0]} if elsewhere else {}),
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        connection.sendall(b"%d" % command.wait())
