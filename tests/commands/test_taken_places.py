"""What other build backends, and the project itself, bring under an own package's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.cases import thorough_but
from tests.laboratory.changes import NO_RELOCKING
from tests.laboratory.poetries import download
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import Project


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome

BROKEN = "raise SystemExit(9)\n"
BUILT_BY = {
    "setuptools": ("setuptools", "setuptools.build_meta"),
    "hatchling": ("hatchling", "hatchling.build"),
    "flit": ("flit_core", "flit_core.buildapi"),
}
OPTIONS = {
    "setuptools": '[tool.setuptools]\npackages = ["{package}"]\n',
    "hatchling": '[tool.hatch.build.targets.wheel]\npackages = ["{package}"]\n',
    "flit": '[tool.flit.module]\nname = "{package}"\n',
}


@pytest.fixture(scope="module", autouse=True)
def backends() -> None:
    """In the local index."""
    requirements = [requirement for requirement, _ in BUILT_BY.values()]
    download(poetry_home(protected=False).python, *requirements, dependencies=True)


@pytest.fixture
def own_home(clone: Callable[..., PoetryHome]) -> PoetryHome:
    return clone()


def library(
    path: Path, backend: str, name: str, package: str, version: str, scripts: str = ""
) -> None:
    """A directory that another backend than Poetry's builds."""
    (path / package).mkdir(parents=True)
    (path / package / "__init__.py").write_text(f'"""."""\n{BROKEN}')
    requires, module = BUILT_BY[backend]
    (path / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "{version}"\ndescription = "."\n'
        f"{scripts}{OPTIONS[backend].format(package=package)}"
        f'[build-system]\nrequires = ["{requires}"]\nbuild-backend = "{module}"\n'
    )


WAYS = {
    "path": '{{path = "{path}"}}',
    "editable": '{{path = "{path}", develop = true}}',
    "git": '{{git = "file://{path}"}}',
}


PAIRS = (
    ("setuptools", "path"),
    ("setuptools", "editable"),
    ("hatchling", "git"),
    ("flit", "editable"),
)
"""Each backend, and each way to come into the lock file."""


def depend(project: Project, way: str, name: str, path: Path) -> None:
    """Have the project depend on a directory in one of these ways, and locked."""
    if way == "git":
        lib = Project(path, project.environ)
        lib.git("init", "-q")
        lib.git("add", ".")
        lib.git("commit", "-qm", "first")
    with project.pyproject.open("a") as file:
        source = WAYS[way].format(path=path)
        file.write(f"[tool.poetry.dependencies]\n{name} = {source}\n")
    project.poetry(poetry_home(protected=False), "lock").succeeded()


def untouched(home: PoetryHome) -> dict[str, bytes]:
    return {
        str(file): file.read_bytes()
        for file in [home.executable, *home.site_packages.glob("packaging*/*")]
        if file.is_file()
    }


def works(home: PoetryHome, project: Project) -> None:
    for command in ("--version", "check"):
        project.poetry(home, command, venv=home.path).succeeded()


@pytest.mark.thorough
@pytest.mark.parametrize(("backend", "way"), PAIRS)
def test_files_of_an_own_package(
    backend: str,
    way: str,
    own_home: PoetryHome,
    new_project: Callable[..., Project],
    tmp_path: Path,
) -> None:
    """A wheel that is built during the install is seen through when it is opened."""
    project, path = new_project(), tmp_path / "cattle"
    library(path, backend, "cattle", "packaging", "1.0")
    depend(project, way, "cattle", path)
    before = untouched(own_home)

    checked = project.poetry(own_home, "safe-install", "--check", venv=own_home.path)
    result = project.poetry(own_home, "install", venv=own_home.path)

    if way != "git":  # which is not there yet
        unknown = (
            f"cattle has {path / 'packaging'}, and what of it is installed is known"
        )
        assert unknown in " ".join(checked.succeeded().out.split())
        assert "Not known whether an install would be refused" in checked.out
    if way != "editable":
        result.failed("cattle was not installed", "packaging/__init__.py")
    assert untouched(own_home) == before, result.out
    works(own_home, new_project("other", name="other"))


@pytest.mark.parametrize(
    ("backend", "way"),
    thorough_but([("setuptools", "path")], PAIRS),
)
def test_a_script_of_an_own_package(
    backend: str,
    way: str,
    own_home: PoetryHome,
    new_project: Callable[..., Project],
    tmp_path: Path,
) -> None:
    project, path = new_project(), tmp_path / "cattle"
    scripts = '[project.scripts]\npoetry = "cattle:main"\n'
    library(path, backend, "cattle", "cattle", "1.0", scripts)
    depend(project, way, "cattle", path)
    before = untouched(own_home)

    result = project.poetry(own_home, "install", venv=own_home.path)

    result.failed("bin/poetry")
    assert untouched(own_home) == before, result.out
    works(own_home, new_project("other", name="other"))


@pytest.mark.parametrize(
    ("backend", "way"),
    thorough_but([], PAIRS),
)
def test_the_name_of_an_own_package(
    backend: str,
    way: str,
    own_home: PoetryHome,
    new_project: Callable[..., Project],
    tmp_path: Path,
) -> None:
    """Refused for its version, or as the same version from another place."""
    (info,) = own_home.site_packages.glob("packaging-*.dist-info")
    installed = info.name.removesuffix(".dist-info").partition("-")[2]
    before = untouched(own_home)
    for version, reason in (
        ("1.0", "requires packaging>="),
        (installed, "replaced by the same version from"),
    ):
        project, path = new_project(version), tmp_path / f"packaging-{version}"
        library(path, backend, "packaging", "packaging", version)
        depend(project, way, "packaging", path)

        checked = project.poetry(
            own_home, "safe-install", "--check", venv=own_home.path
        )
        result = project.poetry(
            own_home, "install", venv=own_home.path, environ=NO_RELOCKING
        )

        checked.failed("would be refused", reason)
        result.failed("would damage the Poetry that runs it", reason)
        assert untouched(own_home) == before
    works(own_home, new_project("other", name="other"))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("layout", "backend"),
    [("flat", "poetry-core"), ("src", "poetry-core"), ("src", "setuptools")],
)
def test_package_folders_of_the_project_itself(
    layout: str,
    backend: str,
    own_home: PoetryHome,
    new_project: Callable[..., Project],
) -> None:
    """They come onto the path after site-packages, where Poetry's own are found."""
    project = new_project()
    folder = project.path / ("src" if layout == "src" else ".") / "packaging"
    folder.mkdir()
    (folder / "__init__.py").write_text(f'"""."""\n{BROKEN}')
    text = project.pyproject.read_text()
    old = 'packages = [{ include = "demo", from = "src" }]'
    source = ', from = "src"' if layout == "src" else ""
    assert old in text
    text = text.replace(old, f'packages = [{{ include = "packaging"{source} }}]')
    if backend in BUILT_BY:
        requires, module = BUILT_BY[backend]
        text = text.replace('"poetry-core"', f'"{requires}"')
        text = text.replace("poetry.core.masonry.api", module)
    project.pyproject.write_text(text)
    before = untouched(own_home)
    project.poetry(poetry_home(protected=False), "lock").succeeded()

    project.poetry(own_home, "install", venv=own_home.path).succeeded()

    assert untouched(own_home) == before
    works(own_home, new_project("other", name="other"))
    project.poetry(own_home, "install", venv=own_home.path).succeeded()
