"""``poetry cache clear`` beside commands that fill what it removes."""

from __future__ import annotations

import os
import random
import threading
import time

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.caching_index import CachingIndex
from tests.laboratory.pausing import Pause
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.projects import Project

CLEAR = ("cache", "clear", "local", "--all", "--no-interaction")


@pytest.fixture
def environ(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A cold cache for every test."""
    return {**environ, "POETRY_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def index(folder: Path, own_folder: Path) -> Iterator[CachingIndex]:
    for number in range(6):
        Distribution(f"leaf{number}", "1.0", {f"leaf{number}.py": ""}).wheel(own_folder)
    with CachingIndex(own_folder, folder, WHEELS, STAND_INS) as index:
        yield index


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    return new_project(dependencies=tuple(f"leaf{number}" for number in range(6)))


def let_all_go(pause: Pause) -> None:
    with suppress(OSError):  # there is no barrier any more
        while True:
            pause.arrival().let_go()


@pytest.mark.parametrize("version", ["2.0.1", "2.5.1"])
def test_cleared_while_a_command_fills_it(
    version: str, project: Project, tmp_path: Path
) -> None:
    """The command has answers in its hands that belong into what is gone by then."""
    home = poetry_home(version)
    place = "cachecontrol.controller:CacheController.cache_response:before"
    with Pause(place) as pause:
        locking = project.start(home, "lock", environ=pause.environment)
        arrival = pause.arrival()
        (tmp_path / "cache" / "cache" / "repositories" / "local").mkdir(
            parents=True, exist_ok=True
        )
        project.poetry(home, *CLEAR).succeeded()
        arrival.let_go()
        threading.Thread(target=let_all_go, args=(pause,), daemon=True).start()
        locking.result().succeeded()
    project.poetry(home, "lock").succeeded()


@pytest.mark.parametrize("version", ["2.0.1", "2.5.1"])
def test_filled_while_it_is_cleared(
    version: str, project: Project, index: CachingIndex, tmp_path: Path
) -> None:
    """What another command has written meanwhile stays."""
    home = poetry_home(version)
    cache = tmp_path / "cache" / "cache" / "repositories" / "local"
    project.poetry(home, "lock").succeeded()
    (project.path / "poetry.lock").unlink()
    with Pause("poetry_plugin_safe_install.caches.files:_empty:before") as pause:
        clearing = project.start(home, *CLEAR, environ=pause.environment)
        arrival = pause.arrival()
        assert not cache.exists()
        project.poetry(home, "lock").succeeded()
        arrival.let_go()
        clearing.result().succeeded()

    asked = len(index.answers)
    (project.path / "poetry.lock").unlink()
    project.poetry(home, "lock").succeeded()
    assert len(index.answers) == asked
    trash = tmp_path / "cache" / "safe-install" / "trash"
    assert list(trash.iterdir()) == []


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("version", ["2.0.1", "2.5.1"])
def test_clearing_beside_installs(
    version: str,
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
) -> None:
    """ROUNDS of two installs, two locks and two that clear, all at once."""
    rounds = int(os.environ.get("ROUNDS", "100"))
    chance = random.Random(int(os.environ.get("SEED", "17")))
    home = poetry_home(version)
    names = tuple(f"leaf{number}" for number in range(6))
    projects = [new_project(f"p{number}", dependencies=names) for number in range(4)]
    for each in projects[2:]:
        each.poetry(home, "lock").succeeded()

    def run(project: Project, command: tuple[str, ...], venv: Path) -> None:
        time.sleep(chance.uniform(0, 0.8))
        project.poetry(home, *command, venv=venv).succeeded()

    for number in range(rounds):
        venvs = [new_venv(f"{version}-{number}-{which}") for which in range(2)]
        for project in projects[:2]:
            (project.path / "poetry.lock").unlink(missing_ok=True)
        work = [
            (projects[0], ("lock",), venvs[0]),
            (projects[1], ("lock",), venvs[0]),
            (projects[2], ("install", "--no-root"), venvs[0]),
            (projects[3], ("install", "--no-root"), venvs[1]),
            (projects[0], CLEAR, venvs[0]),
            (projects[1], CLEAR, venvs[1]),
        ]
        with ThreadPoolExecutor(len(work)) as pool:
            for future in [pool.submit(run, *each) for each in work]:
                future.result()
        for venv in venvs:
            (site,) = venv.glob("lib/python*/site-packages")
            assert {path.stem for path in site.glob("leaf*.py")} == set(names)
    print(f"Poetry {version}: {rounds} rounds")
