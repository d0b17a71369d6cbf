"""How long one command waits, for whatever and in whichever of its threads."""

from __future__ import annotations

import threading
import time


PATIENCE = 30.0
"""Seconds after which a command says even with ``-q`` that it waits."""


class WaitClock:
    """One clock for all waits of a command: it runs while at least one goes on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits = 0
        self._since = 0.0
        self._before = 0.0
        """Seconds of the waits that are over; what passed at once counts once."""
        self._has_spoken = False

    def start(self) -> None:
        """A wait begins; ``stop`` has to follow."""
        with self._lock:
            if not self._waits:
                self._since = time.monotonic()
            self._waits += 1

    def stop(self) -> None:
        with self._lock:
            self._waits -= 1
            if not self._waits:
                self._before += time.monotonic() - self._since

    @property
    def seconds(self) -> float:
        with self._lock:
            now = time.monotonic() - self._since if self._waits else 0.0
            return self._before + now

    def breaks_silence(self, waited: float) -> bool:
        """Once, so that a job that asked for silence does not look as if it hung."""
        with self._lock:
            breaks = waited >= PATIENCE and not self._has_spoken
            self._has_spoken |= breaks
            return breaks
