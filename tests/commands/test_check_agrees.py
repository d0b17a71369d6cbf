"""``--check`` says what an install then does: a table in which both are run."""

from __future__ import annotations

import json
import shutil

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

import pytest

from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import try_acquire
from tests.laboratory.cases import thorough_but
from tests.laboratory.environments import isolated_environ
from tests.laboratory.environments import make_venv
from tests.laboratory.index import LocalIndex
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import download
from tests.laboratory.poetries import poetry_home
from tests.laboratory.preloaded import Preloaded
from tests.laboratory.projects import Project
from tests.laboratory.projects import make_project
from tests.laboratory.pythons import pythons
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.running import Result

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
BAD_SCRIPT = Edit("[tool.poetry]", '[project.scripts]\nx = "demo"\n[tool.poetry]')
BAD_SCRIPTS = Edit("[tool.poetry]", '[project.scripts]\nx = "a:b:c"\n[tool.poetry]')
FILE_SCRIPT = Edit(
    "[tool.poetry]",
    '[tool.poetry.scripts]\nx = {reference = "GONE", type = "file"}\n[tool.poetry]',
)
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
EDITS = (
    *(NOWHERE, README, PYTHON, STALE, NO_PACKAGE, BAD, UNKNOWN, OFF, NAMED, SCRIPT),
    *(BAD_SCRIPT, BAD_SCRIPTS, FILE_SCRIPT),
)
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
CHECK = ("safe-install", "--check")
JSON = (*CHECK, "--format", "json")
IN_PROJECT = {"POETRY_VIRTUALENVS_IN_PROJECT": "true"}
ENVIRONMENTS = ("none", "no answer", "Poetry's own, to be removed")
ASCII, NO_UTF8 = {"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}
LOCALES = (
    ("empty", ASCII),
    ("empty", NO_UTF8),
    ("installed", ASCII),
    ("no root", ASCII),
    ("installed", {"LC_ALL": "C.UTF-8"}),
)
COUNT = (
    len(HARMLESS + CONTRADICTIONS)
    + len(EDITS + LOCKS + OWN)
    + len(ENVIRONMENTS + LOCALES)
)


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


@dataclass(frozen=True)
class Own:
    """A Poetry that all situations install into, and that must live through them."""

    home: PoetryHome
    preloaded: Preloaded

    def run(self, project: Project, *arguments: str) -> Result:
        environ = project.environment(self.home.path)
        return self.preloaded.run(project, *arguments, environ=environ)


@pytest.fixture(scope="module")
def own(base: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    home = poetry_home(NEWEST).clone(tmp_path_factory.mktemp("own") / "home")
    with Preloaded(home, base.environment()) as preloaded:
        yield Own(home, preloaded)


def edit(project: Project, change: Edit) -> None:
    text = project.pyproject.read_text()
    assert change.old in text
    project.pyproject.write_text(text.replace(change.old, change.new, 1))
    if change.lock:
        with suppress(AssertionError):  # some cannot be locked, as an install finds out
            project.lock()


Run = Callable[..., "Result"]
"""Runs a command of Poetry in a project, with an activated environment."""


def into(
    venv: Path | None,
    home: PoetryHome | None = None,
    environ: dict[str, str] | None = None,
) -> Run:
    def run(project: Project, *arguments: str) -> Result:
        of = home or poetry_home()
        return project.poetry(of, *arguments, venv=venv, environ=environ)

    return run


def agree(project: Project, run: Run, *options: str) -> str:
    """Check first, then install; what the first says is what the second does.

    :return: the findings.
    """
    checked = run(project, *JSON, *options)
    installed = run(project, "safe-install", *options)

    said = told_by(checked)
    assert said["refused"] == (checked.code == 1)
    if said["known"]:
        assert said["refused"] == (installed.code != 0), (said, installed.out)
    return json.dumps(said["findings"])


def told_by(checked: Result) -> Any:
    """What is on stdout; on stderr there may be more, before it or after it."""
    start, end = checked.out.index("{\n"), checked.out.rindex("}") + 1
    return json.loads(checked.out[start:end])


def test_there_are_enough_of_them() -> None:
    assert COUNT >= 40


@pytest.mark.parametrize(
    "options",
    thorough_but(
        [(each,) for each in (*HARMLESS[::4], *CONTRADICTIONS[::4])],
        [(each,) for each in (*HARMLESS, *CONTRADICTIONS)],
    ),
    ids=" ".join,
)
def test_options(options: tuple[str, ...], project: Project, tmp_path: Path) -> None:
    agree(project, into(make_venv(tmp_path / "venv")), *options)


@pytest.mark.parametrize(
    "change",
    thorough_but(
        [(each,) for each in (NOWHERE, STALE, BAD, OFF, BAD_SCRIPT)],
        [(each,) for each in EDITS],
    ),
    ids=lambda change: change.new[:30],
)
def test_projects(change: Edit, project: Project, tmp_path: Path) -> None:
    if change is PYTHON:  # Poetry asks every Python that it finds: let there be few.
        few = {**project.environ, "PATH": "/usr/bin:/bin", "PYENV_ROOT": ""}
        project = Project(project.path, few)
    edit(project, change)
    agree(project, into(make_venv(tmp_path / "venv")))


@pytest.mark.parametrize("text", LOCKS, ids=str)
def test_lock_files(text: str | None, project: Project, tmp_path: Path) -> None:
    run = into(make_venv(tmp_path / "venv"))
    if text == "held":
        lock = Lock(project.store / "project.lock", "the project")
        hold = try_acquire(lock, Mode.EXCLUSIVE, "poetry lock")
        assert hold
        agree(project, run, "--lock-timeout", "0")
        hold.release()
        return
    write_lock(project, text)
    agree(project, run)


ALIKE = (
    (None, "kept", ()),
    (BAD, "kept", ()),
    (None, None, ()),
    (None, "kept", ("--with", "other")),
    (STALE, "kept", ()),
    (None, "[[", ()),
)


@pytest.mark.parametrize(("change", "text", "options"), thorough_but(ALIKE[:3], ALIKE))
def test_the_table_says_what_the_json_says(
    change: Edit | None,
    text: str | None,
    options: tuple[str, ...],
    project: Project,
    tmp_path: Path,
) -> None:
    """In its last line."""
    if change:
        edit(project, change)
    if text != "kept":
        write_lock(project, text)
    run = into(make_venv(tmp_path / "venv"))

    said = told_by(run(project, *JSON, *options))
    table = run(project, *CHECK, *options)

    assert said["refused"] == (table.code == 1)
    last = table.out.strip().splitlines()[-1]
    assert ("would be refused;" in last and "Not" not in last) == said["refused"]
    assert last.startswith("Not known") != said["known"]


def write_lock(project: Project, text: str | None) -> None:
    """Have this lock file, or none."""
    file = project.path / "poetry.lock"
    file.unlink()
    if text is not None:
        file.write_text(text)


@pytest.mark.parametrize(("change", "options"), thorough_but(OWN[4:5], OWN))
def test_poetrys_own_environment(
    change: Edit | None, options: tuple[str, ...], project: Project, own: Own
) -> None:
    if change:
        edit(project, change)
    agree(project, own.run, *options)
    project.poetry(own.home, "--version").succeeded()


@pytest.mark.parametrize(
    "kind",
    thorough_but(
        [(kind,) for kind in ENVIRONMENTS[:2]], [(kind,) for kind in ENVIRONMENTS]
    ),
)
def test_environments(kind: str, project: Project, tmp_path: Path) -> None:
    home, venv, expected = poetry_home(), None, "makes an environment of its own"
    if kind == "no answer":
        venv = tmp_path / "venv"
        (venv / "bin").mkdir(parents=True)
        python = venv / "bin" / "python"
        python.write_text("#!/bin/sh\necho oops\nexit 3\n")
        python.chmod(0o755)
        expected = f"{python} ends with exit status 3: oops"
    elif kind != "none":
        home = poetry_home(NEWEST).clone(project.path / ".venv")
        (home.path / "bin" / "python").rename(home.path / "bin" / "python-own")
        script = home.executable.read_text().replace("/python\n", "/python-own\n")
        home.executable.write_text(script)
        expected = "which is not removed"

    said = agree(project, into(venv, home, IN_PROJECT))

    assert expected in said
    assert "import json" not in said


@pytest.mark.thorough
def test_another_python_for_the_environment_of_poetry(project: Project) -> None:
    """``env use`` makes an environment of that name again: not where Poetry is."""
    others = [python for minor, python in pythons().items() if minor != DEFAULT_PYTHON]
    if not others:
        pytest.skip("needs two minor versions of Python: install another one")
    edit(project, Edit(f'">={DEFAULT_PYTHON},<4.0"', '">=3.10,<4.0"', lock=False))
    home = poetry_home(NEWEST).clone(project.path / ".venv")
    run = into(None, home, IN_PROJECT)

    said = run(project, *CHECK)
    used = run(project, "env", "use", str(others[0]))

    assert (
        "`poetry env use` with another Python, which removes it, is refused" in said.out
    )
    used.failed("which is not removed")
    project.poetry(home, "--version").succeeded()


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "locale"), LOCALES)
def test_locales(
    kind: str, locale: dict[str, str], base: Project, tmp_path: Path
) -> None:
    """Where the path has a letter that the locale has no encoding for.

    A path file that is written in UTF-8 ends every Python in another locale.
    """
    project = Project(tmp_path / "pr\u00fcf", base.environ)
    shutil.copytree(base.path, project.path)
    venv = make_venv(project.path / ".venv")
    if kind == "installed":
        utf8 = into(venv, environ={"LC_ALL": "C.UTF-8"})
        utf8(project, "install").succeeded()
    run, options = (
        into(venv, environ=locale),
        ["--no-root"] if kind == "no root" else [],
    )

    said = agree(project, run, *options)

    assert "import json" not in said
    table = run(project, *CHECK, *options).out
    assert ("would be refused;" in table) == ("LC_ALL=C.UTF-8" in said)
    assert ("would be refused;" in table) == ("LC_ALL=C.UTF-8" in table)
