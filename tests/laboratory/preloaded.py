"""A Poetry whose modules are loaded once, for tests that run thousands of commands.

Each command is a process of its own, forked from one that has imported Poetry and has
done nothing with it. This plugin and all others are loaded by the command.
"""

from __future__ import annotations

import json
import subprocess
import tempfile

from pathlib import Path
from typing import TYPE_CHECKING

from tests.laboratory.projects import Result


if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

SERVER = Path(__file__).with_name("poetry_server.py")
MODULES = [
    "poetry.console.application",
    "poetry.console.commands.install",
    "poetry.console.commands.add",
    "poetry.console.commands.remove",
    "poetry.console.commands.sync",
    "poetry.console.commands.self.add",
    "poetry.console.commands.self.remove",
    "poetry.factory",
    "poetry.installation.installer",
    "poetry.installation.executor",
    "poetry.installation.wheel_installer",
    "poetry.puzzle.solver",
    "poetry.masonry.builders.editable",
    "poetry.utils.env",
    "poetry.repositories.legacy_repository",
    "poetry.repositories.installed_repository",
    "poetry.plugins.plugin_manager",
    "poetry.utils.authenticator",
    "poetry.vcs.git",
    "poetry.core.masonry.builders.wheel",
]


class Preloaded:
    """Runs ``poetry …`` for one test; ``with`` ends its process."""

    def __init__(self, home: PoetryHome, environ: Mapping[str, str]) -> None:
        self.home = home
        self._process = subprocess.Popen(
            [str(home.python), str(SERVER), *MODULES],
            env={**environ, "PYTHONPATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def run(
        self, project: Project, *arguments: str, environ: Mapping[str, str]
    ) -> Result:
        """How it ended: the exit status is negative for a signal."""
        assert self._process.stdin
        assert self._process.stdout
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as said:
            order = (str(project.path), dict(environ), list(arguments), said.name)
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return Result(code, said.read())
