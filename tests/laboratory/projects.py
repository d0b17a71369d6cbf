"""Projects on disk, and Poetry commands that run in them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading

from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING
from typing import Any

from tests.laboratory import lock_files
from tests.laboratory.poetries import poetry_home


if TYPE_CHECKING:
    import signal

    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome

TIMEOUT = 300.0
"""Seconds after which a command that has not ended, or not spoken, counts as stuck."""

LAST_WORDS = 5.0
"""Seconds to read on after a command has ended: its own children may have its pipe."""


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str

    def succeeded(self) -> Result:
        assert self.code == 0, self.out
        return self

    def failed(self, *texts: str) -> Result:
        assert self.code != 0, self.out
        flat = " ".join(self.out.split())
        for text in texts:
            assert text in flat, self.out
        return self


class Running:
    """A Poetry command under way; stdout and stderr are one text.

    A thread of its own is the only reader of it: nobody else has the pipe.
    """

    def __init__(self, command: Sequence[str], **popen: Any) -> None:
        """
        :param popen: as for ``subprocess.Popen``.
        """
        ours, theirs = os.pipe()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=subprocess.STDOUT,
                **popen,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        UNDER_WAY.add(self)
        self._out = ""
        self._complete = False
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def says(self, text: str, timeout: float = TIMEOUT) -> str:
        """Wait until the command has said something, or fail if it ends without.

        :return: all that it has said so far.
        """
        with self._more:
            self._more.wait_for(lambda: text in self._out or self._complete, timeout)
            said = self._out
        assert text in said, f"has not said {text!r}:\n{said}"
        return said

    def result(self, timeout: float = TIMEOUT) -> Result:
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"did not end within {timeout} s:\n{self._out}"
            raise AssertionError(message) from None
        self._ended()
        return Result(code, self._out)

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._ended()

    def _ended(self) -> None:
        # A process of its own may have the pipe still, and never end.
        self._reader.join(LAST_WORDS)
        UNDER_WAY.discard(self)

    def _read(self, pipe: int) -> None:
        with open(pipe, encoding="utf-8", errors="replace", newline="") as lines:
            for line in lines:
                with self._more:
                    self._out += line
                    self._more.notify_all()
        with self._more:
            self._complete = True
            self._more.notify_all()


UNDER_WAY: set[Running] = set()
"""Commands that nobody has seen end."""


@dataclass(frozen=True)
class Project:
    """A project directory and the surroundings that its Poetry commands have."""

    path: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.path / ".poetry" / "safe-install"

    @property
    def pyproject(self) -> Path:
        return self.path / "pyproject.toml"

    def lock(self, home: PoetryHome | None = None) -> None:
        """Have a lock file, as ``poetry lock`` of the newest Poetry makes it.

        It is made by Poetry once, and kept for all tests that need the same.
        """
        lock_files.lock(self, home or poetry_home(protected=False))

    def start(
        self,
        home: PoetryHome,
        *arguments: str,
        venv: Path | None = None,
        environ: Mapping[str, str] | None = None,
        around: tuple[str, ...] = (),
        **popen: object,
    ) -> Running:
        """Start ``poetry …`` here.

        :param venv: the activated virtual environment, if any.
        :param around: the command that runs Poetry, if it is not run directly.
        """
        return Running(
            [*around, str(home.executable), "--no-ansi", *arguments],
            cwd=self.path,
            env=self.environment(venv, environ),
            **popen,
        )

    def poetry(
        self,
        home: PoetryHome,
        *arguments: str,
        venv: Path | None = None,
        environ: Mapping[str, str] | None = None,
        around: tuple[str, ...] = (),
        **popen: object,
    ) -> Result:
        """Run ``poetry …`` here to its end."""
        return self.start(
            home, *arguments, venv=venv, environ=environ, around=around, **popen
        ).result()

    def environment(
        self, venv: Path | None = None, environ: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        whole = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(
                ("POETRY_", "_POETRY_", "VIRTUAL_ENV", "PYTHON", "CONDA")
            )
        }
        if venv:
            whole["VIRTUAL_ENV"] = str(venv)
        return {**whole, **self.environ, **(environ or {})}

    def git(self, *arguments: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            [*command, *arguments],
            cwd=self.path,
            check=True,
            capture_output=True,
            text=True,
        ).stdout


def make_project(
    path: Path,
    index: LocalIndex,
    *,
    environ: Mapping[str, str],
    name: str = "demo",
    version: str = "0.0.0",
    dependencies: tuple[str, ...] = (),
    requires_plugins: str = "",
    tail: str = "",
) -> Project:
    """Write a small package with a source that is the local index."""
    module = name.replace("-", "_")
    package = path / "src" / module
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    listed = ", ".join(f'"{dependency}"' for dependency in dependencies)
    plugins = f"[tool.poetry.requires-plugins]\n{requires_plugins}\n"
    (path / "pyproject.toml").write_text(
        f"""\
[project]
name = "{name}"
dynamic = ["version"]
requires-python = ">=3.10"
dependencies = [{listed}]

[tool.poetry]
version = "{version}"
packages = [{{ include = "{module}", from = "src" }}]

[[tool.poetry.source]]
name = "local"
url = "{index.url}"
priority = "primary"

{plugins if requires_plugins else ""}
{tail}
[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
"""
    )
    (path / ".gitignore").write_text("*.egg-info\n__pycache__\n")
    return Project(path, dict(environ))


def tree_hash(directory: Path) -> dict[str, str]:
    """Every file beneath a directory with the hash of what it holds."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix != ".used"
    }
