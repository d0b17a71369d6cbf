"""Whether a lock file that is made again would be accepted, found out by making one.

It is made from copies, by Poetry itself in a child process, and judged there as the
command itself was. What does not end in time, or needs more than the project's files,
counts as not accepted.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile

from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.command_line import PLACE
from poetry_plugin_safe_install.own_packages.proof import this_poetry


if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

FILES = ("pyproject.toml", "poetry.lock", "poetry.toml")

LIMIT = 3.0
"""Seconds for each child: two to solve, one to start Poetry."""


def is_accepted(
    project: Path,
    names: Sequence[str],
    arguments: Sequence[str],
    environment: Path | None,
) -> bool:
    """Whether an install is, once these packages are locked again.

    :param project: the directory of the project.
    :param arguments: the refused command's: ``install``, ``sync`` or ``safe-install``.
    :param environment: the virtual environment that it changes, if it is one.
    """
    if not (project / "poetry.lock").is_file() or _leads_elsewhere(arguments):
        return False
    environ = {**os.environ}
    if environment:
        environ["VIRTUAL_ENV"] = str(environment)
    try:
        with tempfile.TemporaryDirectory(prefix="poetry-safe-install-") as directory:
            for name in FILES:
                if (project / name).is_file():
                    shutil.copyfile(project / name, Path(directory) / name)
            said = _said(["update", "--lock", *names], directory, environ)
            if said is None:
                return False
            said = _said(_check_of(arguments), directory, environ)
    except OSError:
        return False
    return said is not None and _is_harmless(said)


def _leads_elsewhere(arguments: Sequence[str]) -> bool:
    """Back to the project itself."""
    return any(token.partition("=")[0] in PLACE for token in arguments)


def _check_of(arguments: Sequence[str]) -> list[str]:
    """The project itself is not looked at: of that only its files are there."""
    sync = ["--sync"] if arguments[0] == "sync" else []
    root = [] if "--only-root" in arguments else ["--no-root"]
    options = [*arguments[1:], *(new for new in root if new not in arguments)]
    return ["safe-install", "--check", "--format", "json", *sync, *options]


def _said(
    arguments: list[str], directory: str, environ: Mapping[str, str]
) -> str | None:
    """What Poetry says to that, if it succeeds in time."""
    try:
        child = subprocess.run(
            [*this_poetry(), "--no-ansi", "--no-interaction", *arguments],
            cwd=directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=LIMIT,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return None
    return None if child.returncode else child.stdout


def _is_harmless(said: str) -> bool:
    """By what ``--check`` says, of the very environment that is in question."""
    try:
        report = json.loads(said)
    except ValueError:
        return False
    concerned = any(
        finding["topic"] == "own-packages" and finding["facts"]["concerned"]
        for finding in report["findings"]
    )
    return concerned and report["known"] and not report["refused"]
