"""Kill them all, print the table, write it into the page, and draw the chart."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.machine import machine
from tests.comparison.installers import counter
from tests.comparison.installers import installers
from tests.comparison.report import chart
from tests.comparison.report import table
from tests.comparison.trials import PANDAS
from tests.comparison.trials import SMALL
from tests.comparison.trials import trials
from tests.laboratory import CACHE
from tests.laboratory import ROOT
from tests.laboratory.index import LocalIndex
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import download
from tests.laboratory.poetries import measured_home


if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.comparison.trials import Trials

PAGE = ROOT / "docs" / "comparison.md"
CHART = ROOT / "docs" / "comparison.svg"
MEASURED = re.compile(r"(<!-- make compare: begin -->\n).*(<!-- end -->)", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make compare")
    parser.add_argument("--kills", type=int, default=12, help="of each, per wheels")
    parser.add_argument("--no-page", action="store_true", help="only print")
    arguments = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        found = list(compare(Path(name), arguments.kills))
    text = f"{about()}\n\n{table(found)}\n"
    print("\n" + text)
    if not arguments.no_page:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(
            MEASURED.sub(lambda found: found[1] + text + found[2], page),
            encoding="utf-8",
        )
        CHART.write_text(chart(found), encoding="utf-8")


def compare(work: Path, kills: int) -> Iterator[Trials]:
    """Install either set of wheels with everybody, and kill them."""
    library = counter(work)
    homes = {
        "Poetry": measured_home(protected=False),
        "Poetry with this plugin": measured_home(protected=True),
    }
    for wheels in (PANDAS, SMALL):
        download(homes["Poetry"].python, *wheels.requirements)
        folder = work / wheels.modules[0]
        folder.mkdir()
        venv = folder / "environment"
        with LocalIndex(folder / "made", WHEELS, STAND_INS) as index:
            made = installers(folder, index, wheels.requirements, venv, homes)
            for each in made:
                yield trials(each, wheels, venv, library, kills, _tell)


def about() -> str:
    """When, on what machine, and which versions."""
    versions = [f"{name} {version(name)}" for name in ("uv", "pip")]
    return (
        f"`make compare` wrote this table on {time.strftime('%Y-%m-%d')}. Machine:"
        f" {machine()}. Python {DEFAULT_PYTHON}, Poetry {NEWEST},"
        f" poetry-plugin-safe-install {version('poetry-plugin-safe-install')},"
        f" {', '.join(versions)}."
    )


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
