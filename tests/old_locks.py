"""What lock files of real projects do to a Poetry in the environment they install into.

``python -m tests.old_locks 30 2.0.1 2.2.1 2.5.1`` prints a row for each Poetry, age of the
lock files and command. What the projects require is resolved by uv as it was at that
time; what a command would then do to the packages that Poetry needs too is judged by the
plugin's own function. For thirty minutes the commands are run as well, without and with
the plugin, once for all projects with which they do the same to these packages: those
first that are not refused, then the most frequent. What was run is kept in ``.cache``, and
not run again.

There the packages that Poetry needs are the real ones; of all others there is only the
metadata, since their files do nothing to it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from poetry_plugin_safe_install.own_packages.installed import OwnPackages
from poetry_plugin_safe_install.own_packages.judge import Action
from poetry_plugin_safe_install.own_packages.judge import Installed
from poetry_plugin_safe_install.own_packages.judge import judge
from poetry_plugin_safe_install.releases import Change
from poetry_plugin_safe_install.releases import Release
from poetry_plugin_safe_install.releases import Requires
from tests.laboratory import CACHE
from tests.laboratory.changes import with_constants
from tests.laboratory.environments import isolated_environ
from tests.laboratory.index import LocalIndex
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import Project
from tests.laboratory.projects import make_project
from tests.laboratory.resolutions import resolution
from tests.laboratory.resolutions import serve
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.resolutions import Resolved

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
AGES = {"that day": "", "a year before": "2025-11-21"}
COMMANDS = ("install", "sync", "add", "remove", "update")
"""``add`` adds something harmless, ``remove`` removes what the project requires first.

The last one finds the releases of today in the index, the others those of the lock file.
"""

WORKS = (("--version",), ("check",))
NO_ADVICE = with_constants(
    {"poetry_plugin_safe_install.own_packages.relocking:LIMIT": 0.001}
)
KNOWN = CACHE / "old-locks.json"


class Effect(NamedTuple):
    """What a command does to Poetry's own packages: all that counts here.

    Each with its new version, or none where it is removed.
    """

    version: str
    command: str
    changes: tuple[tuple[str, str | None], ...]

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {new or 'removed'}" for name, new in self.changes)
        return f"{self.version} {self.command}: {shown}"


class Situation(NamedTuple):
    """A command in a project with a lock file of that age."""

    project: str
    age: str
    command: str


@dataclass(frozen=True)
class Locked:
    """A project with its lock file, and the folder of the index that it is of."""

    name: str
    project: Project
    packages: Path


class Trials:
    """The real runs, each made once."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        index = stack.enter_context(LocalIndex(folder / "nothing"))
        self._other = make_project(
            folder / "other",
            index,
            environ=isolated_environ(folder / "poetry"),
            name="other",
        )
        text = KNOWN.read_text(encoding="utf-8") if KNOWN.exists() else "{}"
        self.known: dict[str, dict[str, str]] = json.loads(text)

    def run(self, effect: Effect, situation: Situation, real: set[str]) -> None:
        locked = self._locked(situation, real)
        same = self.known.get(str(effect._replace(command="install")))
        if effect.command == "add" and same:
            without = same["without"]
        else:
            without = self._without(effect, locked)
        found = {"without": without, "with": self._with(effect, locked)}
        self.known[str(effect)] = found
        KNOWN.write_text(json.dumps(self.known, indent=1), encoding="utf-8")
        print(f"{effect}: {found}", flush=True)

    def _locked(self, situation: Situation, real: set[str]) -> Locked:
        name, age, command = situation
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        serve_real(resolution(name, AGES[age]), real, folder / "index")
        Distribution("harmless", "1.0").wheel(folder / "index")
        index = self._stack.enter_context(LocalIndex(folder / "index"))
        project = make_project(
            folder / "project",
            index,
            # One each: its cache knows releases by name, and these are not the same.
            environ=isolated_environ(folder / "poetry"),
            dependencies=tuple(name.split()),
        )
        text = project.pyproject.read_text()
        python = f">={DEFAULT_PYTHON},<4.0"
        project.pyproject.write_text(text.replace(">=3.10", python))
        project.poetry(poetry_home(protected=False), "lock").succeeded()
        if command == "update":
            serve_real(resolution(name, ""), real, folder / "index")
        return Locked(name, project, folder / "index")

    def _without(self, effect: Effect, locked: Locked) -> str:
        with tempfile.TemporaryDirectory(dir=self._folder) as directory:
            home = copy_of(effect.version, False, Path(directory, "home"))
            project = copied(locked.project, Path(directory, "project"))
            project.poetry(
                home, *arguments(effect.command, locked.name), venv=home.path
            )
            return self._state(home)

    def _with(self, effect: Effect, locked: Locked) -> str:
        with tempfile.TemporaryDirectory(dir=self._folder) as directory:
            home = copy_of(effect.version, True, Path(directory, "home"))
            project = copied(locked.project, Path(directory, "project"))
            before = fingerprint(home)
            command = arguments(effect.command, locked.name)
            result = project.poetry(home, *command, venv=home.path, environ=NO_ADVICE)
            if "would damage" in result.out:
                same = fingerprint(home) == before
                return "refused, " + ("nothing changed" if same else "BRICKED?")
            if "put back" in result.out:
                return f"put back, {self._state(home)}"
            if result.code == 0:
                return f"made, {self._state(home)}"
            return f"failed, {self._state(home)}: {result.out.strip()[-300:]}"

    def _state(self, home: PoetryHome) -> str:
        """Whether that Poetry works, and whether all that is required is there."""
        if not home.executable.exists():
            return "BRICKED: no poetry"
        for command in WORKS:
            found = self._other.poetry(home, *command, venv=home.path)
            if found.code:
                return f"BRICKED by {found.out.strip().splitlines()[-1:]}"
        pip = [sys.executable, "-m", "pip", "--python", str(home.python)]
        said = subprocess.run([*pip, "check"], capture_output=True, text=True)
        broken = _own_problems(home, said.stdout) if said.returncode else ""
        return f"works{broken}"


def fingerprint(home: PoetryHome) -> dict[str, tuple[int, ...]]:
    """Every file of that environment, but for compiled ones, and whether it is the same."""
    found: dict[str, tuple[int, ...]] = {}
    for path in home.path.rglob("*"):
        seen = path.lstat()
        if not (path.is_dir() or path.name.endswith((".pyc", ".lock"))):
            found[str(path)] = (seen.st_ino, seen.st_size, seen.st_mtime_ns)
    return found


def _own_problems(home: PoetryHome, said: str) -> str:
    """What ``pip check`` says of Poetry's own packages."""
    own = own_packages(home.version).releases
    lines = [line for line in said.splitlines() if line.split(" ")[0].lower() in own]
    return f", pip check: {lines}" if lines else ""


@cache
def own_packages(version: str) -> OwnPackages:
    home = poetry_home(version)
    return OwnPackages([str(home.site_packages)])


def copy_of(version: str, protected: bool, folder: Path) -> PoetryHome:
    home = poetry_home(version, protected=protected).clone(folder)
    assert folder in home.site_packages.parents
    return home


def copied(project: Project, path: Path) -> Project:
    shutil.copytree(project.path, path)
    return Project(path, project.environ)


def arguments(command: str, name: str) -> list[str]:
    further = {"add": ["harmless"], "remove": [name.split()[0]]}
    return [command, *further.get(command, [])]


def serve_real(resolved: Mapping[str, Resolved], real: set[str], folder: Path) -> None:
    """With the real packages that other releases of the real ones require."""
    serve(resolved, needed(sorted(real & {*resolved}), resolved), folder)


def effect_of(situation: Situation, version: str) -> Effect:
    """What uv's resolutions lead to; if Poetry is removed, nothing else matters."""
    name, age, command = situation
    own = own_packages(version).releases
    wanted = resolution(name, "" if command == "update" else AGES[age])
    kept = {*wanted}
    if command == "remove":
        kept = needed(name.split()[1:], wanted)
    changes: dict[str, str | None] = {
        name: wanted[name].version
        for name, release in own.items()
        if name in kept and wanted[name].version != release.version
    }
    if command == "remove":
        changes |= dict.fromkeys(name for name in own if name in {*wanted} - kept)
    if command == "sync" and "poetry" not in wanted:
        changes = {"poetry": None}
    return Effect(version, command, tuple(sorted(changes.items())))


def needed(names: list[str], resolved: Mapping[str, Resolved]) -> set[str]:
    waiting, found = [*names], set[str]()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found.add(name)
            waiting += [
                Requirement(required).name for required in resolved[name].requires
            ]
    return found


def is_refused(effect: Effect, situation: Situation, mode: str) -> bool:
    """By the plugin's own rule, or with "strict" by that of 0.1.0."""
    own = own_packages(effect.version)
    name, age, command = situation
    resolved = resolution(name, "" if command == "update" else AGES[age])
    changes = [
        Change(package, release(resolved[package]) if new else None)
        for package, new in effect.changes
    ]
    others = {name: release(found) for name, found in resolved.items()}
    found = Installed(own.releases, own.roots, {**own.others, **others})
    verdicts = judge(changes, found, [], mode)
    return any(verdict.action is Action.STOP for verdict in verdicts)


def release(resolved: Resolved) -> Release:
    name, version, requires = resolved
    return Release(
        name,
        version,
        tuple(
            Requires(
                f"{name} {version}",
                canonicalize_name(requirement.name),
                str(requirement),
                partial(requirement.specifier.contains, prereleases=True),
            )
            for requirement in map(Requirement, requires)
        ),
    )


def count(
    row: Counter[str],
    effect: Effect,
    situation: Situation,
    known: Mapping[str, Mapping[str, str]],
) -> None:
    row["of"] += 1
    if not effect.changes:
        return
    refused = is_refused(effect, situation, "refuse")
    row["concerned"] += 1
    row["refused by 0.1.0"] += is_refused(effect, situation, "strict")
    row["refused"] += refused
    if outcome := known.get(str(effect)):
        row["run"] += 1
        row["bricked without"] += "BRICKED" in outcome["without"]
        row["put back"] += outcome["with"].startswith("put back")
        row["bricked with"] += "BRICKED" in outcome["with"]
        row["pip check without"] += "pip check" in outcome["without"]
        row["pip check with"] += "pip check" in outcome["with"]
        if outcome["with"].startswith("refused") != refused:
            print(f"DIFFERS: {effect} {situation} {outcome}")


COLUMNS = (
    *("of", "concerned", "refused by 0.1.0", "refused", "run", "bricked without"),
    *("put back", "bricked with", "pip check without", "pip check with"),
)


def main(minutes: float, versions: list[str]) -> None:
    end = time.monotonic() + 60 * minutes
    real = {name for version in versions for name in own_packages(version).releases}
    of: dict[Effect, list[Situation]] = {}
    for place in product(versions, AGES, COMMANDS, PROJECTS):
        version, age, command, name = place
        situation = Situation(name, age, command)
        of.setdefault(effect_of(situation, version), []).append(situation)
    urgent = sorted(
        of, key=lambda one: (is_refused(one, of[one][0], "refuse"), -len(of[one]))
    )
    with (
        tempfile.TemporaryDirectory(prefix="old-locks-") as folder,
        ExitStack() as stack,
    ):
        trials = Trials(Path(folder), stack)
        for effect in urgent:
            if effect.changes and str(effect) not in trials.known:
                if time.monotonic() > end:
                    break
                trials.run(effect, of[effect][0], real)
    rows: dict[tuple[str, str, str], Counter[str]] = {}
    for effect, situations in of.items():
        for situation in situations:
            key = (effect.version, situation.age, situation.command)
            row = rows.setdefault(key, Counter())
            count(row, effect, situation, trials.known)
    print("", "Poetry", "lock file from", "command", *COLUMNS, "", sep=" | ")
    for key, row in rows.items():
        print("", *key, *(row[column] for column in COLUMNS), "", sep=" | ")


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
