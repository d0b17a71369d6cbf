"""Which cases of a table run each time, which in ``make test-thorough`` or ``soak``."""

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
    return _marked(kept, cases, pytest.mark.thorough)


def soak_but(
    kept: Collection[object], cases: Iterable[tuple[object, ...]]
) -> list[ParameterSet]:
    """The same of cases that take hours, or that chance decides."""
    return _marked(kept, cases, pytest.mark.soak)


def _marked(
    kept: Collection[object],
    cases: Iterable[tuple[object, ...]],
    mark: pytest.MarkDecorator,
) -> list[ParameterSet]:
    listed = [*cases]
    assert not [case for case in kept if case not in listed]
    return [pytest.param(*case, marks=() if case in kept else mark) for case in listed]
