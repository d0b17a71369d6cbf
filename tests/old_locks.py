"""What lock files of real projects do to a Poetry in the environment they install into.

``python -m tests.old_locks 2.2.1 2.5.1`` prints a row for each Poetry and age. What the
projects require is resolved by uv as it was at that time; of that only the packages are
installed that Poetry needs too, since the others do nothing to it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from poetry_plugin_safe_install.own_packages.installed import OwnPackages
from poetry_plugin_safe_install.own_packages.judge import Action
from poetry_plugin_safe_install.own_packages.judge import Installed
from poetry_plugin_safe_install.own_packages.judge import judge
from poetry_plugin_safe_install.releases import Change
from poetry_plugin_safe_install.releases import Release
from tests.laboratory.environments import isolated_environ
from tests.laboratory.index import LocalIndex
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import PoetryHome
from tests.laboratory.poetries import download
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import Project
from tests.laboratory.projects import make_project


PROJECTS = (
    "requests pytest",
    "black",
    "tox",
    "fastapi uvicorn",
    "django",
    "boto3",
    "flask",
    "httpx",
    "mkdocs",
    "sphinx",
    "twine",
    "pre-commit",
    "nox",
    "build",
    "hatch",
    "pipenv",
    "pip-tools",
    "cookiecutter",
    "ansible-core",
    "celery",
    "sqlalchemy alembic",
    "pandas",
    "scikit-learn",
    "jupyterlab",
    "streamlit",
    "poetry-core",
    "keyring",
    "paramiko",
    "docker",
    "openai",
)
AGES = {"today": "", "a year": "2025-11-21", "two years": "2024-11-21"}
COMMANDS = (("--version",), ("check",), ("lock",))


class Case(NamedTuple):
    """What one lock file changes: own packages with other versions than installed."""

    version: str
    pins: tuple[str, ...]


def resolved(requirements: str, date: str) -> dict[str, str]:
    """What uv would have installed at that time."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"]
    command += ["--no-annotate", "--only-binary", ":all:"]
    command += ["--python-version", DEFAULT_PYTHON, "-"]
    command += ["--exclude-newer", date] if date else []
    result = subprocess.run(
        command,
        input="\n".join(requirements.split()),
        capture_output=True,
        text=True,
    )
    if result.returncode:
        print(f"  {requirements} {date}: {result.stderr.strip()[:200]}", flush=True)
    pairs = (line.split("==") for line in result.stdout.splitlines() if "==" in line)
    return {pair[0].partition("[")[0]: pair[1].split()[0] for pair in pairs}


def refused_by_direction(own: OwnPackages, changes: list[Change]) -> bool:
    """The rule of 0.1.0, which is that of ``strict``."""
    found = Installed(own.releases, own.roots, own.others)
    verdicts = judge(changes, found, [], "strict")
    return any(verdict.action is Action.STOP for verdict in verdicts)


def works(home: PoetryHome, project: Project) -> bool:
    return all(
        project.poetry(home, *command, venv=home.path).code == 0 for command in COMMANDS
    )


def outcome(case: Case, folder: Path, index: LocalIndex) -> dict[str, str]:
    """Install the lock file without and with the plugin."""
    download(poetry_home(case.version, protected=False).python, *case.pins)
    environ = isolated_environ(folder / "poetry")
    project = make_project(
        folder / "project", index, environ=environ, dependencies=case.pins
    )
    text = project.pyproject.read_text()
    python = f">={DEFAULT_PYTHON},<4.0"
    project.pyproject.write_text(text.replace(">=3.10", python))
    project.poetry(poetry_home(protected=False), "lock").succeeded()
    other = make_project(folder / "other", index, environ=environ, name="other")
    found = {}
    for protected in (False, True):
        home = poetry_home(case.version, protected=protected).clone(
            folder / f"home-{protected}"
        )
        assert folder in home.site_packages.parents
        result = project.poetry(home, "install", venv=home.path)
        lived = works(home, other)
        if not protected:
            found["unprotected"] = "works" if lived else "bricked"
        elif "would damage" in result.out:
            found["protected"] = "refused" if lived else "BRICKED"
        elif "put back" in result.out:
            found["protected"] = "put back" if lived else "BRICKED"
        else:
            done = "made" if result.code == 0 else f"failed {result.out[-300:]}"
            found["protected"] = done if lived else "BRICKED"
    return found


def main(versions: list[str]) -> None:
    locks = {
        (age, project): resolved(project, date)
        for age, date in AGES.items()
        for project in PROJECTS
    }
    known: dict[Case, dict[str, str]] = {}
    for version in versions:
        home = poetry_home(version, protected=False)
        own = OwnPackages([str(home.site_packages)])
        for age in AGES:
            counted: Counter[str] = Counter()
            for project in PROJECTS:
                lock = locks[age, project]
                pins = {
                    name: lock[name]
                    for name, release in own.releases.items()
                    if name in lock and lock[name] != release.version
                }
                if not pins:
                    counted["nothing of Poetry's"] += 1
                    continue
                changes = [Change(n, Release(n, v)) for n, v in sorted(pins.items())]
                counted["refused by 0.1.0"] += refused_by_direction(own, changes)
                case = Case(
                    version, tuple(f"{n}=={v}" for n, v in sorted(pins.items()))
                )
                if case not in known:
                    with (
                        tempfile.TemporaryDirectory(prefix="old-locks-") as folder,
                        LocalIndex(WHEELS, STAND_INS) as index,
                    ):
                        known[case] = outcome(case, Path(folder), index)
                    print(f"  {case}: {known[case]}", flush=True)
                counted.update(f"{k}: {v}" for k, v in known[case].items())
            print(version, age, dict(counted), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
