"""Eight processes of ten threads on one HTTP cache, some of them killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.caching_index import CachingIndex
from tests.laboratory.poetries import poetry_home
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.projects import Project

PROCESSES, THREADS, PAGES = 8, 10, 40

ASK = """\
import hashlib, random, sys, threading
from poetry.utils.authenticator import Authenticator
from poetry_plugin_safe_install.caches import http
from poetry_plugin_safe_install.compat.caches import HTTP_CACHE

url, threads, pages = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
errors = []
def ask(numbers):
    try:
        for number in numbers:
            answer = session.get(f"{url}/page{number}/")
            content, tag = answer.content, answer.headers["ETag"].strip('"')
            assert hashlib.md5(content).hexdigest() == tag, "of another generation"
            assert f"page{number}-1.0".encode() in content, content
    except BaseException as error:
        errors.append(repr(error))
with HTTP_CACHE.applied(http):
    session = Authenticator(cache_id="local")
    asking = []
    for number in range(threads):
        numbers = random.sample(range(pages), pages)
        asking.append(threading.Thread(target=ask, args=(numbers,)))
    [each.start() for each in asking]
    [each.join() for each in asking]
assert not errors, errors[:3]
print("all whole")
"""
"""Each thread asks for each page once."""


@pytest.fixture
def environ(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {**environ, "POETRY_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def index(folder: Path, own_folder: Path) -> Iterator[CachingIndex]:
    for number in range(PAGES):
        Distribution(f"page{number}", "1.0").wheel(own_folder)
    with CachingIndex(own_folder, max_age=0, announces_length=False) as index:
        yield index


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_processes_and_threads(
    new_project: Callable[..., Project], index: CachingIndex
) -> None:
    """SECONDS long; with ``max_age`` 0 every question of a thread is one request.

    Half as many requests more would be made where entries are lost: an undisturbed
    command makes one for each page and thread.
    """
    seconds = float(os.environ.get("SECONDS", "600"))
    chance = random.Random(int(os.environ.get("SEED", time.time_ns() % 10**9)))
    environ = new_project().environment()
    python = poetry_home().python
    command = [str(python), "-c", ASK, index.url, str(THREADS), str(PAGES)]
    end, whole, killed, requests = time.monotonic() + seconds, 0, 0, 0
    while time.monotonic() < end:
        before = len(index.answers)
        running = [
            subprocess.Popen(
                command,
                env=environ,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for _ in range(PROCESSES)
        ]
        victims = chance.sample(running, k=chance.choice((0, 2)))
        mortal = list(victims)
        while any(each.poll() is None for each in running):
            index.generation += 1
            time.sleep(chance.uniform(0, 1))  # chance decides, that is the point
            if mortal:
                mortal.pop().send_signal(signal.SIGKILL)
        for each in running:
            out = each.communicate()[0]
            assert each in victims or "all whole" in out, out
        killed += len(victims)
        whole += PROCESSES - len(victims)
        if not victims:
            requests = len(index.answers) - before
            assert requests <= 1.05 * PROCESSES * THREADS * PAGES
    statuses = dict.fromkeys((200, 304), 0)
    for _, status in index.answers:
        statuses[status] += 1
    print(f"\n{whole} processes of {THREADS} threads, {killed} killed; {statuses}")
    print(f"requests of an undisturbed round: {requests}")
