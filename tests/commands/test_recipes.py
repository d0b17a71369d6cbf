"""The recipes of docs/recipes.md, run as they are printed there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest
import yaml

from tests.laboratory import ROOT
from tests.laboratory.projects import Project
from tests.laboratory.projects import Result
from tests.laboratory.pythons import pythons
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping

    from tests.laboratory.poetries import PoetryHome

TIMEOUT = 300


BIN = Path(sys.executable).parent
"""Where the tests' own tox and pre-commit are."""


@cache
def recipe(heading: str, language: str) -> str:
    """The first block in this language beneath a heading."""
    text = (ROOT / "docs" / "recipes.md").read_text()
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    block = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert block, heading
    return block[1]


def shell(
    command: str,
    project: Project,
    home: PoetryHome,
    venv: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Result:
    environment = project.environment(venv, environ)
    minors = [python.parent for python in pythons().values()]
    path = [home.executable.parent, BIN, *minors, environment["PATH"]]
    environment["PATH"] = os.pathsep.join(map(str, path))
    done = subprocess.run(
        ["bash", "-eu", "-c", command],
        cwd=project.path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    return Result(done.returncode, done.stdout)


def steps(heading: str) -> Any:
    """A recipe in YAML, parsed."""
    return yaml.safe_load(recipe(heading, "yaml"))


@pytest.fixture(scope="session")
def plugin(folder: Path) -> str:
    """Something for ``requires-plugins``, so that there are plugin sets to make."""
    Distribution(
        "recipe-plugin",
        "1.0",
        {
            "recipe_plugin.py": "from poetry.plugins.application_plugin import"
            " ApplicationPlugin\nclass Plugin(ApplicationPlugin):\n"
            "    def activate(self, application): pass\n"
        },
        entry_points="[poetry.application.plugin]\nr = recipe_plugin:Plugin\n",
    ).wheel(folder)
    return 'recipe-plugin = "*"'


@pytest.fixture(scope="session")
def dependency(folder: Path) -> str:
    Distribution("recipe-thing", "1.0", {"recipe_thing.py": ""}).wheel(folder)
    return "recipe-thing"


TEST = """\
import unittest

import demo
import recipe_thing


class Test(unittest.TestCase):
    def test_nothing(self) -> None:
        pass
"""


@pytest.fixture
def project(
    new_project: Callable[..., Project], plugin: str, dependency: str
) -> Project:
    project = new_project(dependencies=(dependency,), requires_plugins=plugin)
    (project.path / "test_demo.py").write_text(TEST)
    project.git("init", "-q")
    project.lock()
    project.git("add", ".")
    return project


def need(*minors: str) -> None:
    if missing := set(minors) - set(pythons()):
        pytest.skip(f"install Python {', '.join(sorted(missing))}")


def test_tox_in_parallel(project: Project, home: PoetryHome) -> None:
    (project.path / "tox.ini").write_text(recipe("tox in parallel", "ini"))
    need("3.10", "3.11", "3.12", "3.13")
    out = shell(recipe("tox in parallel", "bash"), project, home).succeeded().out
    for name in ("py310", "py311", "py312", "py313"):
        assert f"{name}: OK" in out
    assert "congratulations" in out
    sets = [path for path in project.store.glob("plugins/*/*") if path.is_dir()]
    assert len(sets) == 1  # Poetry has one Python; the four share its set
    assert project.git("status", "--short", ".poetry") == ""


def test_github_actions(project: Project, home: PoetryHome) -> None:
    need("3.11", "3.12")
    job = steps("GitHub Actions")["jobs"]["test"]
    for step in job["steps"]:
        if "run" in step and "pipx" not in step["run"]:
            shell(step["run"], project, home, environ=job["env"]).succeeded()
    for python in ("3.11", "3.12"):
        test = f".venv-{python}/bin/python -m unittest"
        shell(test, project, home).succeeded()


def test_gitlab(project: Project, home: PoetryHome) -> None:
    need("3.11", "3.12")
    job = steps("GitLab")["test"]
    (matrix,) = job["parallel"]["matrix"]
    with ThreadPoolExecutor() as pool:
        jobs = [
            pool.submit(
                shell,
                "\n".join(job["script"]),
                project,
                home,
                environ={**job["variables"], "PYTHON": python},
            )
            for python in matrix["PYTHON"]
        ]
    for finished in jobs:
        finished.result().succeeded()


def test_docker(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path], tmp_path: Path
) -> None:
    """Its Poetry commands, with a virtual environment for the image's Python."""
    venv = new_venv("image")
    lines = recipe("Docker", "dockerfile").splitlines()
    environ = dict(
        line.removeprefix("ENV ").split("=") for line in lines if line[:4] == "ENV "
    )
    commands = [line.removeprefix("RUN ") for line in lines if "RUN poetry" in line]
    assert len(commands) == 2
    before = list((tmp_path / "venvs").glob("*"))
    for command in commands:
        shell(command, project, home, venv, environ).succeeded()
    shell(f"{venv}/bin/python -m unittest", project, home).succeeded()
    assert list((tmp_path / "venvs").glob("*")) == before


def test_pre_commit(project: Project, home: PoetryHome) -> None:
    (project.path / ".pre-commit-config.yaml").write_text(recipe("pre-commit", "yaml"))
    project.git("add", ".")
    run = "pre-commit run --all-files"
    failed = shell(run, project, home)
    failed.failed("Poetry could install", "Passed")  # nothing is installed yet
    project.poetry(home, "safe-install").succeeded()
    shell(run, project, home).succeeded()
    tail = "[tool.poetry-plugin-safe-install]\nenabeld = true\n"
    project.pyproject.write_text(project.pyproject.read_text() + tail)
    shell(run, project, home).failed("Did you mean enabled?")


def test_monorepo(
    new_project: Callable[..., Project], home: PoetryHome, plugin: str, tmp_path: Path
) -> None:
    new_project("repository/shared", name="shared")
    for name in ("one", "two", "three"):
        new_project(
            f"repository/services/{name}",
            name=name,
            requires_plugins=plugin,
            tail="[tool.poetry.dependencies]\n"
            'shared = { path = "../../shared", develop = true }\n',
        )
    repository = Project(tmp_path / "repository", new_project("any").environ)
    shell(recipe("Monorepo", "bash"), repository, home).succeeded()
    for name in ("one", "two", "three"):
        test = f"poetry -C services/{name} run python -c 'import {name}, shared'"
        shell(test, repository, home).succeeded()


def test_fail_early(project: Project, home: PoetryHome) -> None:
    if shutil.which("jq") is None:
        pytest.skip("install jq")
    shell(recipe("Fail early", "bash"), project, home).succeeded()
    environ = {"POETRY_SAFE_INSTALL_LOCK_SCOPE": "all"}
    failed = shell(recipe("Fail early", "bash"), project, home, environ=environ)
    failed.failed("LOCK_SCOPE must be one of", "correct it")
