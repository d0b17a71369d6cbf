"""A Poetry whose modules are loaded once, for the many commands of the tests.

To start Python and import Poetry is half of what a command costs, and loading it here
takes no longer than the first one would. Here each command is
a process of its own, forked from one that has imported Poetry and has done nothing with
it. The command itself loads this plugin and all others.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import threading

from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.laboratory import CACHE
from tests.laboratory.clones import is_as_made
from tests.laboratory.running import Running


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from collections.abc import Mapping
    from collections.abc import Sequence

    from typing_extensions import Self

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project
    from tests.laboratory.running import Process
    from tests.laboratory.running import Result

HERE = Path(__file__).parent
SERVER = HERE / "poetry_server.py"
COUNTING = str(HERE / "counting")
CHANGES = ("", str(HERE / "pauses"), str(HERE / "kills"), COUNTING)
"""What ``PYTHONPATH`` may be: the changes in there can be made after the import."""

AT_IMPORT = ("LANG", "LC_", "TZ", "LD_", "PYTHON")
"""How variables begin that are read when Python starts or Poetry is imported.

Those of its directories are read again: see ``poetry_server.locate``.
"""

CAN_FORK = hasattr(os, "pidfd_open")
HARMLESS = ("PYTHONPATH", "PYTHON_KEYRING_BACKEND")


class Preloaded:
    """Starts ``poetry …``; ``with`` ends its process."""

    def __init__(self, home: PoetryHome, environ: Mapping[str, str]) -> None:
        self._home = home
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [str(home.python), str(SERVER), str(theirs.fileno())],
                env={**environ, "PYTHONPATH": ""},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def end(self) -> None:
        self._orders.close()
        self._process.wait()

    def start(
        self,
        command: Sequence[str],
        *,
        stdout: int,
        cwd: Path,
        env: Mapping[str, str],
        stderr: int = subprocess.STDOUT,
        start_new_session: bool = False,
        namespace: int | None = None,
        **popen: object,
    ) -> Forked:
        """Start a command as ``subprocess.Popen`` does.

        :param namespace: descriptor of the mount namespace that it is to be in.
        """
        ours, theirs = os.pipe()
        error = stdout if stderr == subprocess.STDOUT else stderr
        order = {
            "command": list(command),
            "cwd": str(cwd),
            "env": dict(env),
            "new_session": start_new_session,
        }
        try:
            descriptors = [stdout, error, theirs]
            if namespace is not None:
                descriptors.append(namespace)
            socket.send_fds(self._orders, [json.dumps(order).encode()], descriptors)
        finally:
            os.close(theirs)
        return Forked(ours)

    def run(
        self, project: Project, *arguments: str, environ: Mapping[str, str]
    ) -> Result:
        """Run a command, and all that it starts, in a process group of its own."""
        return Running(
            [str(self._home.executable), "--no-ansi", *arguments],
            begin=self.start,
            cwd=project.path,
            env=environ,
            start_new_session=True,
        ).result()


class Forked:
    """A command that is no child of this process but of its server, which tells of it."""

    def __init__(self, answer: int) -> None:
        self._answer = answer
        self._said = b""
        self._code: int | None = None
        self._read(1)
        self.pid = int(self._said.split(b"\n")[0])

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self._code is None:
            if not select.select([self._answer], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("poetry", timeout or 0)
            self._read(2)
            self._code = int(self._said.split(b"\n")[1])
            os.close(self._answer)
        return self._code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read(self, lines: int) -> None:
        while self._said.count(b"\n") < lines:
            said = os.read(self._answer, 100)
            assert said, "the server of this Poetry has ended"
            self._said += said


Key = tuple["PoetryHome", frozenset[tuple[str, str]]]

STARTED: dict[Key, Preloaded] = {}
FIXED: set[PoetryHome] = set()
"""Clones whose Poetry is changed no more, as that of the homes that all tests share."""
ONE_AT_A_TIME = threading.Lock()


@contextmanager
def fixed(home: PoetryHome) -> Iterator[PoetryHome]:
    """A clone whose commands may be forked: what its Poetry imports stays as it is."""
    FIXED.add(home)
    try:
        yield home
    finally:
        FIXED.discard(home)
        for key in [key for key in STARTED if key[0] == home]:
            STARTED.pop(key).end()


def begin(home: PoetryHome, environ: Mapping[str, str]) -> Callable[..., Process]:
    """How to start a command of this Poetry: as ``subprocess.Popen``, or faster.

    Executed is what differs in how Python or Poetry are loaded, and each Poetry that a
    test has for itself: it may be changed, unless it is among those that are fixed, or
    is a borrowed one that so far was not.
    """
    if not can_be_forked(home, environ):
        return subprocess.Popen
    return _of_all_tests(_key(home, environ), environ).start


def shared(home: PoetryHome, environ: Mapping[str, str]) -> Preloaded:
    """The process that all tests of this one have in common."""
    assert can_be_forked(home, environ)
    return _of_all_tests(_key(home, environ), environ)


def _of_all_tests(key: Key, environ: Mapping[str, str]) -> Preloaded:
    with ONE_AT_A_TIME:
        if key not in STARTED:
            STARTED[key] = Preloaded(key[0], environ)
            atexit.register(STARTED[key].end)
        return STARTED[key]


def _key(home: PoetryHome, environ: Mapping[str, str]) -> Key:
    read = {
        name: value
        for name, value in environ.items()
        if name.startswith(AT_IMPORT) and name != "PYTHONPATH"
    }
    return home, frozenset(read.items())


def can_be_forked(home: PoetryHome, environ: Mapping[str, str]) -> bool:
    python = {name for name in environ if name.startswith("PYTHON")}
    constants = environ.get("CONSTANTS", "").split()
    return (
        CAN_FORK
        and (home.path.parent == CACHE / "poetry" or home in FIXED or is_as_made(home))
        and environ.get("PYTHONPATH", "") in CHANGES
        and python <= set(HARMLESS)
        and not environ.get("RENAME")
        and all(constant.startswith("poetry_plugin_") for constant in constants)
    )
