"""Run the workloads, print the table, write the page and the chart."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time

from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from statistics import median
from statistics import quantiles
from typing import TYPE_CHECKING

import pyperf  # type: ignore[import-untyped]

from tests.benchmarks.instructions import instructions
from tests.benchmarks.instructions import instructions_alone
from tests.benchmarks.machine import machine
from tests.benchmarks.report import Instructions
from tests.benchmarks.report import Measured
from tests.benchmarks.report import chart
from tests.benchmarks.report import instructions_table
from tests.benchmarks.report import table
from tests.benchmarks.turns import gaps
from tests.benchmarks.ways import Way
from tests.benchmarks.ways import at_once
from tests.benchmarks.workloads import FULL
from tests.benchmarks.workloads import SHORT
from tests.benchmarks.workloads import Workshop
from tests.laboratory import CACHE
from tests.laboratory import ROOT
from tests.laboratory.index import LocalIndex
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import measured_home
from tests.laboratory.pythons import pythons


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Sequence

    from tests.benchmarks.ways import Sample
    from tests.benchmarks.workloads import Workload

PAGE = ROOT / "docs" / "benchmarks.md"
CHART = ROOT / "docs" / "benchmarks.svg"
WHY = "## What is not reached, and why"
"""A section that people write; it stays in the page when that is written again."""
WAITERS = 8
REACHES = {"--version": 1.004, "run true": 1.008, "install": 1.01}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument(
        "--full",
        action="store_true",
        help="all sizes, more rounds; write docs/benchmarks.md and its chart",
    )
    parser.add_argument("--only", help="workloads to run, for example abf; only print")
    arguments = parser.parse_args()
    size = FULL if arguments.full else SHORT
    only = arguments.only or size.keys
    _prepare()
    counted: list[Instructions] = []
    measured: list[Measured] = []
    with (
        tempfile.TemporaryDirectory(dir=CACHE) as name,
        LocalIndex(Path(name, "made"), WHEELS, STAND_INS) as index,
    ):
        shop = Workshop(Path(name), index, Path(name, "made"), size)
        if "a" in only:
            there = shop.being_there()
            # Each count takes a minute: the short form has half of the cheapest one.
            to_count = there if arguments.full else there[:1]
            counted = list(count(to_count, and_alone=arguments.full))
            measured = [measure(each) for each in there]
        measured += [measure(each) for each in shop.workloads(only)]
        between = gaps(Path(name, "turns"), WAITERS, 25) if "g" in only else []
    save(measured)
    is_whole = arguments.full and not arguments.only
    text = page(measured, counted, between, explained() if is_whole else [])
    print("\n" + text)
    if is_whole:
        PAGE.write_text(text, encoding="utf-8")
        shown = [each for each in measured if each.key in "bk"]
        CHART.write_text(chart(shown), encoding="utf-8")


def _prepare() -> None:
    for minor in pythons():
        for protected in (False, True):
            measured_home(minor, protected=protected)


def measure(workload: Workload) -> Measured:
    """Run a workload in all its ways in turn, so that a drift touches them alike."""
    samples: dict[Way, list[Sample]] = {way: [] for way in workload.ways}
    for number in range(workload.rounds):
        _tell(f"{workload.key} {workload.title}: {number + 1} of {workload.rounds}")
        for way in workload.ways:
            sample = at_once(workload.prepare(way), way)
            samples[way].append(sample)
            for each in sample.ended:
                if each.failed and "-v" in os.environ.get("BENCH", ""):
                    _tell(each.out)
    measured = Measured(workload.key, workload.title, workload.reach, samples)
    _tell(table([measured]).splitlines()[-1])  # who stops an hour's run keeps that
    return measured


def count(workloads: Iterable[Workload], *, and_alone: bool) -> Iterable[Instructions]:
    for workload in workloads:
        ((command,),) = workload.prepare(Way.UNPROTECTED)
        name = " ".join(command.arguments)
        _tell(f"counting the instructions of poetry {name}")
        command.run(Way.PROTECTED)  # the first one compiles what the others find
        with ThreadPoolExecutor(2) as pool:
            plain, protected = pool.map(
                lambda way, command=command: instructions(command, protected=way),
                (False, True),
            )
        alone = instructions_alone(command) if and_alone else None
        if plain and protected:
            yield Instructions(name, plain, protected, alone, REACHES[name])


def save(measured: Sequence[Measured]) -> None:
    """For ``python -m pyperf compare_to`` between ways, versions or machines."""
    for way in Way:
        benchmarks = [
            pyperf.Benchmark(
                [
                    pyperf.Run(
                        [sample.seconds],
                        metadata={"name": f"{each.key} {each.title}"},
                        collect_metadata=False,
                    )
                    for sample in each.samples[way]
                ]
            )
            for each in measured
            if way in each.samples
        ]
        if benchmarks:
            file = CACHE / f"benchmarks-{way.value}.json"
            pyperf.BenchmarkSuite(benchmarks).dump(str(file), replace=True)


def page(
    measured: Sequence[Measured],
    counted: Sequence[Instructions],
    between: Sequence[float],
    why: Sequence[str],
) -> str:
    parts = [
        "# Benchmarks",
        "`make bench-full` writes this page; `make bench` prints one like it within five"
        f" minutes. Measured on {time.strftime('%Y-%m-%d')}. Machine: {machine()}."
        f" Poetry {NEWEST}, Python {', '.join(pythons())}, filelock"
        f" {version('filelock')}, poetry-plugin-safe-install"
        f" {version('poetry-plugin-safe-install')}.",
    ]
    if any(each.key == "b" for each in measured):
        parts += [f"![Several Pythons at once in one checkout]({CHART.name})"]
    parts += [
        "Median seconds until all commands are done (least-most), each way in turn."
        " `flock` is `flock <file> poetry …`, what people do today; uv is there for"
        " scale. **Reach** is the figure that this project has set itself for a row: how"
        " long the protected commands may take, as a part of what the unprotected ones"
        " take unless said; the last column tells in a word whether it is reached."
        " *Plugins known*: another clone on this machine has installed them before."
        " *Plugins there* (and *least*): unprotected Poetry where it has nothing to install"
        " but the project and works, with a checkout for each Python; nobody is faster"
        " who lets Poetry do all that it does.",
        table(measured),
    ]
    parts += why
    if counted:
        parts += [
            "## Instructions",
            "Wall time is noisy; instructions are not"
            " (`valgrind --tool=callgrind`, `PYTHONHASHSEED=0`). *Protection alone* is"
            " the ratio where the schemas that Poetry compiles are not kept"
            " ([Caches](caches.md#schemas)).",
            instructions_table(counted),
        ]
    if between:
        cuts = quantiles(between, n=10)
        parts += [
            "## From a release to the next start",
            f"{len(between)} times, {WAITERS} processes that wait: median"
            f" {median(between) * 1000:.1f} ms (reach: 20 ms), nine of ten within"
            f" {cuts[-1] * 1000:.1f} ms, at most {max(between) * 1000:.1f} ms.",
        ]
    return "\n\n".join(parts) + "\n"


def explained() -> list[str]:
    """What people have written about the figures, which may have changed since."""
    told = PAGE.read_text(encoding="utf-8").partition(f"\n{WHY}\n")[2]
    return [WHY, told.partition("\n## ")[0].strip()] if told else []


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
