"""``make soak``: what chance decides, again and again, and how often what has failed.

``orders``: the quick tests in random orders; ``stopped``: the tests with several commands
at once, on one core, while processes are stopped in between; ``marked``: the tests that
are marked for it. All of them, or those that ``ARGS`` names. ``ROUNDS`` says how often
each is done, ``SEED`` what to begin with.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = int(os.environ.get("ROUNDS", "20"))
SEED = int(os.environ.get("SEED", time.time_ns() % 10**6))
CONCURRENT = [
    f"tests/commands/test_{name}.py"
    for name in (
        "locks",
        "shared_trees",
        "artifact_cache",
        "project_plugins",
        "crashes",
    )
]
STOPPED_FOR = (0.05, 1.0)
"""Seconds for which a process is stopped, and after which the next one is."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; else all")
    parts = parser.parse_args().parts or [*PARTS]
    if unknown := {*parts}.difference(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    print(f"SEED={SEED}, ROUNDS={ROUNDS}")
    failures: Counter[str] = Counter()
    for part in parts:
        failures += PARTS[part]()
    print("\nHow often what has failed:" if failures else "\nNothing has failed.")
    for test, times in failures.most_common():
        print(f"{times:4}  {test}")
    sys.exit(bool(failures))


def in_random_orders() -> Counter[str]:
    rounds = range(SEED, SEED + ROUNDS)
    return sum(
        (run(each, "tests/unit", "-m", "not soak") for each in rounds), Counter()
    )


def while_processes_are_stopped() -> Counter[str]:
    marks = ("-m", "not thorough and not soak and not matrix")
    rounds = range(SEED, SEED + ROUNDS)
    with one_core():
        failures = (run(each, *CONCURRENT, *marks, stopping=True) for each in rounds)
        return sum(failures, Counter())


def marked() -> Counter[str]:
    return run(SEED, "tests", "-m", "soak", "-n", "0", "-s")


PARTS = {
    "orders": in_random_orders,
    "stopped": while_processes_are_stopped,
    "marked": marked,
}


def run(seed: int, *arguments: str, stopping: bool = False) -> Counter[str]:
    """The tests that fail in an order that the seed decides."""
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=short", *arguments]
    print(f"\nORDER={seed} {' '.join(command[2:])}", flush=True)
    with subprocess.Popen(
        command,
        env={**os.environ, "ORDER": str(seed)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        disturbance = Disturbance(process.pid, seed)
        if stopping:
            disturbance.start()
        said = []
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line)
        disturbance.end()
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", "".join(said), re.MULTILINE)
    if process.returncode not in (0, 1):
        failed.append(f"pytest itself: status {process.returncode}")
    return Counter(failed)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """This process and what it starts runs on one core, where that can be said."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Disturbance(threading.Thread):
    """Stops one Poetry after the other that a process has started, for a while."""

    def __init__(self, root: int, seed: int) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._chance = random.Random(seed)
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(self._chance.uniform(*STOPPED_FOR)):
            poetries = [pid for pid in descendants(self._root) if _is_poetry(pid)]
            if poetries:
                self._halt(self._chance.choice(poetries))

    def end(self) -> None:
        self._over.set()
        if self.is_alive():
            self.join()

    def _halt(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self._over.wait(self._chance.uniform(*STOPPED_FOR))
            os.kill(pid, signal.SIGCONT)


def descendants(root: int) -> list[int]:
    """The processes that a process has started, and theirs, where /proc tells."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, _, rest = entry.read_text().partition(" ")
            parents[int(pid)] = int(rest.rpartition(")")[2].split()[1])
    found, waiting = [], [root]
    while waiting:
        parent = waiting.pop()
        children = [pid for pid, above in parents.items() if above == parent]
        found += children
        waiting += children
    return found


def _is_poetry(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    # The second is that of one that was forked: see tests.laboratory.preloaded.
    names = (b"/bin/poetry", b"/poetry_server.py")
    return any(word.endswith(names) for word in command[:2])


if __name__ == "__main__":
    main()
