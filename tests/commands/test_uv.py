"""uv on an environment that Poetry installs into: beside it, and from a build script."""

from __future__ import annotations

import os
import subprocess
import sys

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.barriers import Barrier
from tests.laboratory.libraries import make_library
from tests.laboratory.libraries import uses
from tests.laboratory.pausing import Pause
from tests.laboratory.running import Running
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

INSTALLING = "poetry.installation.wheel_installer:install:before"
DOWNLOADED = "poetry.installation.executor:Executor._download:after"
TAIL = uses("lib")["tail"]
WAITS = "Waiting to acquire"
VERSIONS = [
    "newest",
    *(pytest.param(v, marks=pytest.mark.matrix) for v in ("0.5.31", "0.8.24")),
]


@pytest.fixture(params=VERSIONS)
def uv(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The command; an older one comes from the index."""
    python = sys.executable
    if request.param != "newest":
        made = tmp_path / "uv"
        subprocess.run([python, "-m", "venv", made], check=True)
        python = str(made / "bin" / "python")
        what = f"uv=={request.param}"
        subprocess.run([python, "-m", "pip", "install", "-q", what], check=True)
    return [python, "-m", "uv", "-v"]


def install_bud(uv: list[str], venv: Path, folder: Path, version: str) -> list[str]:
    """A line that installs a package into an environment."""
    Distribution("bud", version, {"bud/__init__.py": ""}).wheel(folder)
    found = ["--offline", "--no-cache", "--no-index", "--find-links", str(folder)]
    return [*uv, "pip", "install", "--python", str(venv), *found, f"bud=={version}"]


def installed(venv: Path) -> set[str]:
    site = next(venv.glob("lib/python*/site-packages"))
    return {path.name for path in site.glob("*.dist-info")}


@pytest.fixture
def venv(new_venv: Callable[..., Path]) -> Path:
    return new_venv("environment")


@pytest.fixture
def line(uv: list[str], venv: Path, tmp_path: Path) -> list[str]:
    """What installs a package there beside Poetry."""
    return install_bud(uv, venv, tmp_path / "folder", "1.0")


def start(
    project: Project, home: PoetryHome, venv: Path, building: Barrier, pause: Pause
) -> Running:
    environ = {**building.environment, **pause.environment}
    return project.start(home, "install", "--no-root", venv=venv, environ=environ)


@pytest.mark.parametrize("of", ["the project", "a dependency"])
def test_from_a_build_script(
    of: str,
    uv: list[str],
    new_project: Callable[..., Project],
    index: LocalIndex,
    environ: dict[str, str],
    own_folder: Path,
    home: PoetryHome,
    venv: Path,
    tmp_path: Path,
) -> None:
    """F21: it waits for nobody, as without the plugin."""
    line = install_bud(uv, venv, tmp_path / "folder", "1.0")
    call = (
        f"import subprocess; told = subprocess.run({line!r}, capture_output=True,"
        " text=True, timeout=100); assert told.returncode == 0, told.stderr;"
        f" assert {WAITS!r} not in told.stderr, told.stderr\n"
    )
    Distribution("leaf", "1.0", {"leaf/__init__.py": ""}).wheel(own_folder)
    if of == "the project":
        project = new_project(
            dependencies=("leaf",), tail='[tool.poetry.build]\nscript = "build.py"\n'
        )
        (project.path / "build.py").write_text(call)
    else:
        lib = make_library(tmp_path / "lib", "in-tree", index.url)
        backend = (lib / "backend.py").read_text()
        (lib / "backend.py").write_text(
            backend.replace(
                '    meet("building")', f'    meet("building")\n    {call}', 1
            )
        )
        project = new_project("one", **uses("lib"))
    project.poetry(home, "lock").succeeded()
    limit = {"UV_LOCK_TIMEOUT": "20"}
    project.poetry(home, "install", venv=venv, environ=limit).succeeded()
    assert "bud-1.0.dist-info" in installed(venv)


def test_beside_a_build_and_an_installation(
    new_project: Callable[..., Project],
    index: LocalIndex,
    own_folder: Path,
    home: PoetryHome,
    venv: Path,
    line: list[str],
    tmp_path: Path,
) -> None:
    """It waits while a package is written, and not for the build that goes on."""
    Distribution("leaf", "1.0", {"leaf/__init__.py": ""}).wheel(own_folder)
    make_library(tmp_path / "lib", "in-tree", index.url)
    project = new_project("one", dependencies=("leaf", "lib"), tail=TAIL)
    project.lock()
    with Barrier("building") as building, Pause(INSTALLING) as pause:
        install = start(project, home, venv, building, pause)
        build, package = building.arrival(), pause.arrival()
        beside = Running(line, env=dict(os.environ))
        beside.says(WAITS)
        package.let_go()
        beside.result().succeeded()
        assert not install.has_ended
        build.let_go()
        pause.arrival().let_go()  # what was built
        install.result().succeeded()
    assert {"bud-1.0.dist-info", "leaf-1.0.dist-info"} <= installed(venv)


def test_a_package_that_a_build_script_has_installed_meanwhile(
    new_project: Callable[..., Project],
    index: LocalIndex,
    own_folder: Path,
    home: PoetryHome,
    venv: Path,
    line: list[str],
    tmp_path: Path,
) -> None:
    """Poetry installs another version of it: there is one, and it is Poetry's."""
    Distribution("bud", "2.0", {"bud/__init__.py": ""}).wheel(own_folder)
    make_library(tmp_path / "lib", "in-tree", index.url)
    project = new_project("one", dependencies=("bud", "lib"), tail=TAIL)
    project.lock()
    with Barrier("building") as building, Pause(DOWNLOADED) as pause:
        install = start(project, home, venv, building, pause)
        build, package = building.arrival(), pause.arrival()
        Running(line, env=dict(os.environ)).result().succeeded()
        package.let_go()
        build.let_go()
        install.result().succeeded()
    assert {name for name in installed(venv) if name.startswith("bud")} == {
        "bud-2.0.dist-info"
    }
