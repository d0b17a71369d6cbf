"""Real Poetrys that install into the very environment they are installed in."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import tempfile

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.index import LocalIndex
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import download
from tests.laboratory.poetries import poetry_home
from tests.laboratory.prefixes import system_python
from tests.laboratory.prefixes import with_poetry
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project
    from tests.laboratory.projects import Result

MODE = "POETRY_SAFE_INSTALL_ON_SELF_CHANGE"
FAULTY = "2.2.1"
"""A Poetry that does not survive packaging 24.1."""
BOTH = tuple(dict.fromkeys((FAULTY, NEWEST)))
OLD = ("packaging==24.1", "more-itertools==10.1.0", "requests==2.32.5")


@pytest.fixture(scope="session", autouse=True)
def wheels() -> None:
    """The releases that lock files of these tests hold, beside those of Poetry."""
    for requirement in OLD:
        name, version = requirement.replace("-", "_").split("==")
        if not list(WHEELS.glob(f"{name}-{version}-*")):
            download(poetry_home(protected=False).python, requirement)


@pytest.fixture
def clone(tmp_path: Path) -> Callable[..., PoetryHome]:
    """A Poetry that the test may damage."""

    def new(version: str = NEWEST, *, protected: bool = True) -> PoetryHome:
        name = f"home-{version}-{protected}"
        return poetry_home(version, protected=protected).clone(tmp_path / name)

    return new


@dataclass(frozen=True)
class Case:
    """A lock file that would damage Poetry.

    ``locked`` are the versions in it, ``accepted`` what the project says it requires.
    """

    command: str
    locked: tuple[str, ...]
    accepted: tuple[str, ...]
    row: tuple[str, ...]


OLDER_PACKAGING = Case(
    "install",
    ("packaging==24.1", "harmless"),
    ("packaging>=24", "harmless"),
    ("packaging", "24.1", "downgraded", "requires packaging>="),
)
OLDER_MORE_ITERTOOLS = Case(
    "install",
    ("more-itertools==10.1.0", "harmless"),
    ("more-itertools>=10", "harmless"),
    ("more-itertools", "10.1.0", "downgraded", "requires more-itertools"),
)
NOTHING_OF_POETRY = Case(
    "sync",
    ("harmless",),
    ("harmless",),
    ("virtualenv", "removed", "requires virtualenv>="),
)
CASES = (OLDER_PACKAGING, OLDER_MORE_ITERTOOLS, NOTHING_OF_POETRY)


@pytest.fixture
def harmless(own_folder: Path) -> Distribution:
    harmless = Distribution("harmless", "1.0", {"harmless.py": ""})
    harmless.wheel(own_folder)
    return harmless


@pytest.fixture
def locked_project(
    new_project: Callable[..., Project], harmless: Distribution
) -> Callable[..., Project]:
    """A project whose lock file holds other versions than the best that it accepts."""

    def new(
        locked: tuple[str, ...], accepted: tuple[str, ...], name: str = "demo"
    ) -> Project:
        plain = poetry_home(protected=False)
        project = new_project(name, name=name, dependencies=locked)
        project.poetry(plain, "lock").succeeded()
        text = project.pyproject.read_text()
        for one, other in zip(locked, accepted, strict=True):
            text = text.replace(f'"{one}"', f'"{other}"')
        project.pyproject.write_text(text)
        project.poetry(plain, "lock").succeeded()
        return project

    return new


def fingerprint(project: Project, *directories: Path) -> dict[str, str]:
    """All that a refused command must leave alone, but for compiled files."""
    files = [project.pyproject, project.path / "poetry.lock"]
    for directory in directories:
        files += [
            file
            for file in sorted(directory.rglob("*"))
            if file.is_file() and file.suffix != ".pyc"
        ]
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.exists()
    }


def version_of(home: PoetryHome, name: str) -> str:
    found = [
        path.name.removesuffix(".dist-info").split("-")[1]
        for path in home.site_packages.glob(f"{name.replace('-', '_')}-*.dist-info")
    ]
    return found[0] if found else ""


def still_works(home: PoetryHome, project: Project) -> None:
    for command in ("--version", "lock", "install"):
        project.poetry(home, command, venv=home.path).succeeded()


def shows(result: Result, *texts: str) -> None:
    flat = " ".join(result.out.split())
    for text in texts:
        assert text in flat, result.out


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row[0])
def test_refuse(
    case: Case,
    version: str,
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
    harmless: Distribution,
) -> None:
    home = clone(version)
    project = locked_project(case.locked, case.accepted)
    before = fingerprint(project, home.site_packages, home.path / "bin")

    result = project.poetry(home, case.command, venv=home.path)

    result.failed(*case.row, "pipx install poetry", "--lock")
    assert f"{MODE}=pin poetry" in result.out or "--on-self-change pin" in result.out
    assert result.code == 1
    assert fingerprint(project, home.site_packages, home.path / "bin") == before
    still_works(home, locked_project(("harmless",), ("harmless",), name="other"))


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row[0])
def test_pin(
    case: Case,
    version: str,
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
) -> None:
    home = clone(version)
    project = locked_project(case.locked, case.accepted)
    name = case.row[0]
    installed = version_of(home, name)
    pin = {MODE: "pin"}

    result = project.poetry(home, case.command, venv=home.path, environ=pin)

    shows(
        result.succeeded(), "Left as they are", f"- {name} {installed}:", case.row[-1]
    )
    assert result.out.index("Left as") > result.out.index("Installing the current")
    assert version_of(home, name) == installed
    assert version_of(home, "harmless") == "1.0"
    assert version_of(home, "demo") == "0.0.0"
    for command in ("--version", "lock", case.command):
        project.poetry(home, command, venv=home.path, environ=pin).succeeded()


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize(
    "case", [OLDER_PACKAGING, NOTHING_OF_POETRY], ids=lambda case: case.row[0]
)
def test_allow_and_unprotected(
    case: Case,
    version: str,
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
) -> None:
    """F6, F7: what comes of it, without the plugin and where the user wants it."""
    project = locked_project(case.locked, case.accepted)
    allow = {MODE: "allow"}
    results = []
    for protected in (False, True):
        home = clone(version, protected=protected)
        results.append(
            project.poetry(
                home, case.command, venv=home.path, environ=allow
            ).succeeded()
        )
        if case is NOTHING_OF_POETRY:
            assert not (home.site_packages / "poetry").exists()
            assert not version_of(home, "poetry")
        else:
            assert version_of(home, "packaging") == "24.1"
        if case is NOTHING_OF_POETRY or version == FAULTY:
            project.poetry(home, "--version").failed("No module named")
        assert version_of(home, "demo") == "0.0.0"

    unprotected, allowed = results
    assert "damage" not in unprotected.out
    shows(allowed, "This will damage the Poetry that runs", *case.row)


def test_pin_is_refused_where_a_requirement_does_not_accept_it(
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
    own_folder: Path,
) -> None:
    Distribution("cattle", "1.0", requires=("packaging<25",)).wheel(own_folder)
    home = clone()
    for project, requirer in (
        (locked_project(("cattle",), ("cattle",), "a"), "cattle 1.0"),
        (locked_project(("packaging<25",), ("packaging<25",), "b"), "the project b"),
    ):
        before = fingerprint(project, home.site_packages)

        refused = project.poetry(home, "install", venv=home.path)
        pinned = project.poetry(home, "install", venv=home.path, environ={MODE: "pin"})

        reason = f"{requirer} requires packaging ("
        refused.failed('"pin" would not do', reason)
        pinned.failed("cannot stay at", reason)
        assert fingerprint(project, home.site_packages) == before


@pytest.mark.parametrize("version", BOTH)
def test_commands_that_write_the_project_are_refused_whole(
    version: str,
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
) -> None:
    home = clone(version)
    project = locked_project(
        ("packaging==24.1", "harmless"), ("packaging<25", "harmless")
    )
    fresh = locked_project(("harmless",), ("harmless",), name="fresh")
    for one, arguments in (
        (fresh, ["add", "packaging<25"]),
        (fresh, ["add", "--group", "dev", "more-itertools<10.5"]),
        (project, ["update"]),
        (project, ["remove", "packaging"]),
        (project, ["install", "--sync"]),
    ):
        before = fingerprint(one, home.site_packages)

        result = one.poetry(home, *arguments, venv=home.path)

        result.failed(
            "would damage the Poetry that runs it",
            "=pin poetry" if arguments[0] != "install" else "safe-install --sync",
        )
        assert fingerprint(one, home.site_packages) == before, arguments


def test_a_project_without_lock_file_gets_none(
    clone: Callable[..., PoetryHome], new_project: Callable[..., Project]
) -> None:
    home = clone()
    project = new_project(dependencies=("packaging<25",))
    before = fingerprint(project, home.site_packages)

    project.poetry(home, "install", venv=home.path).failed("downgraded")

    assert fingerprint(project, home.site_packages) == before


@pytest.mark.parametrize("mode", ["refuse", "pin", "allow"])
def test_dry_run_shows_the_verdict(
    mode: str, clone: Callable[..., PoetryHome], locked_project: Callable[..., Project]
) -> None:
    home = clone()
    project = locked_project(OLDER_PACKAGING.locked, OLDER_PACKAGING.accepted)
    before = fingerprint(project, home.site_packages)

    result = project.poetry(
        home, "install", "--dry-run", venv=home.path, environ={MODE: mode}
    )

    assert result.code == (1 if mode == "refuse" else 0), result.out
    shows(
        result,
        "Installing harmless (1.0)",
        {
            "refuse": "would damage",
            "pin": "Left as they are",
            "allow": "will damage",
        }[mode],
    )
    assert fingerprint(project, home.site_packages) == before


def test_upgrades_come_last_and_one_by_one(
    clone: Callable[..., PoetryHome], locked_project: Callable[..., Project]
) -> None:
    home = clone()
    for old in ("requests-2.32.5", "more_itertools-10.1.0"):
        home.pip_install("--no-deps", *WHEELS.glob(f"{old}-*"))
    project = locked_project(
        ("requests", "more-itertools", "zzz"), ("requests", "more-itertools", "zzz")
    )

    result = project.poetry(home, "install", venv=home.path).succeeded()

    order = [
        line.split()[2] for line in result.out.splitlines() if line.startswith("  - ")
    ]
    assert order == ["zzz", "more-itertools", "requests"], result.out
    still_works(home, project)
