"""Where chance decides: many protected commands, some of them killed."""

from __future__ import annotations

import os
import random
import signal
import time

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.environments import installed_version
from tests.laboratory.plugins import marker_plugin
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import tree_hash
from tests.laboratory.pythons import pythons
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


class Worker:
    """Runs one command after the other; only it adds and removes its own package."""

    def __init__(
        self, number: int, seed: int, projects: list[Project], home: PoetryHome
    ) -> None:
        self._package = f"bud{number}"
        self._chance = random.Random(seed + number)
        self._projects = projects
        self._mortal = projects[4:]
        self._home = home
        self.counts: Counter[str] = Counter()

    def run(self, commands: int) -> None:
        for _ in range(commands):
            self._command(self._chance.choice(self._projects))

    def _command(self, project: Project) -> None:
        python = str(self._home.python.resolve())
        arguments = self._chance.choice(
            (
                ("install",),
                ("install",),
                ("run", "true"),
                ("show",),
                ("lock",),
                ("env", "use", python),
                ("up", "twig", "--no-install"),
                ("add", "--lock", self._package),
                ("remove", "--lock", self._package),
            )
        )
        had = self._has_package(project)
        if arguments[0] in ("add", "remove") and had == (arguments[0] == "add"):
            return
        place = project
        if self._chance.random() < 0.3:
            place = type(project)(project.path.parent, project.environ)
            arguments = ("-C", project.path.name, *arguments)
        running = place.start(self._home, *arguments, environ=ENVIRON)
        # What a killed plugin leaves in pyproject.toml is its own affair.
        killed = project in self._mortal and self._chance.random() < 0.2
        if killed:
            time.sleep(self._chance.uniform(0.3, 3))  # chance decides
            os.kill(running.pid, signal.SIGKILL)
        result = running.result(900)
        word = next(word for word in arguments if word in WORDS)
        self.counts[word] += 1
        self.counts["killed"] += killed
        assert "Gave up waiting" not in result.out, result.out
        if killed:
            return
        if CHANGED in result.out:
            assert word == "up", result.out
            self.counts["refused"] += 1
            return
        result.succeeded()
        if project not in self._mortal:
            assert versions_of(project) <= {"9.9.9"}
        expected = {"add": True, "remove": False}.get(word, had)
        assert self._has_package(project) == expected, (arguments, result.out)

    def _has_package(self, project: Project) -> bool:
        text = ""
        while "[build-system]" not in text:  # the plugin is writing it
            text = project.pyproject.read_text()
        return f'"{self._package} ' in text


WORDS = ("install", "run", "show", "lock", "env", "up", "add", "remove")


def mixed_commands(
    commands: int,
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    plain_home: PoetryHome,
    tmp_path: Path,
) -> Counter[str]:
    """Commands of all kinds over eight projects that share a path dependency."""
    chosen, workers = seed(), int(os.environ.get("WORKERS", "6"))
    home = home.clone(tmp_path / "home")
    home.pip_install("poetry-plugin-up", "poetry-dynamic-versioning")
    for name in ("twig", *(f"bud{number}" for number in range(workers))):
        Distribution(name, "1.0", {f"{name}/__init__.py": ""}).wheel(own_folder)
    new_project("lib", name="lib")
    path = '[tool.poetry.dependencies]\nlib = { path = "../lib" }\n'
    projects = [
        new_project(
            f"service{number}",
            name=f"service{number}",
            dependencies=("twig (>=1.0)", "lib"),
            tail=f"[tool.poetry-dynamic-versioning]\nenable = true\n{path}",
        )
        for number in range(8)
    ]
    for project in projects:
        project.poetry(plain_home, "lock").succeeded()
    all_workers = [Worker(number, chosen, projects, home) for number in range(workers)]
    began = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        share = -(-commands // workers)
        list(pool.map(lambda worker: worker.run(share), all_workers))
    counts = sum((worker.counts for worker in all_workers), Counter[str]())
    counts["seconds"] = round(time.monotonic() - began)
    for project in projects:
        text = project.pyproject.read_text()
        if "enable = false" in text:  # what a killed command has left
            project.pyproject.write_text(
                text.replace("enable = false", "enable = true")
            )
        project.poetry(home, "lock", environ=ENVIRON).succeeded()
        project.poetry(home, "install", environ=ENVIRON).succeeded()
        shown = project.poetry(home, "run", *version_of(project.path.name))
        assert "9.9.9" in shown.succeeded().out
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
def test_soak_of_mixed_commands(
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    plain_home: PoetryHome,
    tmp_path: Path,
) -> None:
    """``COMMANDS`` says how many."""
    commands = int(os.environ.get("COMMANDS", "10000"))
    counts = mixed_commands(
        commands, new_project, own_folder, home, plain_home, tmp_path
    )
    print(dict(counts))


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
def test_soak_of_many_pythons(
    tagged_project: Project, new_venv: Callable[..., Path]
) -> None:
    """The workloads of F1 and F4, ROUNDS times over; prints what went wrong."""
    rounds = int(os.environ.get("ROUNDS", "20"))
    counts: Counter[str] = Counter()
    jobs = [
        (minor, new_venv(f"{minor}-{n}", minor)) for minor in pythons() for n in (1, 2)
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
