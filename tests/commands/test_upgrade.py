"""This plugin and the one of 0.1.0 on one checkout at once, in the middle of work.

Two installations of Poetry on one machine are not upgraded in the same moment, nor are the
images of two CI jobs: the locks of both exclude each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.barriers import Barrier
from tests.laboratory.cases import thorough_but
from tests.laboratory.libraries import make_library
from tests.laboratory.libraries import uses
from tests.laboratory.pausing import Pause
from tests.laboratory.plugins import marker_plugin
from tests.laboratory.poetries import poetry_home
from tests.laboratory.preloaded import fixed
from tests.laboratory.releases import wheel_of
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

INSTALLING = "poetry.installation.wheel_installer:WheelInstaller.install:before"
SOLVING = "poetry.puzzle.solver:Solver.solve:before"
PLUGIN = marker_plugin("kept-plugin", "1.0")
IS_ACTIVE = "kept-plugin 1.0 is active"
LEAF = Distribution("leaf", "1.0", {"leaf/__init__.py": ""})


@pytest.fixture(scope="module")
def old_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoetryHome]:
    """The newest Poetry, with the plugin as it was in 0.1.0."""
    directory = tmp_path_factory.mktemp("old")
    wheel = wheel_of("0.1.0", directory)
    home = poetry_home(protected=False).clone(directory / "home")
    home.pip_install("--no-deps", wheel)
    with fixed(home):
        yield home


@pytest.fixture
def leaf_project(new_project: Callable[..., Project], own_folder: Path) -> Project:
    LEAF.wheel(own_folder)
    project = new_project(dependencies=("leaf",))
    project.lock()
    return project


@pytest.fixture(
    params=["old-first", pytest.param("new-first", marks=pytest.mark.thorough)]
)
def homes(
    request: pytest.FixtureRequest, old_home: PoetryHome, home: PoetryHome
) -> tuple[PoetryHome, PoetryHome]:
    """Who has the lock, and who wants it."""
    return (old_home, home) if request.param == "old-first" else (home, old_home)


def second_waits(
    project: Project,
    homes: tuple[PoetryHome, PoetryHome],
    holds: tuple[str, ...],
    place: Barrier,
    what: str,
    venvs: tuple[Path, Path],
) -> str:
    """What the second one says, which installs and comes while the first one is there.

    :param place: where the first one stops.
    :param what: the second one waits for.
    """
    holding, wanting = homes
    with place as barrier:
        first = project.start(
            holding, *holds, venv=venvs[0], environ=barrier.environment
        )
        arrival = barrier.arrival()
        second = project.start(wanting, "install", venv=venvs[1])
        said = second.says(f"`poetry {' '.join(holds)}` (pid {first.pid} on ")
        assert f"Waiting for the {what}" in said
        arrival.let_go()
        first.result().succeeded()
        return second.result().succeeded().out


both_ways = pytest.mark.parametrize("homes", ["old-first", "new-first"], indirect=True)


@pytest.mark.thorough
@both_ways
def test_environment(
    homes: tuple[PoetryHome, PoetryHome],
    leaf_project: Project,
    new_venv: Callable[..., Path],
) -> None:
    venvs = (new_venv("one"), new_venv("one"))
    said = second_waits(
        leaf_project, homes, ("install",), Pause(INSTALLING), "environment", venvs
    )
    assert "No dependencies to install" in said


@pytest.mark.thorough
@both_ways
def test_project(
    homes: tuple[PoetryHome, PoetryHome],
    leaf_project: Project,
    new_venv: Callable[..., Path],
) -> None:
    venvs = (new_venv("one"), new_venv("two"))
    locks = ("lock", "--regenerate")
    said = second_waits(leaf_project, homes, locks, Pause(SOLVING), "project", venvs)
    assert "Installing leaf (1.0)" in said


@pytest.mark.thorough
def test_project_of_hatchling(
    homes: tuple[PoetryHome, PoetryHome],
    old_home: PoetryHome,
    new_project: Callable[..., Project],
    own_folder: Path,
    new_venv: Callable[..., Path],
) -> None:
    """Where 0.1.0 had its locks in Poetry's cache directory."""
    LEAF.wheel(own_folder)
    project = new_project(dependencies=("leaf",), tail="# Not built by hatchling.\n")
    project.lock()
    venvs = (new_venv("one"), new_venv("two"))
    project.poetry(old_home, "install", "--dry-run", venv=venvs[0]).succeeded()
    locks = ("lock", "--regenerate")
    second_waits(project, homes, locks, Pause(SOLVING), "project", venvs)


@pytest.mark.thorough
def test_plugin_set(
    homes: tuple[PoetryHome, PoetryHome],
    new_project: Callable[..., Project],
    own_folder: Path,
    new_venv: Callable[..., Path],
) -> None:
    """Each makes its own, one after the other, and neither removes the other's."""
    PLUGIN.wheel(own_folder)
    project = new_project(requires_plugins='kept-plugin = "*"')
    project.lock()
    venvs = (new_venv("one"), new_venv("two"))
    said = second_waits(
        project, homes, ("install",), Pause(INSTALLING), "project", venvs
    )
    assert IS_ACTIVE in said
    for home in homes:
        for arguments in (("install",), ("run", "true")):
            again = project.poetry(home, *arguments, venv=venvs[0]).succeeded().out
            assert IS_ACTIVE in again
            assert "Installing kept-plugin" not in again


@pytest.mark.thorough
def test_source_tree(
    homes: tuple[PoetryHome, PoetryHome],
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    make_library(tmp_path / "lib", "in-tree")
    project = new_project(**uses("lib"))
    project.lock()
    venvs = (new_venv("one"), new_venv("two"))
    second_waits(
        project, homes, ("install",), Barrier("building"), "source tree", venvs
    )


@pytest.mark.parametrize(
    "place",
    thorough_but([(INSTALLING,)], [(INSTALLING,), (SOLVING,)]),
    ids=["installing", "solving"],
)
def test_killed_before_the_upgrade(
    place: str,
    old_home: PoetryHome,
    home: PoetryHome,
    new_project: Callable[..., Project],
    own_folder: Path,
) -> None:
    """What 0.1.0 leaves in store and environment is in nobody's way."""
    LEAF.wheel(own_folder)
    PLUGIN.wheel(own_folder)
    project = new_project(dependencies=("leaf",), requires_plugins='kept-plugin = "*"')
    project.lock()
    with Pause(place) as pause:
        killed = project.start(old_home, "install", environ=pause.environment)
        pause.arrival()
        killed.kill()
    assert list((project.store / "staging").iterdir())

    said = project.poetry(home, "install").succeeded().out

    assert IS_ACTIVE in said
    assert "Installing leaf (1.0)" in said
    assert not (project.store / "staging").exists()
    project.poetry(home, "run", "python", "-c", "import leaf").succeeded()
