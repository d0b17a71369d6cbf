"""The plugin as a user meets it: added to Poetry, costing nothing, failing clearly."""

from __future__ import annotations

import os
import shutil
import subprocess

from typing import TYPE_CHECKING

import pytest

from tests.laboratory import ROOT
from tests.laboratory import VERSION
from tests.laboratory.distributions import own_wheel
from tests.laboratory.plugins import marker_plugin
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import poetry_home


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project
    from tests.laboratory.users import OtherUser


@pytest.fixture
def self_source(
    environ: dict[str, str], index: LocalIndex, tmp_path: Path
) -> dict[str, str]:
    """A configuration of Poetry whose ``self`` commands ask the local index."""
    directory = tmp_path / "config"
    directory.mkdir()
    (directory / "pyproject.toml").write_text(
        f'[[tool.poetry.source]]\nname = "local"\nurl = "{index.url}"\n'
        'priority = "primary"\n'
    )
    return {**environ, "POETRY_CONFIG_DIR": str(directory)}


@pytest.mark.thorough
@pytest.mark.parametrize("what", ["wheel", "folder"])
def test_self_add(
    what: str,
    plain_home: PoetryHome,
    self_source: dict[str, str],
    new_project: Callable[..., Project],
    tmp_path: Path,
) -> None:
    home = plain_home.clone(tmp_path / "home")
    project = new_project()
    source = own_wheel() if what == "wheel" else ROOT
    project.poetry(home, "self", "add", str(source), environ=self_source).succeeded()

    shown = project.poetry(home, "self", "show", "plugins", environ=self_source)
    assert f"poetry-plugin-safe-install ({VERSION})" in shown.succeeded().out
    assert "1 application plugin" in shown.out
    assert not (project.path / ".poetry").exists()
    project.poetry(home, "install").succeeded()
    assert (project.store / "project.lock").exists()
    assert (project.path / ".poetry" / ".gitignore").read_text() == "*"


NOTHING_TO_PROTECT = (
    ("--version",),
    ("about",),
    ("config", "--list"),
    ("self", "show", "plugins"),
    ("check",),
    ("show",),
)


KEEP_SCHEMAS = {
    *("caches", "caches.schemas", "settings", "errors"),
    *("caches.files", "private_files"),
}
"""What is loaded where Poetry checks the project's file, the second row to write."""


@pytest.mark.thorough
@pytest.mark.parametrize(
    "arguments",
    NOTHING_TO_PROTECT,
    ids=" ".join,
)
def test_no_cost_where_there_is_nothing_to_protect(
    arguments: tuple[str, ...],
    new_project: Callable[..., Project],
    home: PoetryHome,
    plain_home: PoetryHome,
) -> None:
    project = new_project()
    project.lock()
    if arguments[0] == "show":  # which makes the environment that is missing
        project.poetry(plain_home, "install", "--no-root").succeeded()
    before = sorted(project.path.rglob("*"))

    added = _modules(project, home, *arguments) - _modules(
        project, plain_home, *arguments
    )

    assert sorted(project.path.rglob("*")) == before
    own = {name for name in added if name.startswith("poetry_plugin_safe_install.")}
    expected = {"compat", "compat.activation", "compat.internals"}
    if arguments != ("--version",):  # is there a set of the project's plugins?
        expected |= {"compat.command_events", "compat.command_line"}
        expected |= {"compat.schemas", "needs", "store"}
    if arguments[0] == "show":
        expected |= {"plugins_only", "environments", "environments.places"}
        expected |= {"compat.environments"}
    names = {name.partition(".")[2] for name in own} - {"plugin"}
    if arguments != ("--version",):
        names -= KEEP_SCHEMAS
    assert names == expected
    assert not any(name.partition(".")[0] == "filelock" for name in added)


def test_no_project_no_protection(
    home: PoetryHome, environ: dict[str, str], tmp_path: Path
) -> None:
    directory = tmp_path / "nothing here"
    directory.mkdir()
    result = subprocess.run(
        [home.executable, "new", "fresh"],
        cwd=directory,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert not list(directory.rglob(".poetry"))
    result = subprocess.run(
        [home.executable, "install"],
        cwd=directory,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
    )
    assert "could not find a pyproject.toml" in result.stderr
    assert not (directory / ".poetry").exists()


def _modules(project: Project, home: PoetryHome, *arguments: str) -> set[str]:
    """The modules that a command imports."""
    command = project.start(home, *arguments, environ={"PYTHONPROFILEIMPORTTIME": "1"})
    lines = command.result().out.splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if "import time:" in line}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("[project\n", "Invalid TOML file"),
        ("", "requires a project section"),
        (
            '[project]\nname = "a"\nversion = "1"\n'
            '[tool.poetry]\nrequires-plugins = "x"\n',
            "requires-plugins",
        ),
    ],
    ids=["half-written", "empty", "bad requires-plugins"],
)
def test_bad_pyproject_is_poetrys_own_error(
    content: str,
    error: str,
    new_project: Callable[..., Project],
    home: PoetryHome,
    plain_home: PoetryHome,
) -> None:
    project = new_project()
    project.pyproject.write_text(content)
    for arguments in (("install",), ("run", "true"), ("lock",)):
        plain = project.poetry(plain_home, *arguments)
        protected = project.poetry(home, *arguments)
        assert protected == plain
        assert plain.code == 1


@pytest.mark.parametrize("obstacle", ["file", "dangling link"])
def test_poetry_directory_that_cannot_be(
    obstacle: str,
    new_project: Callable[..., Project],
    home: PoetryHome,
) -> None:
    """The lock is kept elsewhere then, and nothing is lost."""
    project = new_project()
    project.lock()
    place = project.path / ".poetry"
    if obstacle == "file":
        place.write_text("precious")
    else:
        place.symlink_to("nowhere")

    result = project.poetry(home, "install", "-v").succeeded()

    assert ".poetry is a " in " ".join(result.out.split())
    if obstacle == "file":
        assert place.read_text() == "precious"
    else:
        assert os.readlink(place) == "nowhere"


@pytest.mark.thorough
def test_poetry_environment_that_the_user_cannot_write(
    new_project: Callable[..., Project],
    own_folder: Path,
    plain_home: PoetryHome,
    other_user: OtherUser,
) -> None:
    """F14: unprotected Poetry cannot install a plugin with a script there."""
    marker_plugin("with-script", "1.0", script=True).wheel(own_folder)
    project = new_project(
        str(other_user.base / "project"), requires_plugins='with-script = "*"'
    )
    project.lock()
    home = plain_home.clone(other_user.base / "home", other_user.python)
    project = other_user.takes(project)

    unprotected = project.poetry(home, "install", **other_user.popen)
    outside = list(other_user.directory.rglob("bin/with-script"))
    assert unprotected.code != 0 or outside  # what this is about
    for path in [*outside, project.path / ".poetry"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    home.pip_install("--no-deps", own_wheel())
    result = project.poetry(home, "install", **other_user.popen)
    assert "with-script 1.0 is active" in result.succeeded().out
    outside = list(other_user.directory.rglob("bin/with-script"))
    assert {path.parents[3].name for path in outside} <= {"plugin-copies"}


def test_sets_that_another_user_has_put_into_a_shared_cache_are_not_loaded(
    own_folder: Path,
    new_project: Callable[..., Project],
    plain_home: PoetryHome,
    other_user: OtherUser,
) -> None:
    """Where the project cannot be written its sets are in the cache directory."""
    marker_plugin("wanted", "1.0").wheel(own_folder)
    project = new_project(
        str(other_user.base / "project"), requires_plugins='wanted = "*"'
    )
    project.lock()
    home = plain_home.clone(other_user.base / "home", other_user.python)
    home.pip_install("--no-deps", own_wheel())
    shared = other_user.base / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    project = other_user.visits(project)
    environ = {"POETRY_CACHE_DIR": str(shared)}
    install = ("install", "--no-root")
    project.poetry(home, *install, environ=environ, **other_user.popen).succeeded()
    for path in (shared / "safe-install", *(shared / "safe-install").rglob("*")):
        os.chown(path, other_user.uid - 1, -1, follow_symlinks=False)
    for module in shared.glob("safe-install/*/plugins/*/*/lib/wanted.py"):
        module.unlink()
        module.write_text("print('this is not wanted')\n")

    result = project.poetry(home, *install, environ=environ, **other_user.popen)
    assert "this is not wanted" not in result.out
    assert "wanted 1.0 is active" in result.succeeded().out
    (own,) = shared.glob("safe-install-*")
    assert own.stat().st_uid == other_user.uid

    os.chown(own, other_user.uid - 1, -1)
    result = project.poetry(home, *install, environ=environ, **other_user.popen)
    assert "wanted 1.0 is active" not in result.out
    assert "another user could put plugins there" in " ".join(result.out.split())


@pytest.mark.thorough
def test_project_that_requires_this_plugin_itself(
    own_folder: Path,
    new_project: Callable[..., Project],
    plain_home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """It protects from the second command on: the first one installs it."""
    own_folder.mkdir()
    shutil.copy(own_wheel(), own_folder)
    marker_plugin("beside", "1.0").wheel(own_folder)
    project = new_project(
        requires_plugins='poetry-plugin-safe-install = "*"\nbeside = "*"'
    )
    venv = new_venv("environment")
    project.lock()
    project.poetry(plain_home, "install", venv=venv).succeeded()

    for _ in range(2):
        result = project.poetry(plain_home, "install", venv=venv).succeeded()
        assert result.out.count("beside 1.0 is active") == 1
        assert (project.store / "project.lock").exists()
        result = project.poetry(plain_home, "run", "true", venv=venv).succeeded()
        assert result.out.count("beside 1.0 is active") == 1

    text = project.pyproject.read_text()
    text = text.replace('poetry-plugin-safe-install = "*"', "")
    project.pyproject.write_text(text)
    project.poetry(plain_home, "install", venv=venv).succeeded()
    unprotected = project.poetry(plain_home, "install", venv=venv).succeeded()
    assert "plugin cache because it is outdated" in unprotected.out
    result = project.poetry(plain_home, "install", venv=venv).succeeded()
    assert result.out.count("beside 1.0 is active") == 1


def test_switched_off(
    new_project: Callable[..., Project],
    home: PoetryHome,
) -> None:
    project = new_project()
    project.lock()
    off = {"POETRY_SAFE_INSTALL_ENABLED": "false"}
    project.poetry(home, "install", environ=off).succeeded()
    assert not (project.path / ".poetry").exists()


@pytest.mark.matrix
@pytest.mark.parametrize("version", POETRY_VERSIONS)
def test_core_scenario(
    version: str,
    new_project: Callable[..., Project],
    own_folder: Path,
    new_venv: Callable[..., Path],
) -> None:
    """Two installs at once and a run, with a plugin that is new to the project."""
    home = poetry_home(version)
    marker_plugin("core", "1.0", script=True).wheel(own_folder)
    project = new_project(requires_plugins='core = "*"')
    project.lock()
    venvs = [new_venv("first"), new_venv("second")]

    running = [project.start(home, "install", venv=venv) for venv in venvs]
    said = [command.result().succeeded().out for command in running]

    assert sum("Installing core" in out for out in said) == 1
    assert all("core 1.0 is active" in out for out in said)
    for venv in venvs:
        result = project.poetry(home, "run", "python", "-c", "import demo", venv=venv)
        assert "core 1.0 is active" in result.succeeded().out
    project.poetry(home, "sync", venv=venvs[0]).succeeded()
    project.poetry(home, "lock").succeeded()
    project.poetry(home, "check").succeeded()
    (script,) = project.store.rglob("core")
    assert script.parent.name == "bin"
    assert not (project.path / ".poetry" / "plugins").exists()
    elsewhere = {"POETRY_VIRTUALENVS_PATH": str(project.path / "venvs")}
    created = project.poetry(home, "install", environ=elsewhere).succeeded()
    assert "Creating virtualenv" in created.out
