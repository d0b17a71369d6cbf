"""The project's own plugins, several Poetrys at once, in one checkout."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.barriers import Barrier
from tests.laboratory.cases import thorough_but
from tests.laboratory.environments import installed_version
from tests.laboratory.pausing import Pause
from tests.laboratory.plugins import marker_plugin
from tests.laboratory.plugins import rewriting_plugin
from tests.laboratory.plugins import slow_import_plugin
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import tree_hash
from tests.laboratory.pythons import pythons
from tests.laboratory.pythons import two_of
from tests.laboratory.tagged import SHOW_VERSION


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project


ANY_COMMAND = (
    "about",
    "cache list",
    "config --list",
    "help about",
    "self show plugins",
)


@pytest.fixture
def new_plugged(
    new_project: Callable[..., Project], own_folder: Path
) -> Callable[..., Project]:
    """Locked projects that require releases of a marker plugin."""

    def new(
        name: str, version: str = "1.0", *, script: bool = False, **about: object
    ) -> Project:
        marker_plugin(name, version, script=script).wheel(own_folder)
        project = new_project(requires_plugins=f'{name} = "{version}"', **about)
        project.lock()
        return project

    return new


@pytest.fixture
def slow_import(new_project: Callable[..., Project], own_folder: Path) -> Project:
    """A locked project with a plugin that waits while it is imported; there are two."""
    for version in ("1.0", "2.0"):
        slow_import_plugin(version).wheel(own_folder)
    project = new_project(requires_plugins='slow-import = "1.0"')
    project.lock()
    return project


@pytest.mark.parametrize(
    "minors",
    [two_of(DEFAULT_PYTHON), pytest.param([*pythons()], marks=pytest.mark.matrix)],
    ids=["two", "all"],
)
def test_every_python_has_its_own_set(
    minors: list[str], tagged_project: Project, new_venv: Callable[..., Path]
) -> None:
    """F1, F2: install and run, twice, with every Python at once."""
    homes = {minor: poetry_home(minor=minor) for minor in minors}
    venvs = {minor: new_venv(minor, minor) for minor in homes}

    def work(minor: str) -> list[str]:
        said = []
        for arguments in (("install",), ("run", *SHOW_VERSION)):
            result = tagged_project.poetry(homes[minor], *arguments, venv=venvs[minor])
            said.append(result.succeeded().out)
        assert said[-1].splitlines()[-1] == "1.2.3"
        return said

    with ThreadPoolExecutor(len(homes)) as pool:
        first = dict(zip(homes, pool.map(work, homes), strict=True))
    hashes = tree_hash(tagged_project.store / "plugins")
    with ThreadPoolExecutor(len(homes)) as pool:
        again = list(pool.map(work, homes))

    for said in first.values():
        assert "".join(said).count("Installing poetry-dynamic-versioning") == 1
    assert "Installing poetry-dynamic-versioning" not in "".join(map("".join, again))
    assert tree_hash(tagged_project.store / "plugins") == hashes
    assert len(list((tagged_project.store / "plugins").iterdir())) == len(homes)
    assert not (tagged_project.store / "staging").exists()


def test_sets_of_two_pythons_are_made_at_the_same_time(
    new_project: Callable[..., Project],
    own_folder: Path,
    new_venv: Callable[..., Path],
) -> None:
    """Both stop in the middle of it; a third, which needs one of them, waits for it."""
    first, other = two_of(DEFAULT_PYTHON)
    marker_plugin("paired", "1.0").wheel(own_folder)
    project = new_project(requires_plugins='paired = "*"')
    project.lock()
    place = "poetry_plugin_safe_install.project_plugins.sets:_compile:before"
    with Pause(place) as pause:
        running = [
            project.start(
                poetry_home(minor=minor),
                "install",
                venv=new_venv(minor, minor),
                environ=pause.environment,
            )
            for minor in (first, other)
        ]
        making = [pause.arrival(), pause.arrival()]
        home, venv = poetry_home(minor=first), new_venv("third", first)
        third = project.start(home, "install", venv=venv)
        third.says(f"Waiting for the plugin set of the project {project.path}, held by")
        for each in making:
            each.let_go()
        said = [command.result().succeeded().out for command in (*running, third)]

    assert [text.count("Installing paired") for text in said] == [1, 1, 0]
    assert all("paired 1.0 is active" in text for text in said)
    assert not (project.store / "staging").exists()


def test_project_is_read_once_if_nobody_changes_it(
    new_project: Callable[..., Project], home: PoetryHome
) -> None:
    """Its environment is made meanwhile, so that the lock changes hands twice."""
    project = new_project()
    project.lock()
    with Pause("poetry.factory:Factory.create_poetry:before") as pause:
        install = project.start(home, "install", environ=pause.environment)
        pause.arrival().let_go()
        install.result(60).succeeded()


def test_first_install_of_a_fresh_clone_has_the_version(
    tagged_project: Project,
    home: PoetryHome,
    plain_home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """F5."""
    unprotected, protected = new_venv("unprotected"), new_venv("protected")
    tagged_project.poetry(plain_home, "install", venv=unprotected).succeeded()
    assert installed_version(unprotected) == "0.0.0"  # what this is about
    tagged_project.git("clean", "-fdxq")

    tagged_project.poetry(home, "install", venv=protected).succeeded()

    assert installed_version(protected) == "1.2.3"


def test_installs_at_once_agree_on_the_version(
    tagged_project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    """F4: four installs at once, each into its own environment."""
    alone = new_venv("alone")
    tagged_project.poetry(home, "install", venv=alone).succeeded()
    status = tagged_project.git("status", "--porcelain")
    pyproject = tagged_project.pyproject.read_text()
    tagged_project.git("stash", "--quiet")
    tagged_project.git("clean", "-fdxq")
    venvs = [new_venv(f"parallel-{number}") for number in range(4)]

    running = [tagged_project.start(home, "install", venv=venv) for venv in venvs]
    for command in running:
        command.result().succeeded()

    assert [installed_version(venv) for venv in venvs] == ["1.2.3"] * 4
    assert tagged_project.git("status", "--porcelain") == status
    assert tagged_project.pyproject.read_text() == pyproject


PLACES = [("requires-plugins",), ("Poetry's environment",)]


@pytest.mark.parametrize("place", thorough_but(PLACES[:1], PLACES))
def test_install_waits_while_a_plugin_has_rewritten_the_project(
    place: str,
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    plain_home: PoetryHome,
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """F4 made certain: the second install starts while the file is rewritten."""
    wheel = rewriting_plugin().wheel(own_folder)
    required = place == "requires-plugins"
    project = new_project(
        requires_plugins='rewriting = "*"' if required else "",
        tail="[tool.rewriting]\nenable = true\n",
    )
    if not required:
        home = home.clone(tmp_path / "protected")
        home.pip_install(wheel)
        plain_home = plain_home.clone(tmp_path / "plain")
        plain_home.pip_install(wheel)
    project.lock()
    project.poetry(plain_home, "install").succeeded()
    pyproject = project.pyproject.read_text()

    def second_install(home: PoetryHome, *, waits: bool) -> str:
        first_venv, second_venv = new_venv("first"), new_venv("second")
        with Barrier("rewritten") as rewritten:
            first = project.start(
                home, "install", venv=first_venv, environ=rewritten.environment
            )
            arrival = rewritten.arrival()
            second = project.start(home, "install", venv=second_venv)
            if waits:
                second.says(f"held by `poetry install` (pid {first.pid}")
            else:
                second.result().succeeded()
            arrival.let_go()
            first.result().succeeded()
            second.result().succeeded()
        assert installed_version(first_venv) == "9.9.9"
        return installed_version(second_venv)

    assert second_install(plain_home, waits=False) == "0.0.0"  # what this is about
    project.pyproject.write_text(pyproject)
    assert second_install(home, waits=True) == "9.9.9"
    assert project.pyproject.read_text() == pyproject


@pytest.mark.parametrize(
    "change",
    thorough_but(
        [("new requirement",), ("migration",)],
        [("new requirement",), ("no requirement",), ("migration",)],
    ),
)
def test_reader_sees_a_whole_set_whatever_a_writer_does(
    change: str,
    slow_import: Project,
    home: PoetryHome,
    plain_home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """F3: the reader stands in the middle of an import; it holds no lock."""
    project, venv = slow_import, new_venv("environment")
    first = plain_home if change == "migration" else home
    project.poetry(first, "install", venv=venv).succeeded()

    with Barrier("import") as importing:
        reader = project.start(home, "check", venv=venv, environ=importing.environment)
        arrival = importing.arrival()
        if change == "new requirement":
            text = project.pyproject.read_text()
            project.pyproject.write_text(text.replace('"1.0"', '"2.0"'))
        elif change == "no requirement":
            text = project.pyproject.read_text()
            project.pyproject.write_text(text.replace('slow-import = "1.0"', ""))
        written = project.poetry(home, "install", venv=venv).succeeded()
        arrival.let_go()
        if change == "migration":  # Poetry's own loading, then the set's
            importing.arrival().let_go()
        seen = reader.result().succeeded()

    assert "slow-import 1.0 is active" in seen.out
    after = project.poetry(home, "install", venv=venv).succeeded()
    if change == "new requirement":
        assert "slow-import 2.0 is active" in written.out + after.out
    elif change == "no requirement":
        assert "is active" not in written.out + after.out
        assert not list((project.store).rglob("slow_import"))
    else:
        assert "Installing slow-import" not in written.out  # adopted
        assert "slow-import 1.0 is active" in written.out
        assert list(project.store.rglob("slow_import"))


@pytest.mark.thorough
def test_unprotected_reader_would_break(
    slow_import: Project, plain_home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    """What the test above is about, seen without the plugin."""
    project, venv = slow_import, new_venv("environment")
    project.poetry(plain_home, "install", venv=venv).succeeded()
    with Barrier("import") as importing:
        reader = project.start(
            plain_home, "check", venv=venv, environ=importing.environment
        )
        arrival = importing.arrival()
        text = project.pyproject.read_text()
        project.pyproject.write_text(text.replace('"1.0"', '"2.0"'))
        project.poetry(plain_home, "install", venv=venv).succeeded()
        arrival.let_go()
        reader.result().failed()


@pytest.mark.thorough
def test_scripts_of_two_projects_stay_apart(
    new_plugged: Callable[..., Project], home: PoetryHome, tmp_path: Path
) -> None:
    """F14: a project's plugin never writes into Poetry's own environment."""
    home = home.clone(tmp_path / "home")
    scripts = sorted(path.name for path in home.executable.parent.iterdir())
    for version in ("1.0", "2.0"):
        project = new_plugged("with-script", version, script=True, directory=version)
        result = project.poetry(home, "install").succeeded()
        assert f"with-script {version} is active" in result.out
        (script,) = project.store.rglob("with-script")
        assert script.parent.name == "bin"
    assert sorted(path.name for path in home.executable.parent.iterdir()) == scripts


@pytest.mark.thorough
def test_project_plugin_and_dependency_override_those_of_poetry(
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    tmp_path: Path,
) -> None:
    for version in ("1.0", "2.0"):
        marker_plugin("overridden", version, requires=("helping",)).wheel(own_folder)
        helping = marker_plugin("helping", version)
        helping.wheel(own_folder)
    home = home.clone(tmp_path / "home")
    home.pip_install(
        own_folder / "overridden-1.0-py3-none-any.whl",
        own_folder / "helping-1.0-py3-none-any.whl",
    )
    project = new_project(requires_plugins='overridden = "2.0"\nhelping = "2.0"')
    project.lock()

    for arguments in (("install",), ("run", "true"), ("check",)):
        result = project.poetry(home, *arguments).succeeded()
        active = sorted(line for line in result.out.splitlines() if "is active" in line)
        assert active == ["helping 2.0 is active", "overridden 2.0 is active"]


def test_any_command_has_the_plugins(
    new_plugged: Callable[..., Project], home: PoetryHome, plain_home: PoetryHome
) -> None:
    """Also one that is not about the project: it may be the plugin's to change it."""
    said: list[dict[str, str]] = []
    for poetry in (plain_home, home):
        project = new_plugged("anywhere", directory=poetry.path.name)
        project.poetry(poetry, "install", "--no-root").succeeded()
        said.append(
            {
                command: project.poetry(poetry, *command.split()).succeeded().out
                for command in ANY_COMMAND
            }
        )
    for command in ANY_COMMAND:
        plain, protected = (each[command] for each in said)
        assert "anywhere 1.0 is active" in plain, command
        assert "anywhere 1.0 is active" in protected, command
        listed = "  - anywhere (1.0)"
        assert plain.count(listed) == protected.count(listed), command
        assert (listed in plain) == (command == "self show plugins")


@pytest.mark.parametrize(
    "lost",
    thorough_but(
        [("lib/lasting.py",)],
        [("lib/lasting.py",), ("lib/lasting-*/entry_points.txt",)],
    ),
)
def test_set_that_has_lost_files_is_made_again(
    lost: str,
    new_plugged: Callable[..., Project],
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """F30."""
    project = new_plugged("lasting")
    venv = new_venv("environment")
    project.poetry(home, "install", venv=venv).succeeded()
    (found,) = project.store.glob(f"plugins/*/*/{lost}")
    found.unlink()

    again = project.poetry(home, "install", venv=venv).succeeded()
    assert "lasting 1.0 is active" in again.out
    assert found.exists()
    once_more = project.poetry(home, "run", "true", venv=venv).succeeded()
    assert "lasting 1.0 is active" in once_more.out
    assert "Installing lasting" not in once_more.out


def test_no_required_plugins_any_more(
    new_plugged: Callable[..., Project], home: PoetryHome
) -> None:
    project = new_plugged("passing")
    assert "passing 1.0 is active" in project.poetry(home, "install").succeeded().out

    text = project.pyproject.read_text()
    project.pyproject.write_text(text.replace('passing = "1.0"', ""))
    result = project.poetry(home, "install").succeeded()

    assert "No project plugins defined." in result.out
    assert "passing" not in result.out
    assert not (project.store / "plugins").exists()
    assert not (project.store / "staging").exists()


def test_required_plugin_that_cannot_be_had(
    new_plugged: Callable[..., Project], home: PoetryHome
) -> None:
    """Poetry's own error, and the set that was there stays."""
    project = new_plugged("existing", "1.0")
    project.poetry(home, "install").succeeded()
    before = tree_hash(project.store / "plugins")

    text = project.pyproject.read_text()
    project.pyproject.write_text(text.replace('"1.0"', '"7.0"'))
    project.poetry(home, "install").failed("existing (7.0) which doesn't match any")

    assert tree_hash(project.store / "plugins") == before
    assert not (project.store / "staging").exists()
    assert "existing 1.0 is active" in project.poetry(home, "check").succeeded().out
