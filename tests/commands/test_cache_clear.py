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
from tests.laboratory.cases import thorough_but
from tests.laboratory.pausing import Pause
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
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


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """What is removed."""
    return tmp_path / "cache" / "cache" / "repositories" / "local"


WRITING = {
    "of-one-file": ("2.0.1", "tempfile:mkstemp:before"),
    "of-two-files": (
        "2.5.1",
        "poetry_plugin_safe_install.caches.files:write_private:after",
    ),
    "release": ("2.5.1", "poetry.utils.cache:FileCache._serialize:before"),
}
"""Where there is a directory for what is going to be written."""


@pytest.mark.parametrize(
    "what", thorough_but([("of-two-files",)], [(what,) for what in WRITING])
)
def test_cleared_while_a_command_fills_it(
    what: str, project: Project, index: CachingIndex, answers: Path
) -> None:
    """The directory is gone between its making and the file that belongs into it."""
    version, place = WRITING[what]
    home = poetry_home(version)
    with Pause(place) as pause:
        locking = project.start(home, "lock", environ=pause.environment)
        arrival = pause.arrival()
        while not answers.exists():
            arrival.let_go()
            arrival = pause.arrival()
        project.poetry(home, *CLEAR).succeeded()
        assert not answers.exists()
        arrival.let_go()
        threading.Thread(target=let_all_go, args=(pause,), daemon=True).start()
        result = locking.result().succeeded()
    assert "safe-install" not in result.out  # no fault of the plugin's own
    assert len(index.answers) == len({*index.answers})  # no request is made again
    project.poetry(home, "lock").succeeded()


def test_filled_while_it_is_cleared(
    home: PoetryHome,
    project: Project,
    index: CachingIndex,
    answers: Path,
    tmp_path: Path,
) -> None:
    """What another command has written meanwhile stays."""
    project.poetry(home, "lock").succeeded()
    (project.path / "poetry.lock").unlink()
    with Pause("shutil:rmtree:before") as pause:
        clearing = project.start(home, *CLEAR, environ=pause.environment)
        arrival = pause.arrival()
        project.poetry(home, "lock").succeeded()
        arrival.let_go()
        threading.Thread(target=let_all_go, args=(pause,), daemon=True).start()
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
