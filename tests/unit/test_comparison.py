"""What ``make compare`` makes of what it has seen."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.comparison.__main__ import CHART
from tests.comparison.__main__ import MEASURED
from tests.comparison.__main__ import PAGE
from tests.comparison.report import chart
from tests.comparison.report import table
from tests.comparison.trials import Outcome
from tests.comparison.trials import Trials


SEEN = [
    Trials("one", "large", 90, {Outcome.SILENT: 3, Outcome.FAILED: 1}),
    Trials("other <1", "large", 90, {Outcome.WHOLE: 4}),
    Trials("one", "small", 9, {Outcome.WHOLE: 2}),
]


def test_table() -> None:
    assert table(SEEN).splitlines() == [
        "| wheels | installer | kills | whole | broken, status 0 | fails |",
        "| --- | --- | --- | --- | --- | --- |",
        "| large | one | 4 | 0 | 3 | 1 |",
        "| large | other <1 | 4 | 4 | 0 | 0 |",
        "| small | one | 2 | 2 | 0 | 0 |",
    ]


def test_chart_adds_up() -> None:
    picture = ElementTree.fromstring(chart(SEEN))
    said = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "2 whole, 1 fails, 3 broken, status 0" in said
    assert "4 whole" in said


def test_page_has_figures_and_a_chart() -> None:
    found = MEASURED.search(PAGE.read_text(encoding="utf-8"))
    assert found
    assert "| Poetry with this plugin |" in found[0]
    assert "Machine: " in found[0]
    ElementTree.parse(CHART)
