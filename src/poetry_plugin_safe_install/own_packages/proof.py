"""Whether the Poetry that runs this command still works, found out by running it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping

COMMANDS = ("--version", "check")
"""The second reads a project, and so needs more of Poetry than the first."""

PROJECT = '[project]\nname = "proof"\nversion = "0"\n'
"""One in which ``poetry check`` finds nothing wrong, in whichever version."""

TIMEOUT = 120.0
"""Seconds after which a Poetry that does not end counts as broken."""

SHOWN = 6
"""How many of the last lines are shown of what a broken Poetry says."""


class Proof:
    """Poetry is run with all its plugins, and its imports are tried, all in children.

    Poetry imports much only when it needs it, so that two commands say little about the
    others. What was broken before is no reason to put anything back.
    """

    def __init__(self, directory: Path, importers: Iterable[str]) -> None:
        """
        :param directory: where a project can be made to try Poetry in.
        :param importers: the distributions that must go on working.
        """
        self._directory = directory
        self._importers = sorted(importers)
        self._modules: set[str] = set()
        self._missing: set[str] = set()
        _make_project(directory)
        self._works = not self._failure_of_commands()
        """Not where Poetry is run in unusual ways: then only imports are tried."""

    @property
    def state(self) -> dict[str, Any]:
        """All that ``failure`` needs to know of before, as plain data."""
        return {
            "importers": self._importers,
            "modules": sorted(self._modules),
            "missing": sorted(self._missing),
            "works": self._works,
        }

    @classmethod
    def resumed(cls, directory: Path, state: Mapping[str, Any]) -> Proof:
        """That of another process, which had this ``state``."""
        _make_project(directory)
        proof = cls.__new__(cls)
        vars(proof).update(
            _directory=directory,
            _importers=state["importers"],
            _modules=set(state["modules"]),
            _missing=set(state["missing"]),
            _works=state["works"],
        )
        return proof

    def will_change(self, modules: set[str]) -> None:
        """These top-level modules are about to be replaced."""
        self._missing |= set(self._problems(modules - self._modules))
        self._modules |= modules

    def failure(self) -> str:
        """What Poetry dies of now; empty if it does not."""
        problems = self._problems(self._modules)
        for statement, why in problems.items():
            if statement not in self._missing:
                return f"`{statement}` fails: {why}"
        return self._failure_of_commands() if self._works else ""

    def _failure_of_commands(self) -> str:
        options = ("--no-ansi", "--no-interaction")
        started = {
            command: self._started(*this_poetry(), *options, command)
            for command in COMMANDS
        }
        failures = [_failure(command, child) for command, child in started.items()]
        return next(filter(None, failures), "")

    def _problems(self, modules: set[str]) -> dict[str, str]:
        from poetry_plugin_safe_install.own_packages import imports

        program = Path(imports.__file__).read_text(encoding="utf-8")
        argument = json.dumps([self._importers, sorted(modules)])
        child = self._started(sys.executable, "-c", program, argument)
        try:
            said, _ = child.communicate(timeout=TIMEOUT)
            found: dict[str, str] = json.loads(said.splitlines()[-1])
        except (subprocess.TimeoutExpired, ValueError, IndexError):
            child.kill()
            return {}  # the commands have the last word
        return found

    def _started(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )


def _make_project(directory: Path) -> None:
    (directory / "pyproject.toml").write_text(PROJECT, encoding="utf-8")


def _failure(command: str, child: subprocess.Popen[str]) -> str:
    try:
        said, _ = child.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return f"`poetry {command}` does not end"
    if child.returncode == 0:
        return ""
    lines = [line for line in said.splitlines() if line.strip()][-SHOWN:]
    text = "\n".join(f"    {line}" for line in lines)
    return f"`poetry {command}` ends with exit status {child.returncode}:\n{text}"


def this_poetry() -> list[str]:
    """How this process was started, up to its arguments.

    ``sys.orig_argv`` has ``-m poetry`` or the script, and options of Python before that.
    """
    started = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    if started and not started[-1].startswith("-") and os.path.exists(started[-1]):
        started[-1] = os.path.abspath(started[-1])
    return [sys.executable, *started]
