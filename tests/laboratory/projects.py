"""Projects on disk, and Poetry commands that run in them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading

from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome

TIMEOUT = 300.0


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
    """A Poetry command under way; stdout and stderr are one text."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._out = ""
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def says(self, text: str, timeout: float = 60) -> None:
        """Wait until the command has said something."""
        with self._more:
            found = self._more.wait_for(
                lambda: text in self._out or not self._reader.is_alive(), timeout
            )
        assert found and text in self._out, self._out

    def result(self, timeout: float = TIMEOUT) -> Result:
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"did not end within {timeout} s:\n{self._out}"
            raise AssertionError(message) from None
        self._reader.join()
        return Result(code, self._out)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._more:
                self._out += line
                self._more.notify_all()
        with self._more:
            self._more.notify_all()


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
        process: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]
            [*around, str(home.executable), "--no-ansi", *arguments],
            cwd=self.path,
            env=self.environment(venv, environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **popen,
        )
        return Running(process)

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
