"""Whatever writes pyproject.toml or poetry.lock loses nobody else's change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import try_acquire
from tests.laboratory.cases import thorough_but
from tests.laboratory.pausing import Pause
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

CHANGED = "pyproject.toml has changed since this command read it; nothing was written"
LOCK_CHANGED = CHANGED.replace("pyproject.toml", "poetry.lock")

BEGUN = (
    "poetry_plugin_safe_install.environments.commit_point:Installation.__init__:before"
)
UPDATED = "poetry_plugin_up.command:UpCommand.handle:after"

CHOOSING = "poetry.version.version_selector:VersionSelector.find_best_candidate:before"
INSTALLING = "poetry.installation.wheel_installer:WheelInstaller.install:before"
SOLVED = "poetry.puzzle.solver:Solver.solve:after"
SOLVING = "poetry.puzzle.solver:Solver.solve:before"
WRITING = "tomlkit.toml_file:TOMLFile.write:before"
SORTING = "poetry_plugin_sort.sort:SortArray.apply:before"


@pytest.fixture
def project(new_project: Callable[..., Project], own_folder: Path) -> Project:
    for name in ("leaf", "bud", "twig"):
        for version in ("1.0", "2.0"):
            files = {f"{name}/__init__.py": ""}
            Distribution(name, version, files).wheel(own_folder)
    project = new_project(dependencies=("twig (>=1.0,<2.0)", "bud (>=1.0)"))
    project.lock()
    return project


@pytest.fixture
def home_with(home: PoetryHome, tmp_path: Path) -> Callable[[str], PoetryHome]:
    def make(plugin: str) -> PoetryHome:
        clone = home.clone(tmp_path / "home")
        clone.pip_install(plugin)
        return clone

    return make


@pytest.fixture
def up_home(home_with: Callable[[str], PoetryHome]) -> PoetryHome:
    return home_with("poetry-plugin-up")


def names_in(project: Project) -> set[str]:
    """The dependencies that both files name."""
    files = (project.pyproject, project.path / "poetry.lock")
    texts = [file.read_text() for file in files]
    return {
        name
        for name in ("leaf", "bud", "twig")
        if all(f'"{name}' in text for text in texts)
    }


def test_two_add_at_once(project: Project, home: PoetryHome) -> None:
    with Pause(SOLVING) as pause:
        first = project.start(home, "add", "--lock", "leaf", environ=pause.environment)
        arrival = pause.arrival()
        second = project.start(home, "remove", "--lock", "bud")
        second.says(f"Waiting for the project {project.path}")
        arrival.let_go()
        first.result().succeeded()
        second.result().succeeded()
    assert names_in(project) == {"leaf", "twig"}
    project.poetry(home, "check", "--lock").succeeded()


@pytest.mark.thorough
def test_add_while_up_chooses_versions(
    project: Project, home: PoetryHome, up_home: PoetryHome
) -> None:
    """F32: poetry-plugin-up has read the file before it holds any lock."""
    with Pause(CHOOSING) as pause:
        up = project.start(
            up_home, "up", "bud", "--latest", "--no-install", environ=pause.environment
        )
        arrival = pause.arrival()
        project.poetry(home, "add", "--lock", "leaf").succeeded()
        arrival.let_go()
        result = up.result()
    result.failed(CHANGED)
    assert result.code == 1
    assert names_in(project) == {"leaf", "bud", "twig"}
    project.poetry(home, "check", "--lock").succeeded()
    up = project.start(up_home, "up", "bud", "--latest", "--no-install")
    up.result().succeeded()
    assert "bud (>=2.0)" in project.pyproject.read_text()


@pytest.mark.thorough
def test_add_while_up_locks_and_installs(
    project: Project,
    home: PoetryHome,
    up_home: PoetryHome,
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
) -> None:
    """``up`` calls ``update``, which has all the locks that it has by itself."""
    venv = new_venv("environment")
    with Pause(INSTALLING) as pause:
        up = project.start(
            up_home, "up", "bud", "--latest", venv=venv, environ=pause.environment
        )
        arrivals = [pause.arrival(), pause.arrival()]
        adding = project.start(home, "add", "--lock", "leaf")
        adding.says(f"Waiting for the project {project.path}")
        limit = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "0"}
        other = new_project("other")
        running = other.poetry(home, "run", "true", venv=venv, environ=limit)
        running.failed(f"Did not wait for the environment {venv}")
        for arrival in arrivals:
            arrival.let_go()
        up.result().succeeded()
        adding.result().succeeded()
    assert names_in(project) == {"leaf", "bud", "twig"}
    assert "bud (>=2.0)" in project.pyproject.read_text()


@pytest.mark.thorough
def test_update_is_over_before_another_command_changes_the_environment(
    project: Project,
    home: PoetryHome,
    up_home: PoetryHome,
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
) -> None:
    """The command that has called it goes on, without the environment's lock."""
    venv = new_venv("environment")
    other = new_project("other", dependencies=("leaf",))
    other.lock()
    with Pause(UPDATED) as updated, Pause(BEGUN) as begun:
        up = project.start(
            up_home, "up", "bud", "--latest", venv=venv, environ=updated.environment
        )
        after = updated.arrival()
        install = other.start(
            home, "install", "--no-root", venv=venv, environ=begun.environment
        )
        half = begun.arrival()
        after.let_go()
        up.result().succeeded()
        half.let_go()
        install.result().succeeded()
    assert list(venv.glob("lib/python*/site-packages/leaf-2.0.dist-info/RECORD"))


SAVED_AT = {
    SOLVED: set[str](),
    "poetry.packages.locker:Locker._write_lock_data:before": {"leaf"},
    "poetry.installation.installer:Installer.run:after": {"leaf"},
}


@pytest.mark.parametrize(
    ("protected", "place", "packages"),
    thorough_but(
        [(True, *saved) for saved in SAVED_AT.items()],
        [(how, *saved) for how in (True, False) for saved in SAVED_AT.items()],
    ),
)
def test_an_editor_saves_in_the_middle_of_add(
    protected: bool,
    place: str,
    packages: set[str],
    project: Project,
    home: PoetryHome,
    plain_home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """Before the packages, before the lock file, and between the two files."""
    venv = new_venv("environment")
    home = home if protected else plain_home
    project.poetry(home, "install", "--no-root", venv=venv).succeeded()
    lock = (project.path / "poetry.lock").read_bytes()
    saved = project.pyproject.read_text() + "\n# by an editor\n"
    with Pause(place) as pause:
        adding = project.start(
            home, "add", "leaf", venv=venv, environ=pause.environment
        )
        arrival = pause.arrival()
        project.pyproject.write_text(saved)
        arrival.let_go()
        result = adding.result()
    if not protected:
        assert "# by an editor" not in project.pyproject.read_text()
        return
    result.failed(CHANGED)
    assert result.code == 1
    assert project.pyproject.read_text() == saved
    assert (project.path / "poetry.lock").read_bytes() == lock
    installed = {path.name for path in venv.glob("lib/python*/site-packages/leaf")}
    assert installed == packages


def test_lock_file_changes_in_the_middle_of_lock(
    project: Project, home: PoetryHome
) -> None:
    lock = project.path / "poetry.lock"
    text = project.pyproject.read_text()
    project.pyproject.write_text(text.replace("bud (>=1.0)", "leaf (>=1.0)"))
    with Pause(SOLVED) as pause:
        locking = project.start(home, "lock", "--regenerate", environ=pause.environment)
        arrival = pause.arrival()
        saved = lock.read_text() + "\n# by git\n"
        lock.write_text(saved)
        arrival.let_go()
        locking.result().failed(LOCK_CHANGED)
    assert lock.read_text() == saved


@pytest.mark.thorough
@pytest.mark.parametrize("command", [("sort",), ("add", "--lock", "leaf")])
def test_an_editor_saves_in_the_middle_of_sort(
    command: tuple[str, ...],
    project: Project,
    home_with: Callable[[str], PoetryHome],
) -> None:
    """poetry-plugin-sort sorts by itself after ``add`` too."""
    home = home_with("poetry-plugin-sort")
    with Pause(SORTING) as pause:
        sorting = project.start(home, *command, environ=pause.environment)
        arrival = pause.arrival()
        saved = project.pyproject.read_text() + "\n# by an editor\n"
        project.pyproject.write_text(saved)
        arrival.let_go()
        sorting.result().failed(CHANGED)
    assert project.pyproject.read_text() == saved
    project.poetry(home, "sort").succeeded()
    text = project.pyproject.read_text()
    assert text.index('"bud') < text.index('"twig')
    assert "# by an editor" in text


FOREIGN = "[tool.black]\nline-length = 88\n"
LAYING_OUT = "poetry.layouts.layout:Layout.__init__:before"


@pytest.fixture
def foreign(project: Project) -> Project:
    """A directory whose pyproject.toml is not yet Poetry's."""
    (project.path / "poetry.lock").unlink()
    project.pyproject.write_text(FOREIGN)
    return project


def test_an_editor_saves_in_the_middle_of_init(
    foreign: Project, home: PoetryHome
) -> None:
    with Pause(LAYING_OUT) as pause:
        init = foreign.start(home, "init", "-n", environ=pause.environment)
        arrival = pause.arrival()
        saved = FOREIGN + "\n# by an editor\n"
        foreign.pyproject.write_text(saved)
        arrival.let_go()
        init.result().failed(CHANGED)
    assert foreign.pyproject.read_text() == saved


def test_init_at_once(foreign: Project, home: PoetryHome) -> None:
    """The second one has read what the first one then writes."""
    with Pause(LAYING_OUT) as pause:
        both = [
            foreign.start(home, "init", "-n", "--name", name, environ=pause.environment)
            for name in ("first", "second")
        ]
        for arrival in [pause.arrival(), pause.arrival()]:
            arrival.let_go()
        results = [init.result() for init in both]
    assert sorted(result.code for result in results) == [0, 1], results
    next(result for result in results if result.code).failed(CHANGED)
    text = foreign.pyproject.read_text()
    assert text.startswith(FOREIGN)
    assert text.count("[project]") == 1


@pytest.mark.parametrize("where", ["nowhere", "in a project"])
def test_init_at_once_in_an_empty_directory(
    where: str, project: Project, home: PoetryHome
) -> None:
    directory = project.path / "empty"
    if where == "nowhere":
        project.pyproject.unlink()
    directory.mkdir()
    empty = type(project)(directory, project.environ)
    with Pause(LAYING_OUT) as pause:
        both = [
            empty.start(home, "init", "-n", "--name", name, environ=pause.environment)
            for name in ("first", "second")
        ]
        for arrival in [pause.arrival(), pause.arrival()]:
            arrival.let_go()
        results = [init.result() for init in both]
    assert sorted(result.code for result in results) == [0, 1], results
    next(result for result in results if result.code).failed(CHANGED)
    written = "first" if results[0].code == 0 else "second"
    assert f'name = "{written}"' in empty.pyproject.read_text()
    assert [path.name for path in directory.iterdir()] == [empty.pyproject.name]


def test_init_takes_the_lock_of_the_project(foreign: Project, home: PoetryHome) -> None:
    lock = Lock(foreign.store / "project.lock", "the project")
    held = try_acquire(lock, Mode.EXCLUSIVE, "poetry add")
    assert held
    init = foreign.start(home, "init", "-n")
    init.says(f"Waiting for the project {foreign.path}, held by `poetry add`")
    assert foreign.pyproject.read_text() == FOREIGN
    held.release()
    init.result().succeeded()
    assert foreign.pyproject.read_text().startswith(FOREIGN)
    assert "[project]" in foreign.pyproject.read_text()


def test_an_editor_saves_in_the_middle_of_version(
    project: Project, home: PoetryHome
) -> None:
    with Pause(WRITING) as pause:
        version = project.start(home, "version", "2.0.0", environ=pause.environment)
        arrival = pause.arrival()
        saved = project.pyproject.read_text() + "\n# by an editor\n"
        project.pyproject.write_text(saved)
        arrival.let_go()
        version.result().failed(CHANGED)
    assert project.pyproject.read_text() == saved


def test_installs_at_once_without_a_lock_file(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    """The first one makes it; the other one installs from it."""
    (project.path / "poetry.lock").unlink()
    with Pause(SOLVING) as pause:
        first = project.start(
            home, "install", venv=new_venv("first"), environ=pause.environment
        )
        arrival = pause.arrival()
        second = project.start(home, "install", venv=new_venv("second"))
        second.says(f"Waiting for the project {project.path}")
        arrival.let_go()
        assert "Writing lock file" in first.result().succeeded().out
        assert "from lock file" in second.result().succeeded().out
