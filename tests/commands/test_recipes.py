"""The recipes of docs/recipes.md and docs/ci.md, run as they are printed there.

What succeeds has to, and a failure anywhere in it has to be seen.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest
import yaml

from tests.laboratory import ROOT
from tests.laboratory.cases import thorough_but
from tests.laboratory.interpreters import write_interpreter
from tests.laboratory.on_path import on_path
from tests.laboratory.projects import Project
from tests.laboratory.pythons import pythons
from tests.laboratory.running import Result
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome

TIMEOUT = 300


BIN = Path(sys.executable).parent
"""Where the tests' own tox and pre-commit are."""


@cache
def recipe(heading: str, language: str, page: str = "recipes.md", nth: int = 0) -> str:
    """A block in this language under a heading."""
    text = (ROOT / "docs" / page).read_text()
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert len(blocks) > nth, heading
    return blocks[nth]


@cache
def interpreters() -> Path:
    """A directory with ``python3.12`` and so on."""
    directory = Path(tempfile.mkdtemp(prefix="interpreters-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    for minor, python in pythons().items():
        write_interpreter(directory / f"python{minor}", python)
    return directory


def shell(
    command: str,
    project: Project,
    home: PoetryHome,
    venv: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Result:
    environment = project.environment(venv, environ)
    own = home.executable.parent
    path = [on_path(home), own, BIN, interpreters(), environment["PATH"]]
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


BAD_SETTING = "[tool.poetry-plugin-safe-install]\nenabeld = true\n"


def spoil(project: Project) -> None:
    """Have every install in a project fail."""
    project.pyproject.write_text(project.pyproject.read_text() + BAD_SETTING)


def spoil_environment(venv: Path, minor: str) -> None:
    """Have every install into one environment fail, and into no other."""
    in_the_way = venv / "lib" / f"python{minor}" / "site-packages" / "recipe_thing.py"
    in_the_way.mkdir(parents=True)
    (in_the_way / "file").touch()


def need(*minors: str) -> None:
    if missing := set(minors) - set(pythons()):
        pytest.skip(f"install Python {', '.join(sorted(missing))}")


@pytest.mark.thorough
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


@pytest.mark.thorough
def test_tox_shows_a_failure(project: Project, home: PoetryHome) -> None:
    need("3.10", "3.11", "3.12", "3.13")
    (project.path / "tox.ini").write_text(recipe("tox in parallel", "ini"))
    spoil_environment(project.path / ".tox" / "py310", "3.10")
    shell("tox -p all", project, home).failed("py310: FAIL", "py313: OK")


def github_steps() -> tuple[list[str], dict[str, str]]:
    """What the job runs, but for getting Poetry; and its variables."""
    job = steps("GitHub Actions")["jobs"]["test"]
    run = [step["run"] for step in job["steps"] if "run" in step]
    return [command for command in run if "pipx" not in command], job["env"]


@pytest.mark.thorough
def test_github_actions(project: Project, home: PoetryHome) -> None:
    need("3.11", "3.12")
    commands, environ = github_steps()
    for command in commands:
        shell(command, project, home, environ=environ).succeeded()
    for python in ("3.11", "3.12"):
        test = f".venv-{python}/bin/python -m unittest"
        shell(test, project, home).succeeded()


@pytest.mark.thorough
def test_github_actions_show_a_failure(project: Project, home: PoetryHome) -> None:
    """Of the first of two installs; the second one ends later, and well."""
    need("3.11", "3.12")
    spoil_environment(project.path / ".venv-3.11", "3.11")
    *_, install = github_steps()[0]
    # The shell of a step ends at an error, so that less is seen by one that goes on.
    shell(f"set +e\n{install}", project, home).failed("recipe_thing.py")
    done = f"{project.path}/.venv-3.12/bin/python -c 'import recipe_thing'"
    shell(done, project, home).succeeded()


@pytest.mark.thorough
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


@pytest.mark.thorough
def test_gitlab_shows_a_failure(project: Project, home: PoetryHome) -> None:
    need("3.11")
    spoil_environment(project.path / ".venv-3.11", "3.11")
    script = "\n".join(steps("GitLab")["test"]["script"])
    shell(script, project, home, environ={"PYTHON": "3.11"}).failed("recipe_thing.py")


@pytest.mark.parametrize(
    "heading",
    thorough_but([("GitLab's cache",)], [("GitHub's cache",), ("GitLab's cache",)]),
)
def test_restored_cache(
    heading: str,
    project: Project,
    home: PoetryHome,
    index: LocalIndex,
    tmp_path: Path,
) -> None:
    """The next job, on a fresh machine: what the cache action has packed, and no more."""
    where: Path
    if heading == "GitHub's cache":
        job = steps(heading)["jobs"]["test"]
        (cache,) = [step for step in job["steps"] if "cache" in step.get("uses", "")]
        script = [step["run"] for step in job["steps"] if "run" in step][1:]
        assert cache["with"]["path"] == "~/.cache/pypoetry"  # Poetry's own default
        where = tmp_path / "runner" / ".cache" / "pypoetry"
    else:
        job = steps(heading)["test"]
        (kept,) = job["cache"]["paths"]
        place = job["variables"]["POETRY_CACHE_DIR"]
        assert place == f"$CI_PROJECT_DIR/{kept}"
        script, where = job["script"], project.path / kept
    environ = {"POETRY_CACHE_DIR": str(where), "POETRY_VIRTUALENVS_IN_PROJECT": "true"}

    def run() -> str:
        out = [
            shell(each, project, home, environ=environ).succeeded().out
            for each in script
        ]
        return "".join(out)

    assert "Installing recipe-plugin" in run()
    archive = tmp_path / "cache.tar"
    subprocess.run(["tar", "-cf", archive, "-P", where], check=True)
    shutil.rmtree(where)
    project.git("commit", "--quiet", "--message", "first")
    project.git("clean", "-ffdxq")
    subprocess.run(["tar", "-xf", archive, "-P"], check=True)
    asked = len(index.requests)

    assert "plugin set copied" in (said := run())
    assert "Installing recipe-plugin" not in said
    assert not [path for path in index.requests[asked:] if "recipe-plugin" in path]


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
    spoil(project)
    for command in commands:
        shell(command, project, home, venv, environ).failed("Did you mean enabled?")


@pytest.mark.thorough
def test_pre_commit(project: Project, home: PoetryHome) -> None:
    (project.path / ".pre-commit-config.yaml").write_text(recipe("pre-commit", "yaml"))
    project.git("add", ".")
    run = "pre-commit run --all-files"
    failed = shell(run, project, home)
    failed.failed("Poetry could install", "Passed")  # nothing is installed yet
    project.poetry(home, "safe-install").succeeded()
    shell(run, project, home).succeeded()
    spoil(project)
    shell(run, project, home).failed("Did you mean enabled?")


SERVICES = ("one", "three", "two")


@pytest.fixture
def repository(
    new_project: Callable[..., Project], plugin: str, tmp_path: Path
) -> Project:
    new_project("repository/shared", name="shared")
    for name in SERVICES:
        new_project(
            f"repository/services/{name}",
            name=name,
            requires_plugins=plugin,
            tail="[tool.poetry.dependencies]\n"
            'shared = { path = "../../shared", develop = true }\n',
        )
    return Project(tmp_path / "repository", new_project("any").environ)


@pytest.mark.thorough
def test_monorepo(repository: Project, home: PoetryHome) -> None:
    shell(recipe("Monorepo", "bash"), repository, home).succeeded()
    for name in SERVICES:
        test = f"poetry -C services/{name} run python -c 'import {name}, shared'"
        shell(test, repository, home).succeeded()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("service", "option"),
    # With +e an error ends neither the shell nor the loop.
    [*product((SERVICES[0], SERVICES[-1]), ("-e", "+e"))],
)
def test_monorepo_shows_a_failure(
    service: str, option: str, repository: Project, home: PoetryHome
) -> None:
    """Of the first service and of the last, in shells that go on and that end."""
    spoil(Project(repository.path / "services" / service))
    script = f"set {option}\n{recipe('Monorepo', 'bash')}"
    shell(script, repository, home).failed("Did you mean enabled?")


def test_several_installs(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    script = f"set +e\n{recipe('Scripts that start several installs', 'bash', 'ci.md')}"
    for name in ("a", "b"):
        (project.path / name).symlink_to(new_venv(name))
    shell(script, project, home).succeeded()
    shutil.rmtree((project.path / "a").resolve())
    spoil_environment(new_venv("c"), home.minor)
    (project.path / "a").unlink()
    (project.path / "a").symlink_to(new_venv("c"))
    shell(script, project, home).failed("recipe_thing.py")


CLEANING = [
    yaml.safe_load(recipe("Shared checkouts and `git clean`", "yaml", "ci.md", nth))
    for nth in (0, 1)
]
CLEAN = [
    CLEANING[0]["steps"][1]["run"],
    f"git clean {CLEANING[1]['variables']['GIT_CLEAN_FLAGS']}",
]


@pytest.mark.parametrize(
    "clean", thorough_but([(CLEAN[0],)], [(one,) for one in CLEAN])
)
def test_git_clean_leaves_locks(clean: str, project: Project, home: PoetryHome) -> None:
    """As the page says: by default it removes a lock that somebody holds."""
    environ = {"POETRY_VIRTUALENVS_IN_PROJECT": "true"}
    project.poetry(home, "install", environ=environ).succeeded()
    environ["POETRY_SAFE_INSTALL_LOCK_TIMEOUT"] = "0"
    (project.path / "junk").touch()
    with (project.store / "project.lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        shell(clean, project, home).succeeded()
        assert not (project.path / "junk").exists()
        kept = project.poetry(home, "install", environ=environ)
        assert kept.code == 75, kept.out
        shell("git clean -ffdx", project, home).succeeded()
        assert not (project.path / ".venv").exists()
        project.poetry(home, "install", environ=environ).succeeded()


def test_fail_early(project: Project, home: PoetryHome) -> None:
    if shutil.which("jq") is None:
        pytest.skip("install jq")
    shell(recipe("Fail early", "bash"), project, home).succeeded()
    environ = {"POETRY_SAFE_INSTALL_LOCK_SCOPE": "all"}
    failed = shell(recipe("Fail early", "bash"), project, home, environ=environ)
    failed.failed("LOCK_SCOPE must be one of", "correct it")
