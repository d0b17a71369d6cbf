"""The one clock of a command's waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.locks import clock
from poetry_plugin_safe_install.locks.clock import WaitClock


if TYPE_CHECKING:
    import pytest


class Time:
    """What ``time.monotonic`` says."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_waits_that_overlap_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time()
    monkeypatch.setattr(clock, "time", time)
    waits = WaitClock()
    for at, what in [
        (10, waits.start),
        (12, waits.start),
        (15, waits.stop),
        (17, waits.stop),
        (100, waits.start),
        (101, waits.stop),
    ]:
        time.now = at
        what()
    assert waits.seconds == 8
    waits.start()
    time.now = 103
    assert waits.seconds == 10


def test_silence_is_broken_once() -> None:
    waits = WaitClock()
    breaks = [waits.breaks_silence(waited) for waited in (29.9, 30.0, 31.0)]
    assert breaks == [False, True, False]
