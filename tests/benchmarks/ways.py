"""The ways in which a workload is run, and the commands that it is made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field
from enum import Enum
from typing import TYPE_CHECKING

from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import measured_home


if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path

    from tests.laboratory.projects import Project


class Way(Enum):
    UNPROTECTED = "unprotected"
    PROTECTED = "protected"
    KNOWN = "protected, plugins known"
    """To this machine: another clone has installed them before."""
    SETTLED = "unprotected, plugins there"
    """The least that Poetry itself can do it with: every Python has a checkout of its own,
    where its plugins are installed."""
    FLOCK = "flock"
    UV = "uv"


POETRIES = tuple(
    way
    for way in (Way.UNPROTECTED, Way.PROTECTED, Way.FLOCK)
    if way is not Way.FLOCK or shutil.which("flock")
)
"""The ways that run Poetry. There is no flock(1) on macOS and Windows."""

WITH_PLUGINS = (*POETRIES[:2], Way.KNOWN, Way.SETTLED, *POETRIES[2:])
"""For projects that require plugins."""


@dataclass(frozen=True)
class Command:
    """One command of a workload."""

    project: Project
    arguments: Sequence[str]
    venv: Path | None = None
    minor: str = DEFAULT_PYTHON
    environ: Mapping[str, str] = field(default_factory=dict)
    uv: Sequence[str] = ()
    """What uv is told where it runs in Poetry's place."""
    says: str = ""
    """The last line of the output, if the result is right."""

    def line(self, way: Way) -> list[str]:
        """The command as it is started."""
        if way is Way.UV:
            return [sys.executable, "-m", "uv", "--quiet", *self.uv]
        home = measured_home(self.minor, protected=way in (Way.PROTECTED, Way.KNOWN))
        line = [str(home.executable), "--no-ansi", *self.arguments]
        if way is Way.FLOCK:
            line = ["flock", str(self.project.path.parent / "flock"), *line]
        return line

    def run(self, way: Way) -> Ended:
        start = time.monotonic()
        # Without a timeout: with one, Python looks only every 50 ms.
        result = subprocess.run(
            self.line(way),
            cwd=self.project.path,
            env=self.project.environment(self.venv, self.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seconds = time.monotonic() - start
        last = (result.stdout.strip().splitlines() or [""])[-1].strip()
        wrong = result.returncode == 0 and self.says not in ("", last)
        return Ended(seconds, result.returncode != 0, wrong, result.stdout)


@dataclass(frozen=True)
class Ended:
    """How one command ended."""

    seconds: float
    failed: bool
    wrong: bool
    """Whether it succeeded, but with a wrong result."""
    out: str


@dataclass(frozen=True)
class Sample:
    """One run of a workload."""

    seconds: float
    """Until the last command ended."""
    processor: float
    """Seconds of processor time that all of them took."""
    ended: Sequence[Ended]

    @property
    def failed(self) -> int:
        return sum(each.failed for each in self.ended)

    @property
    def wrong(self) -> int:
        return sum(each.wrong for each in self.ended)


Job = list[Command]
"""Commands that are run one after the other."""


def at_once(jobs: Sequence[Job], way: Way) -> Sample:
    """Run jobs at the same time, each command of a job after the one before it."""
    start, processor = time.monotonic(), _processor_time()
    with ThreadPoolExecutor(len(jobs)) as pool:
        ended = list(pool.map(lambda job: [each.run(way) for each in job], jobs))
    seconds, processor = time.monotonic() - start, _processor_time() - processor
    return Sample(seconds, processor, [each for job in ended for each in job])


def _processor_time() -> float:
    """Of all processes that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system
