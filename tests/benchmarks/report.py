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
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence

    from tests.benchmarks.ways import Sample
    from tests.benchmarks.workloads import Reach


@dataclass(frozen=True)
class Measured:
    """A workload and what was seen of it."""

    key: str
    title: str
    reach: Reach
    samples: Mapping[Way, Sequence[Sample]]

    def median(self, way: Way) -> float:
        return median(sample.seconds for sample in self.samples[way])

    def ratio(self, way: Way, other: Way) -> float:
        return self.median(way) / self.median(other)

    def processor(self, way: Way) -> float:
        return median(sample.processor for sample in self.samples[way])

    def verdict(self, before: Measured | None) -> str:
        """In one word."""
        reach = self.reach
        held = [
            self.ratio(way, other) <= most
            for way, other, most in reach.ratios
            if way in self.samples and other in self.samples
        ]
        if reach.row_before and before:
            most = reach.row_before * before.median(Way.PROTECTED)
            held.append(self.median(Way.PROTECTED) <= most)
        if not held:
            return "-"
        return "reached" if all(held) else "missed"

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
    alone: int | None
    """Protected, where nothing that Poetry compiles is kept; ``None``: not counted."""
    reach: float

    @property
    def ratio(self) -> float:
        return self.protected / self.unprotected

    @property
    def ratio_alone(self) -> str:
        return f"{self.alone / self.unprotected:.4f}" if self.alone else "-"


def table(measured: Sequence[Measured]) -> str:
    """One row a workload: median, spread, failures; the ratios, and what they should be."""
    ways = [way for way in Way if any(way in each.samples for each in measured)]
    heads = ["", "workload", *(way.value for way in ways), "of unprotected"]
    heads += ["processor time, of unprotected", "reach", ""]
    rows = [heads, ["---"] * len(heads)]
    for before, each in zip([None, *measured], measured, strict=False):
        cells = [_cell(each, way) for way in ways]
        verdict = each.verdict(before)
        ratios = [_ratios(each, each.median), _ratios(each, each.processor)]
        rows.append([each.key, each.title, *cells, *ratios, each.reach.text, verdict])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _ratios(each: Measured, of: Callable[[Way], float]) -> str:
    if Way.UNPROTECTED not in each.samples:
        return "-"
    base = of(Way.UNPROTECTED)
    text = f"{of(Way.PROTECTED) / base:.2f}"
    if Way.KNOWN in each.samples:
        text += f", known {of(Way.KNOWN) / base:.2f}"
    if Way.SETTLED in each.samples:
        text += f", least {of(Way.SETTLED) / base:.2f}"
    if each.troubles(Way.UNPROTECTED):
        text += " (which does not work)"
    return text


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
    rows = [
        "| command | unprotected | protected | ratio | reach | | protection alone |"
    ]
    rows.append("| --- | --- | --- | --- | --- | --- | --- |")
    rows += [
        f"| `poetry {each.name}` | {each.unprotected:,} | {each.protected:,}"
        f" | {each.ratio:.4f} | {each.reach:.3f}"
        f" | {'reached' if each.ratio <= each.reach else 'missed'}"
        f" | {each.ratio_alone} |"
        for each in counted
    ]
    return "\n".join(rows)


BAR = 34
LEFT = 200
WIDTH = 840
COLOURS = {
    Way.UNPROTECTED: "#b3541e",
    Way.PROTECTED: "#1f7a4d",
    Way.KNOWN: "#1f7a4d",
    Way.SETTLED: "#6b7280",
    Way.FLOCK: "#6b7280",
    Way.UV: "#6b7280",
}


def chart(measured: Sequence[Measured]) -> str:
    """Bars of seconds for each workload, with what went wrong written beside them."""
    parts, top = [], 0
    for each in measured:
        more, top = _bars(each, top)
        parts += more
    title = "; ".join(each.title for each in measured)
    return drawing(WIDTH, top, title, parts)


def _bars(each: Measured, top: int) -> tuple[list[str], int]:
    """
    :param top: where to begin.
    :return: the bars of a workload, and where they end.
    """
    ways = [way for way in Way if way in each.samples]
    scale = (WIDTH - LEFT - 260) / max(each.median(way) for way in ways)
    title, *rest = each.title.split(": ", 1)
    parts = [
        text(16, top + 26, title, size=16, weight="bold"),
        text(16, top + 48, f"{''.join(rest) or 'time'}: seconds until all are done"),
    ]
    for number, way in enumerate(ways):
        place = top + 64 + number * (BAR + 12)
        seconds = each.median(way)
        width = max(seconds * scale, 2)
        label = f"{seconds:.1f} s, {each.troubles(way) or 'all right'}"
        middle = place + BAR / 2 + 5
        parts += [
            text(LEFT - 10, middle, way.value, anchor="end"),
            bar(LEFT, place, width, BAR, COLOURS[way]),
            text(LEFT + width + 10, middle, label, weight="bold"),
        ]
    return parts, top + 78 + len(ways) * (BAR + 12)
