"""Keyring and configuration: the same reads by the same threads, with us and without."""

from __future__ import annotations

import base64
import json
import re
import shutil

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.environments import make_venv
from tests.laboratory.index import LocalIndex
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

INSTALL = ("install", "--no-root")
THREADS = 4
"""Of one install; each downloads one package."""

NAMES = tuple(f"private{number}" for number in range(THREADS))

BACKEND = f"""\
import json, os, threading
from keyring.backend import KeyringBackend

together = threading.Barrier({THREADS})
asked = threading.local()

def record(what, *names):
    with open(os.environ["KEYRING_RECORD"], "a") as file:
        file.write(json.dumps([what, *names]) + "\\n")

class Keyring(KeyringBackend):
    priority = 99

    def get_password(self, service, username):
        in_thread = threading.current_thread() is not threading.main_thread()
        # Whether a thread asks again depends on what another one has learnt meanwhile.
        if not hasattr(asked, "once"):
            record("thread" if in_thread else "main", service, username)
            if in_thread and service != "python-poetry-check":
                asked.once = True
                together.wait(60)  # all threads are here, or this raises
        return "secret" if service == "poetry-repository-local" else None

    def set_password(self, service, username, password):
        record("set", service, username)

    def delete_password(self, service, username):
        record("delete", service, username)
"""

WATCH = """\
import os, sys

def hook(event, args):
    below = os.environ.get("POETRY_CONFIG_DIR", "-")
    if event == "open" and isinstance(args[0], str) and args[0].startswith(below):
        with open(os.environ["KEYRING_RECORD"], "a") as file:
            file.write('["open", "%s", "%s"]\\n' % (os.path.basename(args[0]), args[1]))

if "KEYRING_RECORD" in os.environ:
    sys.addaudithook(hook)
"""
"""In every process of Poetry: which files of the configuration are opened."""

COUNTING = Distribution(
    "counting-keyring",
    "1.0",
    {
        "counting_keyring.py": BACKEND,
        "counting_watch.py": WATCH,
        "counting_watch.pth": "import counting_watch\n",
    },
)


class PasswordLostError(Exception):
    """An index has refused a request that somebody with the password has sent."""


class PrivateIndex(LocalIndex):
    """Answers only those who know the password."""

    def __init__(self, *folders: Path) -> None:
        super().__init__(*folders)
        token = base64.b64encode(b"user:secret").decode()
        handler = self._server.RequestHandlerClass

        class Private(handler):  # type: ignore[misc,valid-type]
            def do_GET(self: BaseHTTPRequestHandler) -> None:  # noqa: N802
                if self.headers.get("Authorization") == f"Basic {token}":
                    super().do_GET()  # type: ignore[misc]
                    return
                self.send_response(401)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self._server.RequestHandlerClass = Private


@pytest.fixture
def index(own_folder: Path) -> Iterator[LocalIndex]:
    for name in NAMES:
        Distribution(name, "1.0", {f"{name}.py": ""}).wheel(own_folder)
    with PrivateIndex(own_folder, WHEELS, STAND_INS) as index:
        yield index


@dataclass(frozen=True)
class Told:
    """What a command did, without what differs from one run to the next."""

    reads: list[list[str]]
    out: list[str]


class User:
    """One Poetry with the backend in it, and the configuration of its user."""

    def __init__(self, home: PoetryHome, project: Project, base: Path) -> None:
        self._home = home
        self._project = project
        self._base = base
        config = base / "config"
        config.mkdir(parents=True)
        (config / "config.toml").write_text(
            f"[installer]\nmax-workers = {THREADS}\n[virtualenvs]\nprompt = 'private'\n"
        )
        (config / "auth.toml").write_text('[http-basic.local]\nusername = "user"\n')

    def start(self, name: str, *arguments: str, venv: Path) -> Callable[[], Told]:
        record = self._base / f"record-{name}"
        environ = {
            "KEYRING_RECORD": str(record),
            "POETRY_KEYRING_ENABLED": "true",
            "PYTHON_KEYRING_BACKEND": "counting_keyring.Keyring",
            "POETRY_CONFIG_DIR": str(self._base / "config"),
            "POETRY_CACHE_DIR": str(self._base / f"cache-{name}"),
        }
        running = self._project.start(
            self._home, *arguments, venv=venv, environ=environ
        )

        def told() -> Told:
            result = running.result()
            if "401 Client Error" in result.out:
                raise PasswordLostError
            result.succeeded()
            lines = [json.loads(line) for line in record.read_text().splitlines()]
            out = [
                re.sub(r"\(?[\d.]+s\)?", "", line) for line in result.out.split("\n")
            ]
            return Told(sorted(lines), sorted(out))

        return told

    def installs(self, venvs: list[Path]) -> list[Told]:
        """What installs tell that run at once.

        Poetry itself, alone, now and then sends a request without the password that
        this thread was given: 2 of 24 times on two busy cores.
        """
        for attempt in range(5):
            running = [
                self.start(f"install-{attempt}-{venv.name}", *INSTALL, venv=venv)
                for venv in venvs
            ]
            try:
                return [wait() for wait in running]
            except PasswordLostError:
                for wait in running:
                    with suppress(PasswordLostError):
                        wait()
                for venv in venvs:
                    shutil.rmtree(venv)
                    make_venv(venv)
        raise PasswordLostError


@pytest.mark.thorough
@pytest.mark.parametrize(
    "version", [pytest.param("2.0.1", marks=pytest.mark.matrix), "2.5.1"]
)
def test_the_reads_are_the_same(
    version: str,
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """All threads of an install are in the backend at once, or it fails."""
    told = {}
    for protected in (False, True):
        kind = "protected" if protected else "plain"
        home = poetry_home(version, protected=protected).clone(
            tmp_path / f"home-{kind}"
        )
        COUNTING.unpack(home.site_packages)
        project = new_project(f"project-{kind}", dependencies=NAMES)
        user = User(home, project, tmp_path / kind)
        venvs = [new_venv(f"{kind}-{number}") for number in range(3)]
        lock = user.start("lock", "lock", venv=venvs[0])()
        config = ("config", "http-basic.other", "someone", "password")
        writing = user.start("config", *config, venv=venvs[0])()
        # How files are written is another matter.
        writing = Told([read for read in writing.reads if read[0] != "open"], [])
        installs = user.installs(venvs)
        told[kind] = [lock, writing, *installs]
        for venv in venvs:
            (site,) = venv.glob("lib/python*/site-packages")
            assert {path.stem for path in site.glob("private*.py")} == {*NAMES}

    for plain, protected_one in zip(told["plain"], told["protected"], strict=True):
        assert plain == protected_one
    installs = told["protected"][2:]
    asked = ["thread", "poetry-repository-local", "user"]
    assert all(each.reads.count(asked) == THREADS for each in installs)
