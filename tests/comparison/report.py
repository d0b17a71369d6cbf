"""What was seen, as a Markdown table and as a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.drawing import bar
from tests.benchmarks.drawing import drawing
from tests.benchmarks.drawing import text
from tests.comparison.trials import Outcome


if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.comparison.trials import Trials

COLOURS = {
    Outcome.WHOLE: "#1f7a4d",
    Outcome.FAILED: "#6b7280",
    Outcome.SILENT: "#b3541e",
}
LEFT, WIDTH, BAR, GAP = 210, 760, 30, 10


def table(found: Sequence[Trials]) -> str:
    """A row for each installer and set of wheels."""
    heads = ["wheels", "installer", "kills", *(outcome.value for outcome in Outcome)]
    rows = [heads, ["---"] * len(heads)]
    for each in found:
        counts = [str(each.outcomes.get(outcome, 0)) for outcome in Outcome]
        rows.append([each.wheels, each.installer, str(each.kills), *counts])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def chart(found: Sequence[Trials]) -> str:
    """A bar for each installer: how many of its kills ended how."""
    names = list(dict.fromkeys(each.installer for each in found))
    title = "Killed while it installs, then run again"
    parts = [
        text(16, 26, title, size=16, weight="bold"),
        text(16, 48, f"{' / '.join(dict.fromkeys(each.wheels for each in found))}"),
    ]
    for number, name in enumerate(names):
        top = 64 + number * (BAR + GAP)
        mine = [each for each in found if each.installer == name]
        parts += [text(LEFT - 10, top + BAR / 2 + 5, name, anchor="end")]
        parts += _bars(mine, top)
    height = 70 + len(names) * (BAR + GAP)
    parts += [
        text(16, height + 12, "Each kill is at another change of files.", size=12)
    ]
    return drawing(WIDTH, height + 26, title, parts)


def _bars(mine: Sequence[Trials], top: int) -> list[str]:
    counts = {
        outcome: sum(each.outcomes.get(outcome, 0) for each in mine)
        for outcome in COLOURS
    }
    kills = sum(counts.values())
    scale = (WIDTH - LEFT - 230) / max(kills, 1)
    parts, left = [], float(LEFT)
    for outcome, count in counts.items():
        if count:
            parts.append(bar(left, top, count * scale, BAR, COLOURS[outcome]))
            left += count * scale
    said = [f"{count} {outcome.value}" for outcome, count in counts.items() if count]
    label = f"{', '.join(said)}"
    return [*parts, text(left + 10, top + BAR / 2 + 5, label, weight="bold")]
