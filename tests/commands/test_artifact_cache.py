"""Builds into one artifact cache by several commands at once."""

from __future__ import annotations

import os
import signal
import sys
import time

from itertools import product
from typing import TYPE_CHECKING

import pytest

from poetry_plugin_safe_install.private_files import PREFIX
from tests.laboratory.barriers import Barrier
from tests.laboratory.cases import thorough_but
from tests.laboratory.libraries import MODULES
from tests.laboratory.libraries import in_tree
from tests.laboratory.libraries import make_library
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import Project
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome

WHEEL = "slow-1.0-py3-none-any.whl"


@pytest.fixture
def slow_sdist(own_folder: Path) -> None:
    """An sdist whose backend writes the wheel in two halves."""
    modules = {f"slow/module_{n}.py": f"number = {n}\n" for n in range(MODULES)}
    Distribution("slow", "1.0", {**modules, **in_tree("slow")}).sdist(own_folder)


@pytest.fixture
def environ(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A cold cache for every test."""
    return {**environ, "POETRY_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def new_user(
    slow_sdist: None, new_project: Callable[..., Project]
) -> Callable[[str], Project]:
    """Projects that depend on the sdist."""
    return lambda name: new_project(name, dependencies=("slow",))


def modules_in(venv: Path) -> int:
    return len(list(venv.glob("lib/python*/site-packages/slow/module_*.py")))


def wheels_in(cache: Path) -> list[Path]:
    return list((cache / "artifacts").rglob(WHEEL))


def private_directories_in(cache: Path) -> list[Path]:
    return list((cache / "artifacts").rglob(f"{PREFIX}*"))


@pytest.mark.matrix
@pytest.mark.parametrize("version", POETRY_VERSIONS)
def test_nobody_sees_half_a_wheel(
    version: str,
    new_user: Callable[[str], Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """A second install runs from beginning to end while the first has half a wheel."""
    home = poetry_home(version)
    project = new_user("one")
    project.lock()
    first, second = new_venv("first"), new_venv("second")

    with Barrier("half-written") as half_written:
        slow = project.start(
            home, "install", venv=first, environ=half_written.environment
        )
        arrival = half_written.arrival()
        project.poetry(home, "install", venv=second).succeeded()
        arrival.let_go()
        slow.result().succeeded()

    assert modules_in(first) == modules_in(second) == MODULES
    assert len(wheels_in(tmp_path / "cache")) == 1
    assert private_directories_in(tmp_path / "cache") == []


@pytest.mark.thorough
def test_a_plugin_of_a_project(
    home: PoetryHome,
    new_user: Callable[[str], Project],
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """What a plugin set needs is built with the same care."""
    project = new_user("one")
    project.lock()
    other = new_project("two", requires_plugins='slow = "*"')
    other.lock()
    venv = new_venv("one")

    with Barrier("half-written") as half_written:
        slow = other.start(
            home, "install", venv=new_venv("two"), environ=half_written.environment
        )
        arrival = half_written.arrival()
        while not private_directories_in(tmp_path / "cache"):
            arrival.let_go()  # built elsewhere, for its metadata
            arrival = half_written.arrival()
        project.poetry(home, "install", venv=venv).succeeded()
        arrival.let_go()
        slow.result().succeeded()
    assert modules_in(venv) == MODULES


def test_killed_in_the_middle_of_writing(
    home: PoetryHome,
    new_user: Callable[[str], Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    cache = tmp_path / "cache"
    project = new_user("one")
    project.lock()
    venv = new_venv("one")

    with Barrier("half-written") as half_written:
        killed = project.start(
            home, "install", venv=venv, environ=half_written.environment
        )
        arrival = half_written.arrival()
        killed.kill()
        os.kill(arrival.pid, signal.SIGKILL)
        assert wheels_in(cache) == [
            directory / WHEEL for directory in private_directories_in(cache)
        ]
        assert len(private_directories_in(cache)) == 1

    project.poetry(home, "install", venv=venv).succeeded()
    assert modules_in(venv) == MODULES
    assert len(wheels_in(cache)) == 1
    assert private_directories_in(cache) == []


@pytest.mark.parametrize(
    ("version", "share"),
    thorough_but([("2.5.1", 0.5)], product(("2.0.1", "2.5.1"), (0, 0.5))),
)
def test_half_a_wheel_that_poetry_alone_has_left(
    version: str,
    share: float,
    new_user: Callable[[str], Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Its name is that of a wheel, and nothing else is known of it."""
    home = poetry_home(version)
    project = new_user("one")
    project.lock()
    project.poetry(home, "install", venv=new_venv("one")).succeeded()
    (wheel,) = wheels_in(tmp_path / "cache")
    data = wheel.read_bytes()
    wheel.write_bytes(data[: int(len(data) * share)])

    project.poetry(home, "install", venv=new_venv("two")).succeeded()

    assert modules_in(new_venv("two")) == MODULES
    assert len(wheel.read_bytes()) == len(data)


@pytest.mark.thorough
def test_half_a_wheel_of_a_git_repository(
    home: PoetryHome,
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    library = Project(make_library(tmp_path / "library", "in-tree"))
    library.git("init", "--quiet", "--initial-branch", "main")
    library.git("add", "--all")
    library.git("commit", "--quiet", "--message", "first")
    requirement = f"library @ git+file://{library.path}@main"
    project = new_project("one", dependencies=(requirement,))
    project.poetry(home, "lock", venv=new_venv("lock")).succeeded()
    project.poetry(home, "install", venv=new_venv("one")).succeeded()
    (wheel,) = (tmp_path / "cache" / "artifacts").rglob("library-*.whl")
    data = wheel.read_bytes()
    wheel.write_bytes(data[: len(data) // 2])

    project.poetry(home, "install", venv=new_venv("two")).succeeded()

    assert len(wheel.read_bytes()) == len(data)


def test_one_that_is_still_building_is_left_alone(
    home: PoetryHome,
    new_user: Callable[[str], Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    project = new_user("one")
    project.lock()

    with Barrier("half-written") as half_written:
        running = [
            project.start(
                home, "install", venv=new_venv(name), environ=half_written.environment
            )
            for name in ("one", "two", "three")
        ]
        arrivals = [half_written.arrival() for _ in running]
        assert len(private_directories_in(tmp_path / "cache")) == 3
        for arrival in arrivals:
            arrival.let_go()
        for each in running:
            each.result().succeeded()
    assert private_directories_in(tmp_path / "cache") == []


@pytest.mark.soak
def test_eight_at_once(
    home: PoetryHome,
    new_user: Callable[[str], Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Ten rounds with a cold cache, and nothing made certain."""
    project = new_user("one")
    project.lock()
    for number in range(10):
        environ = {"POETRY_CACHE_DIR": str(tmp_path / f"cache-{number}")}
        venvs = [new_venv(f"{number}-{which}") for which in range(8)]
        start = time.monotonic()
        running = [
            project.start(home, "install", venv=venv, environ=environ) for venv in venvs
        ]
        for each in running:
            each.result().succeeded()
        print(f"round {number}: {time.monotonic() - start:.1f} s", file=sys.stderr)
        assert [modules_in(venv) for venv in venvs] == [MODULES] * 8
