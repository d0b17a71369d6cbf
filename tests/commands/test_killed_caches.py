"""Commands that are killed at a change of a cache: the next one finds nothing half made."""

from __future__ import annotations

import os
import shutil
import subprocess

from dataclasses import dataclass
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from poetry_plugin_safe_install.private_files import PREFIX
from tests.laboratory.caching_index import CachingIndex
from tests.laboratory.cases import thorough_but
from tests.laboratory.killing import Saved
from tests.laboratory.killing import killed
from tests.laboratory.libraries import in_tree
from tests.laboratory.libraries import make_library
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.preloaded import Preloaded
from tests.laboratory.preloaded import shared
from tests.laboratory.projects import Project
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

STEP = int(os.environ.get("KILL_STEP", "1"))
"""Only every so many changes, for a soak that is in a hurry."""

MISSES = 6
"""Kills in a row that come too late, before there are taken to be no more changes.

A command whose threads download at once makes a third more of them, or fewer, in each run.
"""


@pytest.fixture
def index(folder: Path, own_folder: Path) -> Iterator[CachingIndex]:
    Distribution("ready", "1.0", {"ready.py": "whole = True\n"}).wheel(own_folder)
    built = {"built/__init__.py": "whole = True\n", **in_tree("built")}
    Distribution("built", "1.0", built).sdist(own_folder)
    with CachingIndex(own_folder, folder, WHEELS, STAND_INS) as index:
        yield index


@dataclass(frozen=True)
class Place:
    """Where a test works: a project, an environment, and Poetry's cache."""

    base: Path
    project: Project
    venv: Path

    @property
    def cache(self) -> Path:
        return self.base / "cache"

    @property
    def app_data(self) -> Path:
        return self.base / "app-data"

    @property
    def lock_file(self) -> Path:
        return self.project.path / "poetry.lock"

    @property
    def own_venv(self) -> Path:
        return self.project.path / ".venv"

    def depend_on(self, *requirements: str) -> None:
        listed = ", ".join(f'"{one}"' for one in requirements)
        text = self.project.pyproject.read_text()
        text = text.replace("dependencies = []", f"dependencies = [{listed}]")
        self.project.pyproject.write_text(text)

    def modules(self) -> set[str]:
        """Those of the test that are installed, as far as they are whole."""
        (site,) = self.venv.glob("lib/python*/site-packages")
        files = (site / "ready.py", site / "built" / "__init__.py")
        return {path.parent.name for path in files if "True" in path.read_text()}


class Lock:
    """Answers of indexes, and what is known of releases."""

    command: tuple[str, ...] = ("lock",)
    is_locked = False

    def __init__(self, place: Place) -> None:
        self.place = place
        self.below = place.cache
        self.fresh: tuple[Path, ...] = (place.cache,)

    def prepare(self) -> None:
        self.place.depend_on("ready", "built")

    def check(self) -> None:
        text = self.place.lock_file.read_text()
        assert text.count('version = "1.0"') == 2


class Install(Lock):
    """Downloads, and wheels that are built."""

    command = ("install", "--no-root")
    is_locked = True

    def check(self) -> None:
        assert len(self.place.modules()) == 2
        artifacts = self.place.cache / "artifacts"
        found = sorted(
            path.name
            for path in artifacts.rglob("*")
            # Poetry downloads into the latter, and nobody looks for them.
            if path.is_file() and not path.name.startswith("tmp")
            # The next build in this place removes it.
            if PREFIX not in str(path)
        )
        sdist, wheels = "built-1.0.tar.gz", ("built", "ready")
        names = [f"{name}-1.0-py3-none-any.whl" for name in wheels]
        assert found == sorted([sdist, *names])


class GitLock(Lock):
    """A git clone, made to find out what to lock."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.below = place.venv / "src"
        self.fresh = (place.cache, self.below)

    def prepare(self) -> None:
        library = make_library(self.place.base / "library", "in-tree")
        backend = library / "backend.py"  # a killed one would say that it still runs
        backend.write_text(backend.read_text().replace("    alone()\n", ""))
        git = Project(library).git
        git("init", "--quiet", "--initial-branch", "main")
        git("add", "--all")
        git("commit", "--quiet", "--message", "first")
        self.place.depend_on(f"library @ git+file://{library}@main")

    def check(self) -> None:
        assert (self.below / "library" / "backend.py").exists()
        assert not list((self.below / ".safe-install").glob("*.unfinished"))


class GitInstall(GitLock):
    """A git clone, made to be built."""

    command = ("install", "--no-root")
    is_locked = True

    def check(self) -> None:
        super().check()
        (installed,) = self.place.venv.glob("lib/python*/site-packages/library")
        assert len([*installed.glob("module_*.py")]) == 60


class Seed(Lock):
    """virtualenv's image of pip."""

    command = ("install", "--no-root")
    is_locked = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.below = place.app_data
        self.fresh = (place.app_data, place.own_venv)

    def prepare(self) -> None:
        pass

    def check(self) -> None:
        python = self.place.own_venv / "bin" / "python"
        command = [str(python), "-m", "pip", "--version"]
        subprocess.run(command, check=True, capture_output=True)


class Bench:
    """A scenario with one Poetry, put back before every kill."""

    def __init__(self, scenario: Lock, poetry: Preloaded) -> None:
        self._scenario = scenario
        self._place = scenario.place
        self._poetry = poetry
        self._venv = None if isinstance(scenario, Seed) else scenario.place.venv
        scenario.prepare()
        if scenario.is_locked:
            self._run("lock")
        project = self._place.project.path
        self._saved = Saved.of(self._place.base / "saved", project, self._place.venv)

    def _run(self, *command: str) -> None:
        killed(
            self._poetry,
            self._place.project,
            *command,
            venv=self._venv,
            below=self._scenario.below,
        ).result.succeeded()

    @cached_property
    def changes(self) -> int:
        return self._killed(at=0)[1]

    def _killed(self, at: int, *, half: bool = False) -> tuple[bool, int]:
        self._saved.restore()
        for directory in self._scenario.fresh:
            shutil.rmtree(directory, ignore_errors=True)
        found = killed(
            self._poetry,
            self._place.project,
            *self._scenario.command,
            venv=self._venv,
            below=self._scenario.below,
            at=at,
            half=half,
        )
        if not found.was_killed:
            found.result.succeeded()
        return found.was_killed, found.changes

    def whole_after(self, at: int, *, half: bool = False) -> bool:
        """Kill, and see that the next command does all; whether it was killed."""
        was_killed, _ = self._killed(at, half=half)
        if was_killed:
            self._run(*self._scenario.command)
            self._scenario.check()
        return was_killed


@pytest.fixture
def new_bench(
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> Callable[[type[Lock], str], Bench]:
    def new(scenario: type[Lock], version: str) -> Bench:
        project = new_project()
        place = Place(tmp_path, project, new_venv("environment"))
        environ = {
            **project.environ,
            "POETRY_CACHE_DIR": str(place.cache),
            "POETRY_VIRTUALENVS_IN_PROJECT": "true",
            "POETRY_VIRTUALENVS_OPTIONS_NO_PIP": "false",
            "VIRTUALENV_OVERRIDE_APP_DATA": str(place.app_data),
        }
        place = replace(place, project=replace(project, environ=environ))
        poetry = shared(poetry_home(version), place.project.environment())
        return Bench(scenario(place), poetry)

    return new


SCENARIOS = (Lock, Install, GitLock, GitInstall, Seed)
scenarios = pytest.mark.parametrize("scenario", SCENARIOS)


@pytest.mark.parametrize(
    "scenario",
    thorough_but([(Install,)], [(one,) for one in SCENARIOS]),
)
def test_killed_at_some_changes(
    scenario: type[Lock], new_bench: Callable[[type[Lock], str], Bench]
) -> None:
    """How many changes there are differs by a third: threads download at once."""
    bench = new_bench(scenario, NEWEST)
    assert bench.whole_after(max(1, bench.changes // 3))
    later = range(bench.changes // 2, bench.changes)  # not every change has a middle
    assert any(bench.whole_after(at, half=True) for at in later)


@pytest.mark.soak
@pytest.mark.timeout(14400)
@scenarios
@pytest.mark.parametrize("version", dict.fromkeys((POETRY_VERSIONS[0], NEWEST)))
def test_soak_of_every_kill(
    version: str,
    scenario: type[Lock],
    new_bench: Callable[[type[Lock], str], Bench],
) -> None:
    """Before each change, and in its middle."""
    bench = new_bench(scenario, version)
    kills, misses, last = 0, 0, 0
    at = 1
    while misses < MISSES:
        for half in (False, True):
            was_killed = bench.whole_after(at, half=half)
            kills += was_killed
            misses = 0 if was_killed else misses + 1
            last = at if was_killed else last
        at += STEP
    print(f"\n{scenario.__name__}, Poetry {version}: {kills} kills of a command with")
    print(f"{bench.changes} changes, every {STEP}, the last before change {last}")
    assert kills >= 1.3 * bench.changes / STEP
