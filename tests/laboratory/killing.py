"""Commands that are killed at a change they make, and what is left of an environment."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import shutil
import subprocess
import uuid

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pip._internal.metadata import get_environment
from uv import find_uv_bin


if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.laboratory.preloaded import Preloaded
    from tests.laboratory.projects import Project
    from tests.laboratory.running import Result

KILLS = Path(__file__).parent / "kills"

LIST = """\
import importlib, importlib.metadata, json, pkgutil, sys
failed = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed.append(f"{name}: {error!r}")
found = importlib.metadata.distributions()
print(json.dumps([failed, [[d.metadata["Name"], d.version] for d in found]]))
"""


@dataclass(frozen=True)
class Kill:
    """When a command is killed.

    :param at: at its N-th change.
    :param half: after a file was created or truncated, not before.
    :param again: the change at which the next command is killed, too.
    """

    at: int
    half: bool = False
    again: int = 0


@dataclass(frozen=True)
class Killed:
    """How a command ended that was watched.

    :param changes: how many changes it has begun.
    """

    result: Result
    changes: int

    @property
    def was_killed(self) -> bool:
        return self.result.code == -9


def killed(
    poetry: Preloaded,
    project: Project,
    *arguments: str,
    venv: Path | None = None,
    below: Path | None = None,
    at: int = 0,
    half: bool = False,
) -> Killed:
    """Run ``poetry …`` and kill it, and all that it started, at its N-th change.

    :param venv: the activated virtual environment, if any.
    :param below: where changes count, if that is not the environment.
    :param at: 0 only counts.
    :param half: kill after a file was created or truncated, not before.
    """
    count = project.path.parent / f"changes-{uuid.uuid4().hex}"
    environ = {
        "PYTHONPATH": str(KILLS),
        "KILL_BELOW": str(below or venv),
        "KILL_COUNT": str(count),
        "KILL_AT": str(at),
        **({"KILL_HALF": "1"} if half else {}),
    }
    result = poetry.run(project, *arguments, environ=project.environment(venv, environ))
    changes = count.stat().st_size if count.exists() else 0
    count.unlink(missing_ok=True)
    return Killed(result, changes)


@dataclass(frozen=True)
class Saved:
    """Directories as they were, to go back to as often as is needed."""

    directories: tuple[Path, ...]
    copies: Path

    @classmethod
    def of(cls, copies: Path, *directories: Path) -> Saved:
        shutil.rmtree(copies, ignore_errors=True)
        for number, directory in enumerate(directories):
            shutil.copytree(directory, copies / str(number), symlinks=True)
        return cls(directories, copies)

    def restore(self) -> None:
        for number, directory in enumerate(self.directories):
            shutil.rmtree(directory, ignore_errors=True)
            shutil.copytree(self.copies / str(number), directory, symlinks=True)


def faults(venv: Path, modules: Collection[str] | None = None) -> list[str]:
    """What is wrong with an environment: files, modules, and who lists what.

    :param modules: what must be importable; everything unless told otherwise.
    """
    (site,) = venv.glob("lib/python3*/site-packages")
    found = wrong_files(venv, site)
    if modules is None:
        infos = site.glob("*.dist-info/RECORD")
        modules = [name for record in infos for name in _modules(record)]
    python = [str(venv / "bin" / "python"), "-B", "-I", "-c", LIST, *modules]
    result = subprocess.run(python, capture_output=True, text=True)
    if result.returncode:
        return [*found, result.stderr]
    failed, listed = json.loads(result.stdout)
    found += [f"cannot be imported: {name}" for name in failed]
    # What a kill has left may have no name, or no version.
    named = sorted((str(name), str(version)) for name, version in listed)
    return found + _different_lists(venv, site, named)


def _modules(record: Path) -> list[str]:
    """What must be importable if this distribution is installed."""
    with record.open(newline="") as file:
        names = [row[0] for row in csv.reader(file)]
    return [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in names
        if name.endswith(".py") and not name.startswith((".", "/"))
    ]


def wrong_files(venv: Path, site: Path) -> list[str]:
    """Files that are not as a RECORD says, and those that none names."""
    found = []
    named = set()
    for dist_info in site.glob("*.dist-info"):
        if not (dist_info / "RECORD").exists():
            found.append(f"no RECORD: {dist_info.name}")
            continue
        with (dist_info / "RECORD").open(newline="") as file:
            rows = list(csv.reader(file))
        for name, digest, _ in rows:
            path = Path(os.path.normpath(site / name))
            named.add(path)
            if not path.exists():
                found.append(f"missing: {name} of {dist_info.name}")
            elif digest and _digest(path) != digest:
                found.append(f"changed: {name} of {dist_info.name}")
    found += [
        f"nobody's: {path.relative_to(site)}"
        for path in sorted(site.rglob("*"))
        if (path.is_file() or not any(path.iterdir()))
        if path not in named and not path.name.startswith("_virtualenv.")
        if "__pycache__" not in path.parts
    ]
    found += [
        f"nobody's: {path.relative_to(venv)}"
        for path in sorted((venv / "bin").iterdir())
        if path not in named
        and not path.name.startswith(("python", "activate", "deactivate", "pydoc"))
    ]
    return found


def _digest(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _different_lists(
    venv: Path, site: Path, listed: list[tuple[str, str]]
) -> list[str]:
    uv = [find_uv_bin(), "pip", "list", "--format", "json"]
    result = subprocess.run(
        [*uv, "--python", str(venv / "bin" / "python")],
        capture_output=True,
        text=True,
        check=True,
    )
    by_uv = sorted(
        (each["name"], each["version"]) for each in json.loads(result.stdout)
    )
    environment = get_environment([str(site)])
    by_pip = sorted(
        (str(each.metadata["Name"]), str(each.version))
        for each in environment.iter_all_distributions()
    )
    found = []
    for name, other in (("uv", by_uv), ("pip", by_pip)):
        if other != listed:
            found.append(f"importlib.metadata lists {listed}, {name} {other}")
    return found
