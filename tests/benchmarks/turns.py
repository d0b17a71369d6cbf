"""How long it takes from a release until the next waiter has the lock."""

from __future__ import annotations

import subprocess
import sys
import time

from itertools import pairwise
from pathlib import Path


HOLD = 0.005
"""Seconds that each holder keeps the lock."""


def gaps(lock: Path, waiters: int, turns: int) -> list[float]:
    """Seconds between each release and the next start, with so many that wait."""
    command = [sys.executable, "-m", __spec__.name, str(lock), str(turns)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in range(waiters)
    ]
    held = []
    for process in running:
        out, _ = process.communicate(timeout=300)
        for line in out.splitlines():
            start, end = line.split()
            held.append((float(start), float(end)))
    held.sort()
    # The last ones have too few waiters behind them.
    contended = held[: len(held) - turns]
    return [after[0] - before[1] for before, after in pairwise(contended)]


def take_turns(path: Path, turns: int) -> None:
    """Hold the lock again and again and print when (a clock that processes share)."""
    from poetry_plugin_safe_install.locks.lock import Lock
    from poetry_plugin_safe_install.locks.lock import Mode
    from poetry_plugin_safe_install.locks.lock import acquire

    lock = Lock(path, "the benchmark")
    for _ in range(turns):
        hold, _ = acquire(lock, Mode.EXCLUSIVE, "benchmark", timeout=None)
        start = time.monotonic()
        time.sleep(HOLD)
        end = time.monotonic()
        hold.release()
        print(start, end)
        time.sleep(HOLD)  # else it takes the lock again before anyone looks


if __name__ == "__main__":
    take_turns(Path(sys.argv[1]), int(sys.argv[2]))
