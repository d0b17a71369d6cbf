"""Builds into one artifact cache by several commands at once."""

from __future__ import annotations

import os
import signal
import sys
import time
import zipfile

from typing import TYPE_CHECKING

import pytest

from filelock import FileLock
from poetry.core.packages.utils.link import Link
from poetry.utils.cache import ArtifactCache

from poetry_plugin_safe_install.builds.artifacts import ABANDONED_AFTER
from poetry_plugin_safe_install.builds.artifacts import PRIVATE
from poetry_plugin_safe_install.builds.artifacts import Artifacts
from poetry_plugin_safe_install.builds.artifacts import is_abandoned
from poetry_plugin_safe_install.builds.artifacts import remove_abandoned
from tests.laboratory.barriers import Barrier
from tests.laboratory.libraries import MODULES
from tests.laboratory.libraries import in_tree
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

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
    return list((cache / "artifacts").rglob(f"{PRIVATE}*"))


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
    project.poetry(home, "lock").succeeded()
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


def test_a_plugin_of_a_project(
    home: PoetryHome,
    new_user: Callable[[str], Project],
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """What a plugin set needs is built with the same care."""
    project = new_user("one")
    project.poetry(home, "lock").succeeded()
    other = new_project("two", requires_plugins='slow = "*"')
    other.poetry(home, "lock").succeeded()
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
    project.poetry(home, "lock").succeeded()
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


def test_one_that_is_still_building_is_left_alone(
    home: PoetryHome,
    new_user: Callable[[str], Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    project = new_user("one")
    project.poetry(home, "lock").succeeded()

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
    project.poetry(home, "lock").succeeded()
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


@pytest.mark.parametrize(
    ("locked", "age", "abandoned"),
    [
        (True, 0, False),
        (True, 10 * ABANDONED_AFTER, False),
        (False, 0, True),
        (False, 10 * ABANDONED_AFTER, True),
        (None, 0, False),
        (None, ABANDONED_AFTER + 1, True),
    ],
)
def test_what_is_abandoned(locked: bool | None, age: float, abandoned: bool) -> None:
    assert is_abandoned(locked, age) is abandoned


def test_only_what_is_abandoned_is_removed(tmp_path: Path) -> None:
    for name in (f"{PRIVATE}dead", f"{PRIVATE}alive", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / WHEEL).write_bytes(b"half a wh")
    with FileLock(tmp_path / f"{PRIVATE}alive" / ".lock"):
        remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{PRIVATE}alive", "other"}


def test_the_second_replaces_the_first_while_that_is_read(tmp_path: Path) -> None:
    def build(text: str) -> Callable[[Path], Path]:
        def build_it(directory: Path) -> Path:
            assert not list(directory.parent.glob("*.whl")) or text == "second"
            with zipfile.ZipFile(directory / WHEEL, "w") as archive:
                archive.writestr("which", text)
            return directory / WHEEL

        return build_it

    builds = Artifacts("poetry test")
    place = tmp_path / "not" / "yet"
    wheel = builds.wheel(place, build("first"))
    with zipfile.ZipFile(wheel) as reader:
        assert builds.wheel(place, build("second")) == wheel == place / WHEEL
        assert reader.read("which") == b"first"
    with zipfile.ZipFile(wheel) as reader:
        assert reader.read("which") == b"second"
    assert [path.name for path in place.iterdir()] == [WHEEL]


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(directory: Path) -> Path:
        (directory / WHEEL).write_bytes(b"half a wh")
        raise RuntimeError("no compiler")

    builds = Artifacts("poetry test")
    with pytest.raises(RuntimeError, match="no compiler"):
        builds.wheel(tmp_path, fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other_was_faster", [True, False])
def test_a_failed_download_takes_nothing_from_others(
    other_was_faster: bool, tmp_path: Path
) -> None:
    def fail(url: str, destination: Path) -> None:
        if other_was_faster:
            destination.write_bytes(b"theirs")
        raise ConnectionError("reset")

    builds = Artifacts("poetry test")
    cache = ArtifactCache(cache_dir=tmp_path)
    link = Link("https://example.org/slow-1.0.tar.gz")

    def get() -> Path:
        return cache.get_cached_archive_for_link(
            link, strict=True, download_func=builds.download(fail)
        )

    if other_was_faster:
        assert get().read_bytes() == b"theirs"
    else:
        with pytest.raises(ConnectionError):
            get()
