"""Projects on disk, and Poetry commands that run in them."""

from __future__ import annotations

import hashlib
import os
import subprocess

from dataclasses import dataclass
from dataclasses import field
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from tests.laboratory import lock_files
from tests.laboratory import without_links
from tests.laboratory.on_path import on_path
from tests.laboratory.poetries import poetry_home
from tests.laboratory.preloaded import begin
from tests.laboratory.running import TIMEOUT
from tests.laboratory.running import Running


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.running import Result


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
        executable: Path | None = None,
        **popen: object,
    ) -> Running:
        """Start ``poetry …`` here.

        :param venv: the activated virtual environment, if any.
        :param around: the command that runs Poetry, if it is not run directly.
        :param executable: what it runs instead of the script that users execute.
        """
        whole = self.environment(venv, environ)
        as_users_do = around or popen
        return Running(
            [*around, str(executable or home.executable), "--no-ansi", *arguments],
            begin=subprocess.Popen if as_users_do else begin(home, whole),
            cwd=self.path,
            env=whole,
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
        # What only mounts something is a place where it need not load Poetry again.
        mounts = (
            around[:1] == ("unshare",) and str(without_links.__file__) not in around
        )
        return self.start(
            home,
            *arguments,
            venv=venv,
            environ=environ,
            around=around,
            executable=on_path(home) / "poetry" if mounts else None,
            **popen,
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

    def poetry_apart(
        self,
        home: PoetryHome,
        *arguments: str,
        venv: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``poetry …`` here to its end; what it says on stderr is kept apart."""
        whole = self.environment(venv, environ)
        command = [str(home.executable), *arguments]
        with TemporaryFile("w+") as out, TemporaryFile("w+") as error:
            process = begin(home, whole)(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out.fileno(),
                stderr=error.fileno(),
                cwd=self.path,
                env=whole,
            )
            code = process.wait(TIMEOUT)
            out.seek(0)
            error.seek(0)
            return subprocess.CompletedProcess(command, code, out.read(), error.read())

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
