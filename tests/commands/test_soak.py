"""Where chance decides: many protected commands, some of them killed."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.environments import installed_version
from tests.laboratory.plugins import marker_plugin
from tests.laboratory.poetries import poetry_home
from tests.laboratory.preloaded import Preloaded
from tests.laboratory.projects import tree_hash
from tests.laboratory.pythons import pythons
from tests.laboratory.running import Running
from tests.laboratory.tagged import SHOW_VERSION
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
COMMANDS = (
    ("install",),
    ("install",),
    ("sync",),
    ("run", "true"),
    ("check",),
    ("lock",),
)


def seed() -> int:
    chosen = int(os.environ.get("SEED", time.time_ns() % 10**9))
    print(f"\nSEED={chosen}")
    return chosen


def kill_at_random(
    rounds: int,
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> Counter[str]:
    """Start six commands at once and kill three of them, again and again."""
    chance = random.Random(seed())
    marker_plugin("lasting", "1.0").wheel(own_folder)
    boughs = [
        Distribution(f"bough{n}", "1.0", {f"bough{n}/m{i}.py": "" for i in range(20)})
        for n in range(4)
    ]
    for bough in boughs:
        bough.wheel(own_folder)
    project = new_project(
        dependencies=tuple(bough.name for bough in boughs),
        requires_plugins='lasting = "*"',
    )
    project.lock()
    venvs = [new_venv("first"), new_venv("second"), None]
    files = {path: path.read_bytes() for path in project.path.glob("p*.[tl]o*")}
    sets: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for _ in range(rounds):
        running = [
            (arguments, project.start(home, *arguments, venv=chance.choice(venvs)))
            for arguments in chance.choices(COMMANDS, k=6)
        ]
        # poetry.lock is written in place by Poetry: cutting that off is its own affair.
        mortal = [command for arguments, command in running if arguments != ("lock",)]
        victims = chance.sample(mortal, k=min(3, len(mortal)))
        for victim in victims:
            time.sleep(chance.uniform(0, 0.7))  # chance decides, that is the point
            how = chance.choice(SIGNALS)
            victim.send_signal(how)
            counts[how.name] += 1
        for _, command in running:
            result = command.result(200)
            assert "No module" not in result.out, result.out
            counts["commands"] += 1
            if command not in victims:
                result.succeeded()
        limit = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "60"}
        project.poetry(home, "run", "true", environ=limit).succeeded()
        assert not (project.store / "staging").exists()
        now = tree_hash(project.store / "plugins") if project.store.exists() else {}
        assert all(now[name] == digest for name, digest in sets.items())
        sets = now
        assert {path: path.read_bytes() for path in files} == files
    for venv in venvs:
        project.poetry(home, "install", venv=venv, environ=limit).succeeded()
        code = "; ".join(f"import {bough.name}.m19" for bough in boughs)
        project.poetry(home, "run", "python", "-c", code, venv=venv).succeeded()
    return counts


CHANGED = "has changed since this command read it"
ENVIRON = {
    "POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "600",
    "POETRY_DYNAMIC_VERSIONING_BYPASS": "9.9.9",
}
KILLED = 0.1
"""The share of the commands that are killed."""


class Worker:
    """Runs one command after the other; only it adds and removes its own package."""

    def __init__(
        self,
        number: int,
        seed: int,
        projects: list[Project],
        version: str,
        poetry: Preloaded,
    ) -> None:
        self._package = f"bud{number}"
        self._chance = random.Random(seed + number)
        self._projects = projects
        self._version = version
        self._poetry = poetry
        self._log = projects[0].path.parent / "log"
        self.counts: Counter[str] = Counter()

    def run(self, commands: int) -> None:
        while self.counts["commands"] < commands:
            self._command(self._chance.choice(self._projects))

    def _command(self, project: Project) -> None:
        arguments = self._chance.choice(
            (
                ("install",),
                ("install",),
                ("sync",),
                ("run", "true"),
                ("show",),
                ("lock",),
                ("env", "use", sys.executable),
                ("up", "twig", self._chance.choice(("--latest", "--no-install"))),
                ("add", self._package),
                ("add", "--lock", self._package),
                ("remove", self._package),
                ("remove", "--lock", self._package),
            )
        )
        word, had = arguments[0], self._has_package(project)
        if word in ("add", "remove") and had == (word == "add"):
            return
        self.counts["commands"] += 1
        self.counts[word] += 1
        running = self._start(project, arguments)
        began = time.monotonic()
        try:
            self._await(project, arguments, running, had=had)
        finally:
            took = f"{time.monotonic() - began:6.1f} s"
            with self._log.open("a") as log:
                log.write(f"{took} {project.path.name} {' '.join(arguments)}\n")

    def _await(
        self,
        project: Project,
        arguments: tuple[str, ...],
        running: Running,
        *,
        had: bool,
    ) -> None:
        word = arguments[0]
        if self._chance.random() < KILLED:
            self.counts["killed"] += 1
            time.sleep(self._chance.uniform(0.2, 3))  # chance decides
            running.send_signal(self._chance.choice(SIGNALS))
            running.result(900)
            return
        result = running.result(900)
        if CHANGED in result.out:
            assert word == "up", result.out
            assert result.code == 1, result.out
            self.counts["refused"] += 1
            return
        result.succeeded()
        assert "Gave up waiting" not in result.out, result.out
        assert versions_of(project) <= {self._version}, (arguments, result.out)
        if word == "env":
            envs = Path(project.environ["POETRY_VIRTUALENVS_PATH"], "envs.toml")
            assert f"[{project.path.name}-" in envs.read_text(), result.out
        expected = {"add": True, "remove": False}.get(word, had)
        assert self._has_package(project) == expected, (arguments, result.out)

    def _start(self, project: Project, arguments: tuple[str, ...]) -> Running:
        """By one of the names that the project has."""
        name = project.path.name
        link = project.path.parent / "links" / name
        cwd, spelling = self._chance.choice(
            (
                (project.path, ()),
                (project.path.parent, ("-C", name)),
                (project.path.parent, ("-P", str(link))),
                (project.path, ("-C", f"../links/{name}")),
            )
        )
        self.counts[" ".join(spelling[:1]) or "in the project"] += 1
        return Running(
            ["poetry", "--no-ansi", *spelling, *arguments],
            begin=self._poetry.start,
            cwd=cwd,
            env=project.environment(None, ENVIRON),
        )

    def _has_package(self, project: Project) -> bool:
        text = ""
        while "[build-system]" not in text:  # the plugin is writing it
            text = project.pyproject.read_text()
        return f'"{self._package} ' in text


def mixed_commands(
    commands: int,
    version: str,
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    tmp_path: Path,
) -> Counter[str]:
    """Commands of all kinds over eight projects that share a path dependency."""
    chosen, workers = seed(), int(os.environ.get("WORKERS", "6"))
    home = home.clone(tmp_path / "home")
    home.pip_install("poetry-plugin-up")
    if version != "0.0.0":
        home.pip_install("poetry-dynamic-versioning")
    for name in ("twig", *(f"bud{number}" for number in range(workers))):
        Distribution(name, "1.0", {f"{name}/__init__.py": ""}).wheel(own_folder)
    versioned = "[tool.poetry-dynamic-versioning]\nenable = true\n"
    lib = new_project("lib", name="lib", tail=versioned)
    path = '[tool.poetry.dependencies]\nlib = { path = "../lib" }\n'
    projects = [
        new_project(
            f"service{number}",
            name=f"service{number}",
            dependencies=("twig (>=1.0)", "lib"),
            tail=f"{versioned}{path}",
        )
        for number in range(8)
    ]
    (tmp_path / "links").mkdir()
    for project in projects:
        project.poetry(home, "lock", environ=ENVIRON).succeeded()
        link = tmp_path / "links" / project.path.name
        link.symlink_to(project.path, target_is_directory=True)
    before = lib.pyproject.read_text()
    began = time.monotonic()
    with Preloaded(home, lib.environment(None, ENVIRON)) as poetry:
        at_work = [
            Worker(number, chosen, projects, version, poetry)
            for number in range(workers)
        ]
        with ThreadPoolExecutor(workers) as pool:
            share = -(-commands // workers)
            list(pool.map(lambda worker: worker.run(share), at_work))
    counts = sum((worker.counts for worker in at_work), Counter[str]())
    counts["seconds"] = round(time.monotonic() - began)
    for project in projects:
        project.poetry(home, "lock", environ=ENVIRON).succeeded()
        project.poetry(home, "install", environ=ENVIRON).succeeded()
        shown = project.poetry(home, "run", *version_of(project.path.name))
        assert version in shown.succeeded().out
        project.poetry(home, "run", "python", "-c", "import lib, twig").succeeded()
        assert "enable = false" not in project.pyproject.read_text()
    assert lib.pyproject.read_text() == before
    return counts


def versions_of(project: Project) -> set[str]:
    """Which versions of a project are installed, in all of its environments."""
    name = project.path.name
    venvs = Path(project.environ["POETRY_VIRTUALENVS_PATH"])
    found = venvs.glob(f"{name}-*/lib/python*/site-packages/{name}-*.dist-info")
    return {path.name.split("-")[1].removesuffix(".dist") for path in found}


def version_of(name: str) -> tuple[str, ...]:
    return (
        "python",
        "-c",
        f"import importlib.metadata as m; print(m.version({name!r}))",
    )


@pytest.mark.soak
@pytest.mark.timeout(86400)
@pytest.mark.parametrize("version", ["9.9.9", "0.0.0"], ids=["rewritten", "as it is"])
def test_soak_of_mixed_commands(
    version: str,
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    tmp_path: Path,
) -> None:
    """``COMMANDS`` says how many.

    poetry-dynamic-versioning rewrites the projects and what they share, so that commands
    take turns; without it most of them are under way at the same time.
    """
    commands = int(os.environ.get("COMMANDS", "5000"))
    counts = mixed_commands(commands, version, new_project, own_folder, home, tmp_path)
    print(dict(counts))


@pytest.mark.thorough
def test_killed_commands(
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    kill_at_random(1, new_project, own_folder, home, new_venv)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_killed_commands(
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    rounds = int(os.environ.get("ROUNDS", "170"))
    counts = kill_at_random(rounds, new_project, own_folder, home, new_venv)
    print(dict(counts))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("minors", [[*pythons()]], ids=["all"])
def test_soak_of_many_pythons(
    minors: list[str], tagged_project: Project, new_venv: Callable[..., Path]
) -> None:
    """The workloads of F1 and F4, ROUNDS times over; prints what went wrong."""
    rounds = int(os.environ.get("ROUNDS", "20"))
    counts: Counter[str] = Counter()
    jobs = [
        (minor, new_venv(f"{minor}-{n}", minor)) for minor in minors for n in (1, 2)
    ]

    def work(job: tuple[str, Path]) -> None:
        minor, venv = job
        for arguments in (("install",), ("run", *SHOW_VERSION)):
            result = tagged_project.poetry(
                poetry_home(minor=minor), *arguments, venv=venv
            )
            counts["commands"] += 1
            counts["failures"] += result.code != 0
        counts["wrong versions"] += installed_version(venv) != "1.2.3"

    for _ in range(rounds):
        with ThreadPoolExecutor(len(jobs)) as pool:
            list(pool.map(work, jobs))
        print(dict(counts), flush=True)
    assert not counts["failures"]
    assert not counts["wrong versions"]
