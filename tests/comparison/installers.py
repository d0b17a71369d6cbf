"""The installers that are compared: how each is told to install the same wheels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.laboratory.environments import isolated_environ
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.projects import Project
from tests.laboratory.projects import make_project


if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome

SOURCE = Path(__file__).with_name("kill.c")


@dataclass(frozen=True)
class Installer:
    """A command that installs the wheels into an environment, wherever it is run.

    :param names_environment: the variable that names the environment to it.
    """

    name: str
    command: Sequence[str]
    project: Project
    names_environment: str = "VIRTUAL_ENV"
    environ: Mapping[str, str] = field(default_factory=dict)

    def run(self, venv: Path, preloaded: Path | None, at: int = 0) -> tuple[int, int]:
        """Install, and be killed at the N-th change.

        :param preloaded: the library that counts and kills.
        :return: the exit status, and the number of changes.
        """
        counted = venv.with_name("changes")
        counted.unlink(missing_ok=True)
        environ = {**self.environ, self.names_environment: str(venv)}
        if preloaded:
            environ["LD_PRELOAD"] = str(preloaded)
            environ["KILL_BELOW"] = os.path.realpath(venv / "lib")
            environ["KILL_COUNT"] = str(counted)
            environ["KILL_AT"] = str(at)
        done = subprocess.run(
            self.command,
            cwd=self.project.path,
            env=self.project.environment(environ=environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return done.returncode, counted.stat().st_size if counted.exists() else 0


def installers(
    work: Path,
    index: LocalIndex,
    requirements: Sequence[str],
    venv: Path,
    homes: Mapping[str, PoetryHome],
) -> list[Installer]:
    """All of them, with lock files and caches of their own below a directory.

    :param homes: the Poetrys, without and with the plugin, by what they are called.
    """
    plain, *_ = homes.values()
    poetry = _project_of_poetry(work / "poetry", index, requirements, plain)
    uv = _project_of_uv(work / "uv", index, requirements)
    environ = isolated_environ(work / "pip-home")
    pip = Project(work, {**environ, "PIP_CACHE_DIR": str(work / "pip-cache")})
    run_pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python")]
    run_pip += ["install", "--no-deps", "--index-url", index.url, *requirements]
    found = []
    for name, home in homes.items():
        command = [str(home.executable), "--no-ansi", "install", "--no-root"]
        found.append(Installer(name, command, poetry))
    for mode, name in (("copy", "uv (copy)"), ("hardlink", "uv (hard link)")):
        variables = {"UV_LINK_MODE": mode}
        sync = [_uv(), "sync", "--frozen", "--no-install-project"]
        found.append(Installer(name, sync, uv, "UV_PROJECT_ENVIRONMENT", variables))
    return [*found, Installer("pip", run_pip, pip)]


def counter(work: Path) -> Path:
    """The library that counts and kills.

    :raises RuntimeError: where it cannot be built.
    """
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        raise RuntimeError("install a C compiler, on Linux")
    library = work / "kill.so"
    options = ["-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run([compiler, *options], check=True)
    return library


def _project_of_poetry(
    path: Path, index: LocalIndex, requirements: Sequence[str], home: PoetryHome
) -> Project:
    environ = isolated_environ(path.with_name("poetry-home"))
    made = make_project(path, index, environ=environ, dependencies=tuple(requirements))
    made.poetry(home, "lock").succeeded()
    return made


def _project_of_uv(
    path: Path, index: LocalIndex, requirements: Sequence[str]
) -> Project:
    path.mkdir()
    listed = ", ".join(f'"{requirement}"' for requirement in requirements)
    (path / "pyproject.toml").write_text(
        f"""\
[project]
name = "demo"
version = "1.0"
requires-python = "=={DEFAULT_PYTHON}.*"
dependencies = [{listed}]

[tool.uv]
package = false

[[tool.uv.index]]
url = "{index.url}"
default = true
""",
        encoding="utf-8",
    )
    cache = path.with_name("uv-cache")
    made = Project(path, {"HOME": str(path), "UV_CACHE_DIR": str(cache)})
    subprocess.run(
        [_uv(), "--quiet", "lock", "--python", DEFAULT_PYTHON],
        cwd=path,
        env=made.environment(),
        check=True,
    )
    return made


def _uv() -> str:
    from uv import find_uv_bin

    return find_uv_bin()
