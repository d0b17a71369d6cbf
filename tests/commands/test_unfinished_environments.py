"""Environments whose creation was cut off: completed, or the user's own by now."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.cases import thorough_but
from tests.laboratory.killing import KILLS
from tests.laboratory.killing import Kill
from tests.laboratory.pausing import Pause
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import OLDEST
from tests.laboratory.poetries import poetry_home
from tests.laboratory.preloaded import Preloaded
from tests.laboratory.preloaded import shared
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

IN_PROJECT = {"POETRY_VIRTUALENVS_IN_PROJECT": "true"}
HALF_MADE = "virtualenv.run.session:Session._seed:before"
CUT_OFF = "was cut off"
LEAF = Distribution("leaf", "1.0", {"leaf/__init__.py": ""})


@pytest.fixture
def project(new_project: Callable[..., Project], own_folder: Path) -> Project:
    """One dependency, locked; its environment is to be in the project."""
    LEAF.wheel(own_folder)
    project = new_project(dependencies=("leaf",))
    project.lock()
    return type(project)(project.path, {**project.environ, **IN_PROJECT})


@pytest.fixture
def half_made(project: Project, home: PoetryHome) -> Path:
    """What an install leaves that is killed while it creates the environment."""
    with Pause(HALF_MADE) as pause:
        killed = project.start(home, "install", environ=pause.environment)
        pause.arrival()
        killed.kill()
    assert (project.path / ".venv" / "pyvenv.cfg").exists()
    return project.path / ".venv"


def by_venv(path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)


def by_virtualenv(path: Path) -> None:
    command = [sys.executable, "-m", "virtualenv", "--quiet", "--no-seed"]
    subprocess.run([*command, path], check=True)


def by_uv(path: Path) -> None:
    command = [sys.executable, "-m", "uv", "--quiet", "venv", "--allow-existing"]
    subprocess.run([*command, "--python", sys.executable, path], check=True)


@pytest.mark.parametrize(
    ("spelling", "command", "create"),
    thorough_but(
        [
            ("here", ("install",), by_venv),
            ("-C", ("run", "true"), by_venv),
            ("link", ("run", "true"), by_virtualenv),
            ("link to venv", ("run", "true"), by_uv),
        ],
        [
            ("here", ("install",), by_venv),
            *(
                (spelling, ("run", "true"), create)
                for spelling in ("here", "-C", "link", "link to venv")
                for create in (by_venv, by_virtualenv, by_uv)
            ),
        ],
    ),
)
def test_environment_that_the_user_made_instead(
    spelling: str,
    command: tuple[str, ...],
    create: Callable[[Path], None],
    project: Project,
    half_made: Path,
    home: PoetryHome,
) -> None:
    shutil.rmtree(half_made)
    create(half_made)
    if spelling == "link to venv":
        half_made.rename(project.path / "elsewhere")
        half_made.symlink_to(project.path / "elsewhere")
    (half_made / "mine").touch()
    before = (half_made / "pyvenv.cfg").read_bytes()
    where = project
    if spelling == "link":
        link = project.path.with_name("link")
        link.symlink_to(project.path)
        where = type(project)(link, project.environ)
    if spelling == "-C":
        where = type(project)(project.path.parent, project.environ)
        command = ("-C", "project", *command)

    result = where.poetry(home, *command).succeeded()

    assert (half_made / "mine").exists()
    assert (half_made / "pyvenv.cfg").read_bytes() == before
    assert CUT_OFF not in result.out
    assert "reating virtualenv" not in result.out


@pytest.mark.parametrize(
    "create", thorough_but([(by_venv,)], [(by_venv,), (by_virtualenv,), (by_uv,)])
)
def test_environment_that_the_user_made_over_it(
    create: Callable[[Path], None],
    project: Project,
    half_made: Path,
    home: PoetryHome,
) -> None:
    create(half_made)
    (half_made / "mine").touch()
    before = (half_made / "pyvenv.cfg").read_bytes()

    result = project.poetry(home, "install").succeeded()

    assert (half_made / "mine").exists()
    assert (half_made / "pyvenv.cfg").read_bytes() == before
    assert f"{half_made} {CUT_OFF}, and somebody has made it since" in result.out
    assert CUT_OFF not in project.poetry(home, "install").succeeded().out


@pytest.mark.parametrize("command", [("install",), ("run", "true")])
def test_environment_is_completed_and_nothing_removed(
    command: tuple[str, ...], project: Project, half_made: Path, home: PoetryHome
) -> None:
    mine = half_made / "lib" / "mine"
    mine.touch()
    assert not (half_made / "bin" / "activate").exists()

    result = project.poetry(home, *command).succeeded()

    assert f"{half_made} {CUT_OFF}. It is created again" in result.out
    assert mine.exists()
    assert (half_made / "bin" / "activate").exists()
    again = project.poetry(home, "install").succeeded()
    assert "reating virtualenv" not in again.out


def test_active_environment_is_used_as_it_is(
    project: Project, half_made: Path, home: PoetryHome
) -> None:
    elsewhere = half_made.rename(project.path / "elsewhere")

    result = project.poetry(home, "install", venv=elsewhere).succeeded()

    assert "reating virtualenv" not in result.out
    assert not half_made.exists()


def test_no_directory_is_left_where_virtualenv_refuses(
    project: Project, home: PoetryHome
) -> None:
    refused = {"VIRTUALENV_CREATOR": "none"}

    project.poetry(home, "install", environ=refused).failed()

    assert not (project.path / ".venv").exists()


@dataclass(frozen=True)
class Creation:
    """A project whose environment is created again and again."""

    project: Project
    poetry: Preloaded

    def run(self, at: int, *, half: bool = False) -> tuple[int, int]:
        """Create the environment; kill at a change.

        :return: the exit status and how many changes there were.
        """
        counted = self.project.path.parent / f"changes-{uuid.uuid4().hex}"
        environ = {
            "PYTHONPATH": str(KILLS),
            "KILL_BELOW": str(self.venv),
            "KILL_COUNT": str(counted),
            "KILL_AT": str(at),
            **({"KILL_HALF": "1"} if half else {}),
        }
        whole = self.project.environment(environ=environ)
        code = self.poetry.run(self.project, "run", "true", environ=whole).code
        return code, counted.stat().st_size

    @property
    def venv(self) -> Path:
        return self.project.path / ".venv"

    def remove(self) -> None:
        shutil.rmtree(self.venv, ignore_errors=True)

    @property
    def files(self) -> set[str]:
        names = {str(path.relative_to(self.venv)) for path in self.venv.rglob("*")}
        return {name for name in names if not name.startswith((".lock", ".poetry-"))}


@pytest.fixture
def creation(project: Project, request: pytest.FixtureRequest) -> Creation:
    version, options = request.param
    environ = {**project.environ, **options}
    poetry = shared(poetry_home(version), project.environment())
    return Creation(type(project)(project.path, environ), poetry)


SEEDED = {"POETRY_VIRTUALENVS_OPTIONS_NO_PIP": "false"}


@pytest.mark.parametrize("creation", [(NEWEST, {})], indirect=True, ids=[NEWEST])
def test_creation_killed_at_some_changes(creation: Creation) -> None:
    kill_creation(
        creation,
        lambda changes: [
            Kill(1),
            Kill(2, half=True),
            Kill(3, again=1),
            Kill(changes // 2, half=True, again=changes // 4),
            Kill(changes),
        ],
    )


@pytest.mark.soak
@pytest.mark.parametrize(
    "creation",
    [(OLDEST, {}), (NEWEST, {}), (NEWEST, SEEDED)],
    indirect=True,
    ids=[OLDEST, NEWEST, "seeded"],
)
def test_creation_killed_at_every_change(creation: Creation) -> None:
    kill_creation(
        creation,
        lambda changes: [
            Kill(at, half, again)
            for at in range(1, changes + 1)
            for half in (False, True)
            for again in (0, at // 2 or 1)
        ],
    )


def kill_creation(creation: Creation, which: Callable[[int], Iterable[Kill]]) -> None:
    code, changes = creation.run(0)
    assert code == 0
    whole = creation.files
    for kill in which(changes):
        creation.remove()
        assert creation.run(kill.at, half=kill.half)[0] == -9, kill
        if kill.again:
            creation.run(kill.again, half=kill.half)
        assert creation.run(0)[0] == 0, kill
        assert creation.files == whole, kill


def test_a_link_to_a_broken_environment_is_removed_alone(
    project: Project, home: PoetryHome
) -> None:
    """Also a relative one, which leads nowhere from where else it might be put."""
    (project.path / "elsewhere").mkdir()
    (project.path / ".venv").symlink_to("elsewhere", target_is_directory=True)
    project.poetry(home, "install").succeeded()
    assert not (project.path / ".venv").is_symlink()
    assert (project.path / "elsewhere").is_dir()
    assert not (project.store / "removed").exists()
