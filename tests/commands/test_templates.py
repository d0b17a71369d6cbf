"""What is ready to be taken: the scripts in it are run, as the systems run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from typing import TYPE_CHECKING
from typing import Any

import pytest
import yaml

from tests.commands.test_recipes import BIN
from tests.commands.test_recipes import spoil
from tests.laboratory import ROOT
from tests.laboratory.distributions import own_wheel
from tests.laboratory.interpreters import write_interpreter
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.projects import Project
from tests.laboratory.pythons import pythons
from tests.laboratory.running import Result


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping
    from pathlib import Path

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome

TEMPLATES = ROOT / "templates"


@pytest.fixture(scope="session")
def plugin(folder: Path) -> str:
    """This plugin, from the index."""
    shutil.copy(own_wheel(), folder)
    return "poetry-plugin-safe-install"


@pytest.fixture
def project(
    new_project: Callable[..., Project], plugin: str, index: LocalIndex
) -> Project:
    project = new_project()
    project.lock()
    project.git("init", "-q")
    project.git("add", ".")
    project.git("commit", "-qm", "all")
    return project


@pytest.fixture
def job(project: Project, index: LocalIndex, tmp_path: Path) -> dict[str, str]:
    """A job's: it has Python and an index, and no Poetry."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name in ("python", "python3"):
        write_interpreter(commands / name, pythons()[DEFAULT_PYTHON])
    return project.environment(
        environ={
            "PATH": os.pathsep.join((str(commands), "/usr/bin", "/bin")),
            "PIP_INDEX_URL": index.url,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_COMPILE": "1",
            "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        }
    )


def bash(script: str, cwd: Path, environ: Mapping[str, str]) -> Result:
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=cwd,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return Result(done.returncode, done.stdout)


def expand(text: str, inputs: Mapping[str, str], opening: str, closing: str) -> str:
    """Put inputs in the place of what names them."""
    pattern = rf"{re.escape(opening)} inputs\.([\w-]+) {re.escape(closing)}"
    return re.sub(pattern, lambda found: inputs[found[1]], text)


def defaults(inputs: Mapping[str, Any]) -> dict[str, str]:
    return {name: about["default"] for name, about in inputs.items()}


class Action:
    """A composite action, run in a project as a runner does it."""

    def __init__(
        self, project: Project, environ: Mapping[str, str], temp: Path
    ) -> None:
        text = (TEMPLATES / "github" / "action.yml").read_text(encoding="utf-8")
        self._about = yaml.safe_load(text)
        self._project = project
        self._paths = temp / "paths"
        self._paths.touch()
        self._environ = {
            **environ,
            "RUNNER_TEMP": str(temp),
            "GITHUB_PATH": str(self._paths),
        }

    def run(self, **inputs: str) -> Result:
        """Until a step fails."""
        given = {**defaults(self._about["inputs"]), **inputs}
        said = ""
        assert self._about["runs"]["using"] == "composite"
        for step in self._about["runs"]["steps"]:
            assert step["shell"] == "bash"
            # What is in it would be run as a script, whoever wrote it.
            assert "${{" not in step["run"]
            result = self._step(step, given)
            said += result.out
            if result.code:
                return Result(result.code, said)
        return Result(0, said)

    def _step(self, step: Mapping[str, Any], inputs: Mapping[str, str]) -> Result:
        def value(text: str) -> str:
            return expand(text, inputs, "${{", "}}")

        variables = {name: value(text) for name, text in step["env"].items()}
        path = [*self._paths.read_text().split(), self._environ["PATH"]]
        environ = {**self._environ, **variables, "PATH": os.pathsep.join(path)}
        place = value(step.get("working-directory", "."))
        return bash(step["run"], self._project.path / place, environ)


@pytest.mark.thorough
def test_github_action(project: Project, job: dict[str, str], tmp_path: Path) -> None:
    temp = tmp_path / "runner"
    temp.mkdir()
    action = Action(project, job, temp)
    action.run(poetry="poetry", arguments="--only main").succeeded()
    assert (project.store / "project.lock").exists()
    assert (project.path / ".venv").is_dir()
    spoil(project)
    # Poetry is there already: its environment is not made once more.
    action.run(python="true").failed("Did you mean enabled?")


@pytest.mark.thorough
def test_gitlab_component(
    project: Project, job: dict[str, str], tmp_path: Path
) -> None:
    text = (TEMPLATES / "safe-install.yml").read_text(encoding="utf-8")
    inputs = defaults(next(yaml.safe_load_all(text))["spec"]["inputs"])
    _, jobs = yaml.safe_load_all(expand(text, inputs, "$[[", "]]"))
    about = jobs[".poetry"]
    environ = {**job, "CI_JOB_ID": str(os.getpid())}
    script = "\n".join([*about["before_script"], "poetry run python -c 'import demo'"])
    after = "\n".join(about["after_script"])
    try:
        bash(script, project.path, environ).succeeded()
        assert (project.store / "project.lock").exists()
        flags = about["variables"]["GIT_CLEAN_FLAGS"]
        bash(f"git clean {flags}", project.path, environ).succeeded()
        assert (project.store / "project.lock").exists()
        spoil(project)
        bash(script, project.path, environ).failed("Did you mean enabled?")
    finally:
        bash(after, project.path, environ).succeeded()
    assert not os.path.exists(f"/tmp/poetry-{os.getpid()}")


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Each instruction and what it is given, in order."""
    lines = [line for line in dockerfile.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(name, rest) for name, rest in found]


@pytest.mark.thorough
def test_dockerfile(project: Project, job: dict[str, str], tmp_path: Path) -> None:
    """Its commands, with the directories of an image elsewhere."""
    text = (TEMPLATES / "docker" / "Dockerfile").read_text(encoding="utf-8")
    image = {
        "/opt/poetry": f"{tmp_path}/poetry",
        "/var/cache/pypoetry": job["POETRY_CACHE_DIR"],
        "/app": str(project.path),
    }
    for place, other in image.items():
        text = text.replace(place, other)
    found = instructions(text)
    known = {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "CMD"}
    assert {name for name, _ in found} == known
    assert [name for name, _ in found].count("FROM") == 2
    for name, rest in found:
        if name == "ENV":
            for variable, value in (pair.split("=") for pair in rest.split()):
                job[variable] = value.replace("$PATH", job["PATH"])
        if name == "RUN":
            command = re.sub(r"--mount=\S+", "", rest)
            bash(command, project.path, job).succeeded()
    # The last stage has neither Poetry nor its directory.
    job["PATH"] = job["PATH"].replace(f"{tmp_path}/poetry/bin", "/nowhere")
    bash("python -c 'import demo'", project.path, job).succeeded()
    spoil(project)
    job["PATH"] = f"{tmp_path}/poetry/bin:{job['PATH']}"
    last = [rest for name, rest in found if name == "RUN"][-1]
    command = re.sub(r"--mount=\S+", "", last)
    bash(command, project.path, job).failed("Did you mean enabled?")


@pytest.mark.thorough
def test_pre_commit_hook(project: Project, home: PoetryHome, tmp_path: Path) -> None:
    hooks = Project(tmp_path / "hooks")
    hooks.path.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks.path)
    hooks.git("init", "-q")
    hooks.git("add", ".")
    hooks.git("commit", "-qm", "all")
    environ = project.environment()
    path = [str(home.executable.parent), str(BIN), environ["PATH"]]
    environ["PATH"] = os.pathsep.join(path)
    command = f"pre-commit try-repo {hooks.path} safe-install-check --all-files"
    bash(command, project.path, environ).succeeded()
    spoil(project)
    bash(command, project.path, environ).failed("Did you mean enabled?")
