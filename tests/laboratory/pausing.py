"""Stopping a Poetry command at a function of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.laboratory.barriers import Barrier


if TYPE_CHECKING:
    from collections.abc import Mapping

PAUSES = Path(__file__).parent / "pauses"


class Pause(Barrier):
    """Where a command stops: ``package.module:Class.function:before`` (or ``after``)."""

    def __init__(self, place: str) -> None:
        super().__init__("pause")
        self._place = place

    @property
    def environment(self) -> dict[str, str]:
        more: Mapping[str, str] = {"PYTHONPATH": str(PAUSES), "PAUSE": self._place}
        return {**super().environment, **more}
