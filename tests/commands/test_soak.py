"""Where chance decides: many protected commands, some of them killed."""

from __future__ import annotations

import os
import random
import signal
import time

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
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
    from pathlib import Path

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
