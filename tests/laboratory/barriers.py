"""Places where a process of a test stops until the test lets it go on.

The process connects to a socket of the test, so the test knows for certain that it has
come there, and it goes on when the test answers, so nothing depends on time. After the
way of cargo's ``tests/testsuite/concurrent.rs``.
"""

from __future__ import annotations

import socket

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from typing_extensions import Self

TIMEOUT = 120.0
"""Seconds after which a process that does not come counts as a deadlock."""

MEET = """\
def meet(name):
    import os, socket
    address = os.environ.get("BARRIER_" + name.upper().replace("-", "_"))
    if not address:
        return
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), 120) as connection:
        connection.settimeout(None)
        connection.sendall(b"%d\\n" % os.getpid())
        connection.recv(1)
"""
"""Source text for a process of a test: ``meet("name")`` waits at that barrier."""


class Arrival:
    """A process that waits at a barrier."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(TIMEOUT)
        self.pid = int(connection.makefile("rb").readline())

    def let_go(self) -> None:
        self._connection.sendall(b"g")
        self._connection.close()


class Barrier:
    """One place to wait at."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._server.settimeout(TIMEOUT)
        self._arrivals: list[Arrival] = []  # else they would be closed, and so let go

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.close()

    @property
    def environment(self) -> dict[str, str]:
        """What leads a process to this barrier; without it ``meet`` does nothing."""
        port = self._server.getsockname()[1]
        variable = "BARRIER_" + self._name.upper().replace("-", "_")
        return {variable: f"127.0.0.1:{port}"}

    def arrival(self) -> Arrival:
        """The next process to come; waits for it."""
        connection, _ = self._server.accept()
        self._arrivals.append(Arrival(connection))
        return self._arrivals[-1]
