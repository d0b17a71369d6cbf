"""``make demo``: several Poetrys at once in one checkout, unprotected and protected.

One project names a real plugin, poetry-dynamic-versioning, in ``requires-plugins``.
Every Python that is present installs the project into an environment of its own and
asks for its version, again and again, all at the same time: as CI jobs for several
Pythons do that share a checkout.
"""

from __future__ import annotations

import tempfile
import time

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.laboratory.environments import isolated_environ
from tests.laboratory.environments import make_venv
from tests.laboratory.index import LocalIndex
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.pythons import pythons
from tests.laboratory.tagged import SHOW_VERSION
from tests.laboratory.tagged import VERSION
from tests.laboratory.tagged import make_tagged_project


if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.laboratory.projects import Project

WORKERS = 4
"""How many Poetrys work at once where there are fewer Pythons."""

ROUNDS = 2
"""How often each of them installs and runs."""


@dataclass(frozen=True)
class Seen:
    """What several Poetrys at once have come to."""

    commands: int
    failures: Sequence[str]
    """The last line that each command that failed has said."""
    wrong_versions: int
    seconds: float


@dataclass(frozen=True)
class Worker:
    """A Poetry of one Python with an environment of its own to install into."""

    minor: str
    venv: Path
    protected: bool

    def work(self, project: Project, rounds: int) -> Seen:
        """Install and run the project, again and again."""
        home = poetry_home(minor=self.minor, protected=self.protected)
        failures, wrong, start = [], 0, time.monotonic()
        for _ in range(rounds):
            for arguments in (("install",), ("run", *SHOW_VERSION)):
                result = project.poetry(home, *arguments, venv=self.venv)
                last = (result.out.strip().splitlines() or [""])[-1].strip()
                if result.code:
                    failures.append(f"{arguments[0]}: {_reason(result.out)}")
                elif arguments[0] == "run" and last != VERSION:
                    wrong += 1
        seconds = time.monotonic() - start
        return Seen(2 * rounds, failures, wrong, seconds)


def at_once(project: Project, workers: Sequence[Worker], rounds: int = ROUNDS) -> Seen:
    """Have all of them work at the same time."""
    start = time.monotonic()
    with ThreadPoolExecutor(len(workers)) as pool:
        seen = list(pool.map(lambda worker: worker.work(project, rounds), workers))
    return Seen(
        sum(each.commands for each in seen),
        [failure for each in seen for failure in each.failures],
        sum(each.wrong_versions for each in seen),
        time.monotonic() - start,
    )


def workforce(minors: Sequence[str]) -> list[str]:
    """A Python for each worker: every one that there is, but never fewer than some."""
    return [minors[number % len(minors)] for number in range(max(WORKERS, len(minors)))]


def _reason(out: str) -> str:
    """The line of Poetry's output that says what went wrong."""
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    telling = [line for line in lines if "No module" in line or "rror" in line]
    return (telling or lines or ["said nothing"])[-1]


def main() -> None:
    minors = list(pythons())
    if not minors:
        raise SystemExit("There is no supported Python here that has venv and ssl.")
    work = workforce(minors)
    print(
        f"{len(work)} times Poetry {NEWEST} at once (Python {', '.join(work)}) in one"
        f" checkout:\neach installs and runs it {ROUNDS} times. Its version,"
        f" {VERSION}, is computed from a git tag\nby the plugin"
        " poetry-dynamic-versioning, which the project requires.\n"
    )
    print("Preparing ...", flush=True)
    plain = [poetry_home(minor=minor, protected=False) for minor in minors]
    with tempfile.TemporaryDirectory() as name, LocalIndex(WHEELS, STAND_INS) as index:
        seen = {}
        for protected in (False, True):
            if protected:
                for minor in minors:
                    poetry_home(minor=minor)
            base = Path(name) / ("protected" if protected else "unprotected")
            project = make_tagged_project(
                base / "project", index, plain, environ=isolated_environ(base)
            )
            workers = [
                Worker(minor, make_venv(base / str(number), minor), protected)
                for number, minor in enumerate(work)
            ]
            print(f"Running {base.name} ...", flush=True)
            seen[base.name] = at_once(project, workers)
    print("\n" + table(seen))


def table(seen: dict[str, Seen]) -> str:
    """The figures, and under them what the failures were."""
    lines = [f"{'':12}  commands  failures  wrong versions  seconds"]
    lines += [
        f"{name:12}  {each.commands:8}  {len(each.failures):8}"
        f"  {each.wrong_versions:14}  {each.seconds:7.1f}"
        for name, each in seen.items()
    ]
    for name, each in seen.items():
        lines += [f"\n{name}, {failure}" for failure in sorted(set(each.failures))]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
