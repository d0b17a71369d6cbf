"""Which cases of a table run each time, and which in ``make test-thorough``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest


if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Iterable

    from _pytest.mark import ParameterSet


def thorough_but(
    kept: Collection[object], cases: Iterable[tuple[object, ...]]
) -> list[ParameterSet]:
    """Cases, of which only these run in ``make test``: they prove the mechanism."""
    listed = [*cases]
    assert not [case for case in kept if case not in listed]
    return [
        pytest.param(*case, marks=() if case in kept else pytest.mark.thorough)
        for case in listed
    ]
