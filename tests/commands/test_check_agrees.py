"""``--check`` says what an install then does: a table in which both are run."""

from __future__ import annotations

import json
import shutil
import subprocess

from typing import TYPE_CHECKING
from typing import NamedTuple

import pytest

from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import try_acquire
from tests.laboratory.environments import isolated_environ
from tests.laboratory.environments import make_venv
from tests.laboratory.index import LocalIndex
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import download
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import Project
from tests.laboratory.projects import make_project
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome

OLD = "packaging==23.2"
TAIL = f"""\
[project.optional-dependencies]
more = ["harmless"]

[tool.poetry.group.dev.dependencies]
harmless = "*"

[tool.poetry.group.old]
optional = true

[tool.poetry.group.old.dependencies]
packaging = "{OLD.partition("==")[2]}"
"""


class Edit(NamedTuple):
    """What is changed in pyproject.toml; the project is locked again if ``lock``."""

    old: str
    new: str
    lock: bool = True


NAMED = Edit('name = "demo"', 'name = "tomlkit"')
SCRIPT = Edit("[tool.poetry]", '[project.scripts]\npoetry = "demo:x"\n[tool.poetry]')
NOWHERE = Edit('include = "demo"', 'include = "nowhere"')
README = Edit('dynamic = ["version"]', 'dynamic = ["version"]\nreadme = "GONE.md"')
PYTHON = Edit('">=3.11,<4.0"', '"==3.11.0"')
STALE = Edit("dependencies = []", 'dependencies = ["harmless"]', lock=False)
NO_PACKAGE = Edit("[tool.poetry]", "[tool.poetry]\npackage-mode = false")
SECTION = "[tool.poetry-plugin-safe-install]\n"
BAD = Edit(SECTION, SECTION + 'on-self-change = "perhaps"\n', lock=False)
UNKNOWN = Edit(SECTION, SECTION + "enabeld = true\n", lock=False)
OFF = Edit(SECTION, SECTION + "enabled = false\n", lock=False)
STRICT = ("--on-self-change", "strict")
PIN = ("--on-self-change", "pin")

HARMLESS = (
    (),
    ("--sync",),
    ("--no-root",),
    ("--only-root",),
    ("--no-directory",),
    ("--compile",),
    ("--all-extras",),
    ("--all-groups",),
    ("--only", "main"),
    ("--without", "dev"),
    ("--with", "old"),
    ("--extras", "more"),
)
CONTRADICTIONS = (
    ("--with", "other"),
    ("--without", "other"),
    ("--only", "other"),
    ("--extras", "other"),
    ("--extras", "more", "--all-extras"),
    ("--only-root", "--with", "old"),
    ("--only-root", "--no-root"),
    ("--all-groups", "--only", "main"),
    ("--lock-timeout", "soon"),
)
EDITS = (NOWHERE, README, PYTHON, STALE, NO_PACKAGE, BAD, UNKNOWN, OFF, NAMED, SCRIPT)
LOCKS = (None, "[[", "", "lock-version = 99", "held")
OWN = (
    (None, ()),
    (None, ("--with", "old")),
    (None, ("--with", "old", *PIN)),
    (None, ("--all-groups",)),
    (None, ("--all-groups", "--only-root")),
    (None, ("--sync",)),
    (None, ("--sync", *PIN)),
    (None, ("--only", "dev", *STRICT)),
    (NAMED, ()),
    (NAMED, PIN),
    (NAMED, ("--no-root",)),
    (SCRIPT, ()),
    (SCRIPT, ("--only-root",)),
    (SCRIPT, ("--no-root",)),
    (NOWHERE, ()),
)
COUNT = len(HARMLESS + CONTRADICTIONS) + len(EDITS + LOCKS + OWN)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A locked project, which each situation copies."""
    folder = tmp_path_factory.mktemp("agrees")
    if not list(WHEELS.glob("packaging-23.2-*")):
        download(poetry_home(protected=False).python, OLD)
    Distribution("harmless", "1.0", {"harmless.py": ""}).wheel(folder / "wheels")
    with LocalIndex(folder / "wheels", WHEELS, STAND_INS) as index:
        environ = isolated_environ(folder / "poetry")
        project = make_project(
            folder / "project", index, environ=environ, tail=TAIL + SECTION
        )
        edit(project, Edit('">=3.10"', f'">={DEFAULT_PYTHON},<4.0"'))
        yield project


@pytest.fixture
def project(base: Project, tmp_path: Path) -> Project:
    shutil.copytree(base.path, tmp_path / "project")
    return Project(tmp_path / "project", base.environ)


@pytest.fixture(scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> PoetryHome:
    """A Poetry that all situations install into, and that must live through them."""
    return poetry_home(NEWEST).clone(tmp_path_factory.mktemp("own") / "home")


def edit(project: Project, change: Edit) -> None:
    text = project.pyproject.read_text()
    assert change.old in text
    project.pyproject.write_text(text.replace(change.old, change.new, 1))
    if change.lock:
        project.poetry(poetry_home(protected=False), "lock")


def agree(
    project: Project, home: PoetryHome, options: tuple[str, ...], venv: Path
) -> None:
    """Check first, then install; what the first says is what the second does."""
    command = [str(home.executable), "safe-install", "--check", "--format", "json"]
    result = subprocess.run(
        [*command, *options],
        cwd=project.path,
        env=project.environment(venv),
        capture_output=True,
        text=True,
    )
    said = json.loads(result.stdout)
    table = project.poetry(home, "safe-install", "--check", *options, venv=venv)
    installed = project.poetry(home, "safe-install", *options, venv=venv)

    assert said["refused"] == (result.returncode == 1) == (table.code == 1)
    last = table.out.strip().splitlines()[-1]
    assert ("would be refused;" in last and "Not" not in last) == said["refused"]
    assert last.startswith("Not known") != said["known"]
    if said["known"]:
        assert said["refused"] == (installed.code != 0), (said, installed.out)


def test_there_are_enough_of_them() -> None:
    assert COUNT >= 40


@pytest.mark.parametrize("options", [*HARMLESS, *CONTRADICTIONS], ids=" ".join)
def test_options(options: tuple[str, ...], project: Project, tmp_path: Path) -> None:
    agree(project, poetry_home(), options, make_venv(tmp_path / "venv"))


@pytest.mark.parametrize("change", EDITS, ids=lambda change: change.new[:30])
def test_projects(change: Edit, project: Project, tmp_path: Path) -> None:
    edit(project, change)
    agree(project, poetry_home(), (), make_venv(tmp_path / "venv"))


@pytest.mark.parametrize("text", LOCKS, ids=str)
def test_lock_files(text: str | None, project: Project, tmp_path: Path) -> None:
    file, hold = project.path / "poetry.lock", None
    options: tuple[str, ...] = ()
    if text == "held":
        lock = Lock(project.store / "project.lock", "the project")
        hold = try_acquire(lock, Mode.EXCLUSIVE, "poetry lock")
        options = ("--lock-timeout", "0")
    else:
        file.unlink()
        if text is not None:
            file.write_text(text)
    agree(project, poetry_home(), options, make_venv(tmp_path / "venv"))
    if hold:
        hold.release()


@pytest.mark.parametrize(("change", "options"), OWN)
def test_poetrys_own_environment(
    change: Edit | None,
    options: tuple[str, ...],
    project: Project,
    own_home: PoetryHome,
) -> None:
    if change:
        edit(project, change)
    agree(project, own_home, options, own_home.path)
    project.poetry(own_home, "--version").succeeded()
