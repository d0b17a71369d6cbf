"""What commands show is the same with and without the plugin where it had nothing to do.

At every verbosity, to a pipe and to a terminal. Each story runs
twice at the same place, with all of Poetry's directories empty at first.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import termios

from difflib import unified_diff
from itertools import product
from typing import TYPE_CHECKING

import pyte
import pytest

from tests.laboratory.cases import soak_but
from tests.laboratory.environments import isolated_environ
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import make_project
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

STORY = (
    "--version",
    "config --list",
    "lock",
    "check",
    "env info",
    "install",
    "install",
    "show",
    "run true",
    "version 1.0",
    "lock",
    "add silent-twig",
    "update",
    "remove silent-twig",
    "add not-there",
    "build",
    "env remove --all",
    "show",
)
"""One after the other in one project. In the end ``show`` makes the environment."""
SHORT = ("lock", "install", "show", "run true", "add silent-twig", "add not-there")

VERBOSITIES = ("-q", "", "-v", "-vv", "-vvv")
COLUMNS, LINES = 600, 600
"""Nothing is wrapped: the two Poetrys have paths of different lengths."""

SAID_DIFFERENTLY = (
    # What these log with -vvv comes in another order; and an environment is marked first.
    (r"(?m)^\[(distlib|filelock|findpython|python_discovery|virtualenv):.*\n?", ""),
    # Who calls whom, in the trace of an error: the plugin is among them.
    (r"(?m)^ +\d+  \S+:\d+ in .*\n(.+\n)+\n?", ""),
    (r"\d+(\.\d+)? ?(s|ms|seconds)\b", "<seconds>"),
    (r"\b0x[0-9a-f]+", "<address>"),
    (r"/tmp/(tmp|poetry-|build-env-)\w+", "<temporary>"),
    (r"tmp[\w.-]{8,}", "<temporary>"),
    (r"\bpid[ =]\d+", "<pid>"),
    (r"(lock|Lock) \d{9,}", "<lock>"),
    (r"127\.0\.0\.1:\d+|/[0-9a-f]{32}/", "<index>"),
)


def run_piped(
    home: PoetryHome, project: Project, words: list[str], environ: Mapping[str, str]
) -> str:
    done = project.poetry(home, *words, environ=environ)
    return f"{done.out}--- {done.code} ---\n"


def run_on_terminal(
    home: PoetryHome, project: Project, words: list[str], environ: Mapping[str, str]
) -> str:
    """What can be seen in the end: how often a line was drawn depends on time."""
    ours, theirs = pty.openpty()
    size = struct.pack("HHHH", LINES, COLUMNS, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    process = subprocess.Popen(
        [str(home.executable), *words],
        cwd=project.path,
        env={**project.environment(environ=environ), "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    while True:
        try:
            said = os.read(ours, 65536)
        except OSError:  # Linux: nobody has the terminal any more
            break
        if not said:
            break
        stream.feed(said)
    os.close(ours)
    shown = "\n".join(line.rstrip() for line in screen.display).rstrip()
    return f"{shown}\n--- {process.wait()} ---\n"


RUNS = {"pipe": run_piped, "terminal": run_on_terminal}


def story(
    commands: tuple[str, ...],
    home: PoetryHome,
    index: LocalIndex,
    base: Path,
    verbosity: str,
    output: str,
    path: str,
) -> dict[str, str]:
    """What each command says."""
    shutil.rmtree(base, ignore_errors=True)
    environ = isolated_environ(base / "poetry")
    project = make_project(
        base / "project", index, environ=environ, dependencies=("silent-leaf",)
    )
    (project.path / "README.md").write_text("")
    surroundings = {"POETRY_KEYRING_ENABLED": "false", "SHELL": "bash", "PATH": path}
    told = {}
    for number, arguments in enumerate(commands):
        words = arguments.split()
        words = words if words[0] == "run" else [*words, *verbosity.split()]
        if words[0] == "run":
            words = [*verbosity.split(), *words]
        said = RUNS[output](home, project, words, surroundings)
        said = said.replace(str(home.path), "<home>")
        for pattern, instead in SAID_DIFFERENTLY:
            said = re.sub(pattern, instead, said)
        told[f"{number} {arguments}"] = said
    return told


def differences(plain: dict[str, str], protected: dict[str, str]) -> str:
    return "\n".join(
        line
        for command, said in plain.items()
        for line in unified_diff(
            said.splitlines(), protected[command].splitlines(), command, n=0
        )
    )


QUICK = (SHORT, NEWEST, "", "pipe")


@pytest.mark.parametrize(
    ("commands", "version", "verbosity", "output"),
    soak_but([QUICK], [QUICK, *product([STORY], POETRY_VERSIONS, VERBOSITIES, RUNS)]),
)
def test_the_same_is_said(
    commands: tuple[str, ...],
    version: str,
    verbosity: str,
    output: str,
    index: LocalIndex,
    own_folder: Path,
    shared_environ: dict[str, str],
    tmp_path: Path,
) -> None:
    for name in ("silent-leaf", "silent-twig"):
        Distribution(name, "1.0", {f"{name[7:]}.py": ""}).wheel(own_folder)
    plain, protected = (
        story(
            commands,
            poetry_home(version, protected=protected),
            index,
            tmp_path / "here",
            verbosity,
            output,
            shared_environ["PATH"],
        )
        for protected in (False, True)
    )
    assert differences(plain, protected) == ""
