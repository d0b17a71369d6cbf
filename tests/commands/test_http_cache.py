"""Answers of indexes that Poetry keeps: whole, or not there."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import time

from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.caching_index import PATIENT
from tests.laboratory.caching_index import CachingIndex
from tests.laboratory.cases import thorough_but
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

TWO_FILES = ("2.4.3", "2.5.1")
"""Poetrys that keep an answer in a file of metadata and one with the body."""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def environ(environ: dict[str, str], cache: Path) -> dict[str, str]:
    """A cold cache for every test."""
    return {**environ, "POETRY_CACHE_DIR": str(cache), **PATIENT}


@pytest.fixture
def index(folder: Path, own_folder: Path) -> Iterator[CachingIndex]:
    Distribution("kept", "1.0", {"kept.py": ""}).wheel(own_folder)
    with CachingIndex(own_folder, folder, WHEELS, STAND_INS) as index:
        yield index


@pytest.fixture
def new_user(new_project: Callable[..., Project]) -> Callable[[str], Project]:
    """Projects that depend on the distribution in the index."""
    return lambda name: new_project(name, dependencies=("kept",))


def locked(project: Project) -> list[str]:
    """The versions in the lock file."""
    text = (project.path / "poetry.lock").read_text()
    return re.findall(r'^version = "(.*)"$', text, re.MULTILINE)


def metadata_of(index: CachingIndex, cache: Path, name: str) -> Path:
    """Where Poetry since 2.4 keeps the metadata of the page of a project."""
    key = index.page_key(name)
    place = cache / "cache" / "repositories" / "local" / "_http_"
    return place.joinpath(*key[:5]) / key


def forget_releases(cache: Path) -> None:
    """Have Poetry ask for the page again, which it does without releases only."""
    for place in (cache / "cache" / "repositories" / "local").iterdir():
        if not place.name.startswith("_http"):
            shutil.rmtree(place)


@pytest.mark.matrix
@pytest.mark.parametrize("announces_length", [True, False])
@pytest.mark.parametrize("version", TWO_FILES)
def test_nobody_reads_half_an_entry(
    version: str,
    announces_length: bool,
    new_user: Callable[[str], Project],
    index: CachingIndex,
    cache: Path,
) -> None:
    """A command stops where CacheControl has written the metadata and not the body."""
    home = poetry_home(version)
    index.announces_length = announces_length
    writer, reader = new_user("writer"), new_user("reader")
    metadata = metadata_of(index, cache, "kept")
    metadata.parent.mkdir(parents=True)
    with open(f"{metadata}.body.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # which CacheControl takes to write the body
        writing = writer.start(home, "lock")
        while not metadata.exists():
            if writing.has_ended:
                writing.result().succeeded()
            time.sleep(0.01)
        reader.poetry(home, "lock").succeeded()
    writing.result().succeeded()
    assert locked(reader) == locked(writer) == ["1.0"]


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "body-gone": lambda metadata, body: body.unlink(),
    "body-empty": lambda metadata, body: body.write_bytes(b""),
    "body-cut": lambda metadata, body: os.truncate(body, 20),
    "body-of-before": lambda metadata, body: _older(body, metadata),
    "metadata-gone": lambda metadata, body: metadata.unlink(),
    "metadata-empty": lambda metadata, body: metadata.write_bytes(b""),
    "metadata-cut": lambda metadata, body: os.truncate(metadata, 40),
    "metadata-noise": lambda metadata, body: metadata.write_bytes(b"cc=4,\x91\xc1"),
    "metadata-list": lambda metadata, body: metadata.write_bytes(b"cc=4,\x90"),
}
"""What may have happened to the page of a distribution of this name."""

CANNOT_BE_SEEN = {
    ("plain", True): "body-of-before",  # as long as the one that belongs there
    ("plain", False): "body-cut",  # which no killed command does
}
"""Where there is no digest: by who wrote the cache, and whether there are lengths."""


def _older(body: Path, metadata: Path) -> None:
    """Another generation's, which is as long: killed between metadata and body."""
    body.write_bytes(b"<!DOCTYPE html>".ljust(body.stat().st_size))
    before = metadata.stat().st_mtime - 60
    os.utime(body, (before, before))


@pytest.mark.parametrize(
    ("writer", "announces_length"),
    thorough_but(
        [("protected", True)],
        product(("plain", "protected"), (True, False)),
    ),
)
def test_what_is_broken_is_not_there_and_is_replaced(
    writer: str,
    announces_length: bool,
    new_project: Callable[..., Project],
    own_folder: Path,
    index: CachingIndex,
    cache: Path,
    home: PoetryHome,
    plain_home: PoetryHome,
) -> None:
    index.announces_length = announces_length
    names = [*DAMAGES]
    if (writer, announces_length) in CANNOT_BE_SEEN:
        names.remove(CANNOT_BE_SEEN[writer, announces_length])
    for name in names:
        Distribution(name, "1.0").wheel(own_folder)
    project = new_project(dependencies=tuple(names))
    project.poetry(plain_home if writer == "plain" else home, "lock").succeeded()
    whole = {}
    for name in names:
        metadata = metadata_of(index, cache, name)
        body = metadata.with_name(f"{metadata.name}.body")
        whole[body] = body.read_bytes()
        DAMAGES[name](metadata, body)
    forget_releases(cache)

    for each in (home, home, plain_home):
        (project.path / "poetry.lock").unlink()
        project.poetry(each, "lock").succeeded()

    assert {name: index.asked(f"/{name}/") for name in names} == {
        name: [200, 200] for name in names
    }
    assert {body: body.read_bytes() for body in whole} == whole


@pytest.mark.matrix
@pytest.mark.parametrize("version", POETRY_VERSIONS)
def test_the_answer_is_unchanged_and_the_cache_is_gone(
    version: str, new_user: Callable[[str], Project], index: CachingIndex, cache: Path
) -> None:
    """``poetry cache clear`` between the question and its answer."""
    home = poetry_home(version)
    index.max_age = 0
    project = new_user("project")
    project.poetry(home, "lock").succeeded()
    (project.path / "poetry.lock").unlink()
    held = index.hold("/kept/")

    asking = project.start(home, "lock")
    held.wait()
    shutil.rmtree(cache / "cache" / "repositories" / "local")
    held.answer()

    asking.result().succeeded()
    assert index.asked("/kept/") == [200, 304]
    assert locked(project) == ["1.0"]
    project.poetry(home, "lock", "--regenerate").succeeded()


@pytest.mark.parametrize(
    "version", thorough_but([("2.5.1",)], [("2.0.1",), ("2.5.1",)])
)
def test_the_answer_is_unchanged_and_the_cache_is_of_another_generation(
    version: str,
    new_user: Callable[[str], Project],
    index: CachingIndex,
    own_folder: Path,
) -> None:
    """Two servers of one index: one has the new page, the other not yet."""
    home = poetry_home(version)
    index.max_age = 0
    first, second, third = new_user("first"), new_user("second"), new_user("third")
    first.poetry(home, "lock").succeeded()
    held = index.hold("/kept/")
    (first.path / "poetry.lock").unlink()

    asking = first.start(home, "lock")
    held.wait()
    Distribution("kept", "2.0", {"kept.py": ""}).wheel(own_folder)
    second.poetry(home, "lock").succeeded()
    index.unchanged.add("/kept/")
    held.answer()
    asking.result().succeeded()
    index.unchanged.clear()

    assert (locked(first), locked(second)) == (["1.0"], ["2.0"])
    third.poetry(home, "lock").succeeded()
    assert locked(third) == ["2.0"]


THREADS = """\
import sys, threading
from poetry.utils.authenticator import Authenticator
from poetry_plugin_safe_install.caches import http
from tests.laboratory import ROOT
from poetry_plugin_safe_install.compat.caches import HTTP_CACHE

url, rounds, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
seen, errors = set(), []
def ask(session):
    barrier.wait()
    try:
        seen.add(session.get(url).content)
    except BaseException as error:
        errors.append(repr(error))
with HTTP_CACHE.applied(http):
    for number in range(rounds):
        barrier = threading.Barrier(threads)
        session = Authenticator(cache_id=f"round-{number}")
        asking = [threading.Thread(target=ask, args=(session,)) for _ in range(threads)]
        [each.start() for each in asking]
        [each.join() for each in asking]
assert not errors, errors[:3]
assert len(seen) == 1 and b"kept-1.0" in seen.pop()
"""


@pytest.mark.thorough
def test_threads_of_one_command(
    new_user: Callable[[str], Project], index: CachingIndex, home: PoetryHome
) -> None:
    index.announces_length = False
    result = subprocess.run(
        [home.python, "-c", THREADS, f"{index.url}/kept/", "40", "10"],
        env=new_user("project").environment(),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def test_check_tells_what_is_not_whole(
    new_user: Callable[[str], Project],
    index: CachingIndex,
    cache: Path,
    home: PoetryHome,
) -> None:
    project = new_user("project")
    project.poetry(home, "lock").succeeded()
    metadata = metadata_of(index, cache, "kept")
    metadata.with_name(f"{metadata.name}.body").unlink()
    check = ("safe-install", "--check")
    result = project.poetry(home, *check)
    assert "1 entry is not whole" in " ".join(result.out.split())
    assert str(metadata) not in result.out
    assert str(metadata) in project.poetry(home, *check, "-v").out
