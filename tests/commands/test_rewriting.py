"""Plugins that rewrite the project for the length of a command, and those that do not."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.barriers import Barrier
from tests.laboratory.cases import thorough_but
from tests.laboratory.environments import installed_version
from tests.laboratory.killing import killed
from tests.laboratory.pausing import Pause
from tests.laboratory.plugins import rewriting_plugin
from tests.laboratory.poetries import download
from tests.laboratory.poetries import poetry_home
from tests.laboratory.preloaded import fixed
from tests.laboratory.preloaded import shared
from tests.laboratory.tagged import make_tagged_project
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

ENABLED = "[tool.rewriting]\nenable = true\n"
INSTALLING = "poetry.installation.wheel_installer:WheelInstaller.install:before"
DYNAMIC = "[tool.poetry-dynamic-versioning]\nenable = true\n"
USES_LIB = f'{DYNAMIC}[tool.poetry.dependencies]\nlib = {{ path = "../lib" }}\n'
LEAF = Distribution("leaf", "1.0", {"leaf/__init__.py": ""})


@pytest.fixture(scope="module")
def rewriting_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoetryHome]:
    """Poetry with this plugin and one that rewrites."""
    base = tmp_path_factory.mktemp("rewriting")
    home = poetry_home().clone(base / "home")
    home.pip_install(rewriting_plugin().wheel(base))
    with fixed(home):
        yield home


@pytest.mark.parametrize(
    "command",
    thorough_but(
        [(("show",),), (("about",),)],
        [(("show",),), (("about",),), (("config", "--list"),)],
    ),
    ids=" ".join,
)
def test_any_command_beside_an_install(
    command: tuple[str, ...],
    new_project: Callable[..., Project],
    rewriting_home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """F18: the plugin rewrites the project for any command, whatever it is called."""
    project = new_project(tail=ENABLED)
    project.lock()
    text = project.pyproject.read_text()
    venv = new_venv("environment")
    with Barrier("rewritten") as rewritten:
        first = project.start(
            rewriting_home, *command, venv=venv, environ=rewritten.environment
        )
        arrival = rewritten.arrival()
        install = project.start(rewriting_home, "install", venv=venv)
        install.says(f"Waiting for the project {project.path}")
        arrival.let_go()
        first.result().succeeded()
        install.result().succeeded()
    assert installed_version(venv) == "9.9.9"

    with Barrier("rewritten") as rewritten:
        install = project.start(
            rewriting_home, "install", venv=venv, environ=rewritten.environment
        )
        arrival = rewritten.arrival()
        second = project.start(rewriting_home, *command, venv=venv)
        second.says(f"Waiting for the project {project.path}")
        arrival.let_go()
        install.result().succeeded()
        second.result().succeeded()
    assert project.pyproject.read_text() == text


def test_services_that_share_a_path_dependency(
    new_project: Callable[..., Project],
    rewriting_home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """A plugin may rewrite the path dependency too: its project is locked as well."""
    lib = new_project("lib", name="lib")
    uses = {
        "dependencies": ("lib",),
        "tail": f'{ENABLED}[tool.poetry.dependencies]\nlib = {{ path = "../lib" }}\n',
    }
    first = new_project("first", name="first", **uses)
    second = new_project("second", name="second", **uses)
    for project in (first, second):
        project.lock()
    with Barrier("rewritten") as rewritten:
        holder = first.start(
            rewriting_home,
            "install",
            venv=new_venv("first"),
            environ=rewritten.environment,
        )
        arrival = rewritten.arrival()
        for command in (("show",), ("lock",)):
            limit = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "0"}
            waiting = second.poetry(rewriting_home, *command, environ=limit)
            waiting.failed(f"Did not wait for the project {lib.path}")
        arrival.let_go()
        holder.result().succeeded()
    second.poetry(rewriting_home, "lock").succeeded()


@pytest.mark.parametrize(
    "command",
    thorough_but([(("check",),)], [(("show",),), (("check",),)]),
    ids=" ".join,
)
def test_reader_of_a_project_that_requires_the_plugin(
    command: tuple[str, ...],
    new_project: Callable[..., Project],
    home: PoetryHome,
    own_folder: Path,
    new_venv: Callable[..., Path],
) -> None:
    """It holds no lock until it is known that the plugin listens."""
    rewriting_plugin().wheel(own_folder)
    project = new_project(tail=ENABLED, requires_plugins='rewriting = "*"')
    project.lock()
    text = project.pyproject.read_text()
    venv = new_venv("environment")
    project.poetry(home, "install", venv=venv).succeeded()
    with Barrier("rewritten") as rewritten:
        first = project.start(home, *command, venv=venv, environ=rewritten.environment)
        arrival = rewritten.arrival()
        install = project.start(home, "install", venv=venv)
        install.says(f"Waiting for the project {project.path}")
        arrival.let_go()
        first.result()
        install.result().succeeded()
    assert installed_version(venv) == "9.9.9"
    assert project.pyproject.read_text() == text


SHOWN = '__version__ = "0.0.0"\n'
SUBSTITUTED = ("shown.py", "told.py")
"""Where the version is put into as well."""

RUNS = "poetry.console.commands.show:ShowCommand.handle:before"


REVERTS = "poetry_dynamic_versioning.plugin:_revert_version"


@pytest.mark.thorough
def test_show_beside_an_install_with_dynamic_versioning(
    dynamic_home: PoetryHome,
    plain_home: PoetryHome,
    index: LocalIndex,
    environ: dict[str, str],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """F18 with the plugin that it was found with."""
    project = make_tagged_project(
        tmp_path / "project", index, [plain_home], environ=environ, required=False
    )
    venv = new_venv("environment")
    with Pause(RUNS) as pause:
        show = project.start(dynamic_home, "show", venv=venv, environ=pause.environment)
        arrival = pause.arrival()
        assert "enable = false" in project.pyproject.read_text()
        install = project.start(dynamic_home, "install", venv=venv)
        install.says(f"Waiting for the project {project.path}")
        arrival.let_go()
        show.result().succeeded()
        install.result().succeeded()
    assert installed_version(venv) == "1.2.3"
    assert is_restored(project)


@pytest.mark.thorough
def test_services_with_dynamic_versioning(
    dynamic_home: PoetryHome,
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Two that share a path dependency, whose version comes from the tag too."""
    new_project("all/lib", name="lib", tail=DYNAMIC)
    services = [
        new_project(f"all/{name}", name=name, dependencies=("lib",), tail=USES_LIB)
        for name in ("first", "second")
    ]
    for service in services:
        service.lock()
    whole = type(services[0])(tmp_path / "all", services[0].environ)
    for arguments in (
        ("init", "--quiet"),
        ("add", "."),
        ("commit", "--quiet", "--message", "first"),
        ("tag", "v1.2.3"),
    ):
        whole.git(*arguments)
    venvs = [new_venv("first"), new_venv("second")]
    running = [
        service.start(dynamic_home, *command, venv=venv)
        for service, venv in zip(services, venvs, strict=True)
        for command in (("install",), ("show",), ("lock",), ("install",))
    ]
    for command in running:
        command.result().succeeded()
    for service, venv in zip(services, venvs, strict=True):
        site = next(venv.glob("lib/python*/site-packages"))
        assert (site / f"{service.path.name}-1.2.3.dist-info").exists()
        assert len(list(site.glob("lib-*.dist-info"))) == 1
        assert is_restored(service)


@pytest.fixture
def tagged(
    plain_home: PoetryHome, index: LocalIndex, environ: dict[str, str], tmp_path: Path
) -> Project:
    """A project whose version is dynamic, for a Poetry that has the plugin itself."""
    path = tmp_path / "project"
    made = make_tagged_project(
        path, index, [plain_home], environ=environ, required=False
    )
    for name in SUBSTITUTED:
        (path / name).write_text(SHOWN)
    made.git("add", ".")
    made.git("commit", "--quiet", "--message", "shown")
    made.git("tag", "--force", "v1.2.3")
    return made


@pytest.fixture
def left_rewritten(
    tagged: Project, dynamic_home: PoetryHome, new_venv: Callable[..., Path]
) -> tuple[Project, str]:
    """What a killed command leaves, and what pyproject.toml was before."""
    text = tagged.pyproject.read_text()
    venv = new_venv("killed")
    with Pause(RUNS) as pause:
        show = tagged.start(dynamic_home, "show", venv=venv, environ=pause.environment)
        pause.arrival()
        show.kill()
    assert "enable = false" in tagged.pyproject.read_text()
    assert all('"1.2.3"' in (tagged.path / one).read_text() for one in SUBSTITUTED)
    return tagged, text


def test_killed_while_rewritten(
    left_rewritten: tuple[Project, str],
    home: PoetryHome,
    dynamic_home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    project, text = left_rewritten
    venv = new_venv("environment")
    locked = project.poetry(home, "lock", venv=venv).succeeded()
    assert f"Put back: {project.pyproject}" in locked.out
    assert project.pyproject.read_text() == text
    assert all((project.path / one).read_text() == SHOWN for one in SUBSTITUTED)
    installed = project.poetry(dynamic_home, "install", venv=venv).succeeded()
    assert "Put back" not in installed.out
    assert installed_version(venv) == "1.2.3"


def test_killed_while_rewritten_and_changed_since(
    left_rewritten: tuple[Project, str], home: PoetryHome
) -> None:
    project, text = left_rewritten
    with project.pyproject.open("a") as file:
        file.write("# somebody's\n")
    changed = project.pyproject.read_text()
    original = project.store / "pyproject.toml.original"
    locked = project.poetry(home, "lock").succeeded()
    assert f"what it was before is kept in {original}." in locked.out
    assert original.read_text() == text
    assert project.pyproject.read_text() == changed
    assert "kept in" not in project.poetry(home, "lock").succeeded().out


def test_killed_after_it_has_written_what_is_rewritten(
    tagged: Project,
    home: PoetryHome,
    dynamic_home: PoetryHome,
    new_venv: Callable[..., Path],
    own_folder: Path,
) -> None:
    """What ``add`` writes has the version in it, until the plugin takes it out."""
    Distribution("late-twig", "1.0", {"late_twig.py": ""}).wheel(own_folder)
    venv, lock = new_venv("environment"), tagged.path / "poetry.lock"
    tagged.poetry(dynamic_home, "lock", venv=venv).succeeded()
    before = [file.read_text() for file in (tagged.pyproject, lock)]
    with Pause(f"{REVERTS}:before") as pause:
        command = ("add", "late-twig")
        add = tagged.start(dynamic_home, *command, venv=venv, environ=pause.environment)
        pause.arrival()
        text = tagged.pyproject.read_text()
        assert "late-twig" in text
        assert "enable = false" in text
        add.kill()

    locked = tagged.poetry(home, "install", venv=venv).succeeded()

    assert f"Put back: {tagged.pyproject}" in locked.out
    assert [file.read_text() for file in (tagged.pyproject, lock)] == before
    tagged.poetry(dynamic_home, *command, venv=venv).succeeded()
    assert is_restored(tagged)
    assert "late-twig" in tagged.pyproject.read_text()
    assert "late-twig" in lock.read_text()


def test_nested_command_puts_nothing_back(
    tagged: Project, dynamic_home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    """What the command has rewritten that has started it is no leftover."""
    script = tagged.path / "build.py"
    command = [str(dynamic_home.executable), "lock", "--no-interaction"]
    script.write_text(
        "import os, subprocess\n"
        f"done = subprocess.run({command!r}, capture_output=True, text=True)\n"
        "with open('said', 'a') as said:\n"
        "    said.write(done.stdout + done.stderr + open('pyproject.toml').read())\n"
    )
    built = "[tool.poetry.build]\nscript = 'build.py'\ngenerate-setup-file = false\n"
    tagged.pyproject.write_text(f"{tagged.pyproject.read_text()}\n{built}")
    tagged.poetry(dynamic_home, "lock").succeeded()
    tagged.git("commit", "-qam", "builds")
    tagged.git("tag", "-f", "v1.2.3")
    tagged.poetry(dynamic_home, "install", venv=new_venv("environment")).succeeded()
    said = (tagged.path / "said").read_text()
    assert "enable = false" in said
    assert "Put back" not in said


@pytest.fixture
def kill_show(
    tagged: Project,
    dynamic_home: PoetryHome,
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> Callable[[int, bool], bool]:
    """Kills ``show`` at a change, and sees that the next command is right."""
    venv, text = new_venv("environment"), tagged.pyproject.read_text()
    tagged.poetry(home, "lock", venv=venv).succeeded()
    poetry = shared(dynamic_home, tagged.environment())

    def kill(at: int, half: bool) -> bool:
        tagged.pyproject.write_text(text)
        below = tagged.path
        found = killed(poetry, tagged, "show", venv=venv, below=below, at=at, half=half)
        tagged.poetry(home, "lock", venv=venv).succeeded()
        assert is_restored(tagged), (at, half)
        texts = [(tagged.path / one).read_text() for one in SUBSTITUTED]
        assert texts == [SHOWN] * 2, (at, half)
        return found.was_killed

    return kill


def test_killed_at_some_rewrites(kill_show: Callable[[int, bool], bool]) -> None:
    assert all(kill_show(at, half) for at in (6, 14) for half in (False, True))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_soak_of_every_rewrite(kill_show: Callable[[int, bool], bool]) -> None:
    at = 1
    while kill_show(at, False):
        kill_show(at, True)
        at += 1
    print(f"\n{2 * at - 2} kills")
    assert at > 10


def test_killed_while_a_path_dependency_is_rewritten(
    dynamic_home: PoetryHome, new_project: Callable[..., Project]
) -> None:
    """The plugin rewrites it when Poetry reads it, in the middle of the command."""
    library = new_project("lib", name="lib", tail=DYNAMIC)
    service = new_project(
        "service", name="service", dependencies=("lib",), tail=USES_LIB
    )
    environ = {**service.environ, "POETRY_DYNAMIC_VERSIONING_BYPASS": "1.2.3"}
    service = replace(service, environ=environ)
    poetry, below = shared(dynamic_home, service.environment()), library.path
    said = ""
    for at in count(3, 4):
        if not killed(poetry, service, "lock", below=below, at=at).was_killed:
            break
        said += service.poetry(dynamic_home, "lock").succeeded().out
        assert is_restored(library), at
    assert f"Put back: {library.pyproject}" in said


def is_restored(project: Project) -> bool:
    """The plugin moves the line with the version, by itself too."""
    text = project.pyproject.read_text()
    return 'version = "0.0.0"' in text and "enable = true" in text


@pytest.mark.thorough
def test_plugin_that_listens_and_rewrites_nothing(
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """With poetry-dotenv-plugin two installs are under way at once."""
    LEAF.wheel(own_folder)
    download(home.python, "poetry-dotenv-plugin", dependencies=True)
    project = new_project(dependencies=("leaf",))
    project.lock()
    home = home.clone(tmp_path / "dotenv-home")
    home.pip_install("poetry-dotenv-plugin")
    (project.path / ".env").write_text("FROM_DOTENV=yes\n")
    with Pause(INSTALLING) as pause:
        running = [
            project.start(
                home, "install", venv=new_venv(name), environ=pause.environment
            )
            for name in ("first", "second")
        ]
        arrivals = [pause.arrival(), pause.arrival()]
        assert {arrival.pid for arrival in arrivals} == {c.pid for c in running}
        for arrival in arrivals:
            arrival.let_go()
        for command in running:
            command.result().succeeded()
    shown = project.poetry(
        home, "run", "printenv", "FROM_DOTENV", venv=new_venv("third")
    )
    assert "yes" in shown.succeeded().out
