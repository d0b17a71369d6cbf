"""Git dependencies: commands that clone one repository, and are killed meanwhile."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.cases import thorough_but
from tests.laboratory.libraries import make_library
from tests.laboratory.pausing import Pause
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import Project


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RESET = {
    "2.0.1": "dulwich.repo:Repo.reset_index",
    "2.5.1": "dulwich.worktree:WorkTree.reset_index",
}
"""Where the clone is at the wanted commit and has no files yet."""


@pytest.fixture
def environ(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A cold cache for every test."""
    return {**environ, "POETRY_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = make_library(tmp_path / "library", "in-tree")
    git = Project(path).git
    git("init", "--quiet", "--initial-branch", "main")
    git("add", "--all")
    git("commit", "--quiet", "--message", "first")
    return path


@pytest.fixture
def project(new_project: Callable[..., Project], repository: Path) -> Project:
    """Its dependency is named by its branch, and locked by its commit."""
    return new_project(dependencies=(f"library @ git+file://{repository}@main",))


@pytest.mark.parametrize(
    ("protected", "command", "version"),
    thorough_but(
        [(True, "install", "2.5.1")],
        product((True, False), ("lock", "install"), RESET),
    ),
)
def test_killed_between_the_commit_and_its_files(
    protected: bool,
    command: str,
    version: str,
    project: Project,
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """By a command with the plugin, or by Poetry alone, which sets no mark."""
    home, venv = poetry_home(version), new_venv("venv")
    if command == "install":
        project.poetry(home, "lock", venv=new_venv("other")).succeeded()
    with Pause(f"{RESET[version]}:before") as pause:
        killed = project.start(
            poetry_home(version, protected=protected),
            command,
            venv=venv,
            environ=pause.environment,
        )
        pause.arrival()
        killed.kill()
    clone = venv / "src" / "library"
    assert (clone / ".git").exists()
    assert not (clone / "backend.py").exists()

    result = project.poetry(home, command, venv=venv).succeeded()

    assert f"{clone} was not finished" in " ".join(result.out.split())
    assert (clone / "backend.py").exists()
    project.poetry(home, "install", venv=venv).succeeded()
    assert list(venv.glob("lib/python*/site-packages/library/__init__.py"))
    assert not list((venv / "src" / ".safe-install").glob("*.unfinished"))


@pytest.mark.parametrize(
    "version", thorough_but([("2.5.1",)], [(version,) for version in RESET])
)
def test_three_commands_lock_one_project(
    version: str, project: Project, new_venv: Callable[..., Path]
) -> None:
    home, venv = poetry_home(version), new_venv("venv")
    running = [project.start(home, "lock", venv=venv) for _ in range(3)]
    for each in running:
        each.result().succeeded()
    project.poetry(home, "install", venv=venv).succeeded()
