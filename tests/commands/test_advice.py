"""Every way out of a refusal works when it is pasted."""

from __future__ import annotations

import re
import shutil
import subprocess

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.changes import RELOCKING_LIMIT
from tests.laboratory.changes import with_constants
from tests.laboratory.on_path import on_path
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import download
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import Project
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome

PATIENT = with_constants({RELOCKING_LIMIT: 120.0})
"""These tests also run where everything takes longer."""

HURRIED = with_constants({RELOCKING_LIMIT: 0.2})

ISOLATE = "Keep Poetry in an environment of its own"
PIN = "Leave these packages as they are"
RELOCK = "Lock versions that Poetry accepts"
KEEP = "Remove nothing"
REMOVE = "Remove it from the project only"


@pytest.fixture(scope="module", autouse=True)
def wheels() -> None:
    if not list(WHEELS.glob("packaging-23.2-*")):
        download(poetry_home(protected=False).python, "packaging==23.2")


@pytest.fixture
def locked(
    new_project: Callable[..., Project], own_folder: Path
) -> Callable[..., Project]:
    """A project whose lock file holds another version than the best it accepts."""
    Distribution("harmless", "1.0", {"harmless.py": ""}).wheel(own_folder)

    def new(accepted: str, wanted: str = "packaging==23.2") -> Project:
        project = new_project(dependencies=(wanted, "harmless"))
        python = f">={DEFAULT_PYTHON},<4.0"
        text = project.pyproject.read_text().replace(">=3.10", python)
        for dependency in (wanted, accepted):
            text = text.replace(f'"{wanted}"', f'"{dependency}"')
            project.pyproject.write_text(text)
            project.lock()
        return project

    return new


def ways_out(said: str) -> dict[str, list[str]]:
    """What each leads to, with the lines to paste."""
    ways: dict[str, list[str]] = {}
    for line in said.partition("Ways out:\n")[2].splitlines():
        if what := re.match(r"  - (.*):$", line):
            lines = ways[what[1]] = []
        elif line.startswith("      "):
            lines.append(line.strip())
    return ways


def paste(project: Project, home: PoetryHome, line: str) -> None:
    environ = project.environment(home.path)
    environ["PATH"] = f"{on_path(home)}:{environ['PATH']}"
    result = subprocess.run(
        ["sh", "-c", line],
        cwd=project.path,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, f"{line}\n{result.stdout}{result.stderr}"


TOO_OLD = "packaging"
"""All accept the newest."""
CASES = {
    "install": (TOO_OLD, ["install"], {PIN, RELOCK}),
    "options": (TOO_OLD, ["install", "--only", "main", "-v"], {PIN, RELOCK}),
    "user's own constraint": ("packaging<24", ["install"], set()),
    "sync": (TOO_OLD, ["sync"], {PIN}),
    "remove": (TOO_OLD, ["remove", "packaging"], {PIN, REMOVE}),
    "update": ("packaging<24", ["update"], set()),
    "add": (TOO_OLD, ["add", "packaging<24"], set()),
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("accepted", "arguments", "expected"), CASES.values(), ids=CASES
)
def test_each_line_works_when_pasted(
    accepted: str,
    arguments: list[str],
    expected: set[str],
    clone: Callable[..., PoetryHome],
    locked: Callable[..., Project],
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    project = locked(accepted)
    home = clone()

    said = project.poetry(home, *arguments, venv=home.path, environ=PATIENT)

    said.failed("would damage the Poetry that runs it")
    ways = ways_out(said.out)
    assert set(ways) == {ISOLATE, *expected}, said.out
    for number, what in enumerate(expected):
        copy = Project(tmp_path / f"pasted-{number}", project.environ)
        shutil.copytree(project.path, copy.path)
        other = clone()
        for line in ways[what]:
            paste(copy, other, line)
        copy.poetry(other, "check", venv=other.path).succeeded()
    project.poetry(poetry_home(), *arguments, venv=new_venv("own")).succeeded()


@pytest.mark.thorough
def test_a_lock_file_that_would_not_be_accepted_either_is_not_advised(
    clone: Callable[..., PoetryHome],
    locked: Callable[..., Project],
    own_folder: Path,
) -> None:
    """The newest release is refused, too: the lines would lead in a circle."""
    for version in ("0.5", "5.0"):
        Distribution("tomlkit", version).wheel(own_folder)
    project = locked("tomlkit", "tomlkit==0.5")
    home = clone()

    said = project.poetry(home, "install", venv=home.path, environ=PATIENT)

    said.failed("would damage the Poetry that runs it")
    assert RELOCK not in ways_out(said.out)


@pytest.mark.thorough
def test_what_is_not_found_in_time_is_not_advised(
    clone: Callable[..., PoetryHome],
    locked: Callable[..., Project],
    tmp_path: Path,
) -> None:
    """The solver is ended when its time is over, and takes its files along."""
    project, home = locked("packaging"), clone()
    (temp := tmp_path / "temp").mkdir()

    said = project.poetry(
        home, "install", venv=home.path, environ={"TMPDIR": str(temp), **HURRIED}
    )

    said.failed("would damage the Poetry that runs it")
    assert set(ways_out(said.out)) == {ISOLATE, PIN}
    assert not list(temp.glob("poetry-safe-install-*"))


def test_the_lines_lead_to_the_project_from_elsewhere(
    clone: Callable[..., PoetryHome], locked: Callable[..., Project], tmp_path: Path
) -> None:
    project = locked("packaging")
    home = clone()
    elsewhere = Project(tmp_path, project.environ)
    where = ("-C", str(project.path))

    said = elsewhere.poetry(home, *where, "install", venv=home.path, environ=PATIENT)

    lines = ways_out(said.out)[RELOCK]
    assert lines == [
        f"poetry --directory {project.path} update --lock packaging",
        f"poetry --directory {project.path} install",
    ]
    for line in lines:
        paste(elsewhere, home, line)
