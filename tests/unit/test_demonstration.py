"""What the demonstration says, and what it does with few or many Pythons."""

from __future__ import annotations

import pytest

from tests.demonstration import Seen
from tests.demonstration import table
from tests.demonstration import workforce


@pytest.mark.parametrize(
    ("minors", "expected"),
    [
        (["3.12"], ["3.12"] * 4),
        (["3.10", "3.12"], ["3.10", "3.12", "3.10", "3.12"]),
        (["3.10", "3.11", "3.12", "3.13", "3.14"],) * 2,
    ],
)
def test_several_work_at_once_however_few_pythons_there_are(
    minors: list[str], expected: list[str]
) -> None:
    assert workforce(minors) == expected


def test_table_tells_failures_apart() -> None:
    shown = table(
        {
            "unprotected": Seen(8, ["run: No module named 'a'"] * 2, 3, 12.34),
            "protected": Seen(8, [], 0, 5.0),
        }
    )
    assert shown.splitlines()[1:] == [
        "unprotected          8         2               3     12.3",
        "protected            8         0               0      5.0",
        "",
        "unprotected, run: No module named 'a'",
    ]
