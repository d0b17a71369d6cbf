"""The results, as a Markdown table and as a chart."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks.drawing import bar
from tests.benchmarks.drawing import drawing
from tests.benchmarks.drawing import text
from tests.benchmarks.ways import Way


if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from tests.benchmarks.ways import Sample


@dataclass(frozen=True)
class Measured:
    """A workload and what was seen of it."""

    key: str
    title: str
    reach: str
    samples: Mapping[Way, Sequence[Sample]]

    def median(self, way: Way) -> float:
        return median(sample.seconds for sample in self.samples[way])

    def troubles(self, way: Way) -> str:
        """How many commands failed or came to a wrong result; empty if none did."""
        samples = self.samples[way]
        of = sum(len(sample.ended) for sample in samples)
        failed = sum(sample.failed for sample in samples)
        wrong = sum(sample.wrong for sample in samples)
        found = [f"{failed} failed"] if failed else []
        found += [f"{wrong} wrong"] if wrong else []
        return f"{' and '.join(found)} of {of}" if found else ""


@dataclass(frozen=True)
class Instructions:
    """Instructions of one command, ``run true`` for example."""

    name: str
    unprotected: int
    protected: int
    reach: float

    @property
    def ratio(self) -> float:
        return self.protected / self.unprotected


def table(measured: Sequence[Measured]) -> str:
    """One row a workload: median, spread, failures; and the ratio."""
    heads = ["", "workload", *(way.value for way in Way), "protected / unprotected"]
    rows = [heads, ["---"] * len(heads)]
    for each in measured:
        ratio = ""
        if each.troubles(Way.UNPROTECTED):
            ratio = "unprotected does not work; "
        ratio += f"{each.median(Way.PROTECTED) / each.median(Way.UNPROTECTED):.2f}"
        if each.reach:
            ratio += f" (reach: {each.reach})"
        cells = [_cell(each, way) for way in Way]
        rows.append([each.key, each.title, *cells, ratio])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(each: Measured, way: Way) -> str:
    if way not in each.samples:
        return "-"
    seconds = [sample.seconds for sample in each.samples[way]]
    troubles = each.troubles(way)
    cell = f"{median(seconds):.2f} s"
    if len(seconds) > 1:
        cell += f" ({min(seconds):.2f}-{max(seconds):.2f})"
    return f"{cell}, **{troubles}**" if troubles else cell


def instructions_table(counted: Sequence[Instructions]) -> str:
    rows = ["| command | unprotected | protected | ratio | reach |"]
    rows.append("| --- | --- | --- | --- | --- |")
    rows += [
        f"| `poetry {each.name}` | {each.unprotected:,} | {each.protected:,}"
        f" | {each.ratio:.4f} | {each.reach} |"
        for each in counted
    ]
    return "\n".join(rows)


BAR = 34
LEFT = 120
WIDTH = 760
COLOURS = {
    Way.UNPROTECTED: "#b3541e",
    Way.PROTECTED: "#1f7a4d",
    Way.FLOCK: "#6b7280",
    Way.UV: "#6b7280",
}


def chart(each: Measured) -> str:
    """Bars of seconds for one workload, with what went wrong written beside them."""
    ways = [way for way in Way if way in each.samples]
    longest = max(each.median(way) for way in ways)
    scale = (WIDTH - LEFT - 260) / longest
    height = 78 + len(ways) * (BAR + 12)
    title, *rest = each.title.split(": ", 1)
    parts = [
        text(16, 26, title, size=16, weight="bold"),
        text(16, 48, f"{''.join(rest) or 'time'}: seconds until all are done"),
    ]
    for number, way in enumerate(ways):
        top = 64 + number * (BAR + 12)
        seconds = each.median(way)
        width = max(seconds * scale, 2)
        label = f"{seconds:.1f} s, {each.troubles(way) or 'all right'}"
        middle = top + BAR / 2 + 5
        parts += [
            text(LEFT - 10, middle, way.value, anchor="end"),
            bar(LEFT, top, width, BAR, COLOURS[way]),
            text(LEFT + width + 10, middle, label, weight="bold"),
        ]
    return drawing(WIDTH, height, each.title, parts)
