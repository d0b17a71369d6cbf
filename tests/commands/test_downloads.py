"""Files that are downloaded into the artifact cache, which all jobs share."""

from __future__ import annotations

import os
import time

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.caching_index import PATIENT
from tests.laboratory.caching_index import CachingIndex
from tests.laboratory.libraries import in_tree
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

WHEEL = "wanted-1.0-py3-none-any.whl"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def environ(environ: dict[str, str], cache: Path) -> dict[str, str]:
    """A cold cache for every test."""
    return {**environ, "POETRY_CACHE_DIR": str(cache), **PATIENT}


@pytest.fixture
def index(folder: Path, own_folder: Path) -> Iterator[CachingIndex]:
    Distribution("wanted", "1.0", {"wanted.py": "whole = True\n"}).wheel(own_folder)
    with CachingIndex(own_folder, folder, WHEELS, STAND_INS) as index:
        yield index


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    """Locked, and the HTTP cache knows what that asks for."""
    project = new_project(dependencies=("wanted",))
    project.lock()
    return project


def module_in(venv: Path) -> str:
    (path,) = venv.glob("lib/python*/site-packages/wanted.py")
    return path.read_text()


def wheel_in(cache: Path) -> Path:
    (path,) = (cache / "artifacts").rglob(WHEEL)
    return path


@pytest.mark.matrix
@pytest.mark.parametrize("version", POETRY_VERSIONS)
def test_what_several_commands_want_is_downloaded_once(
    version: str,
    project: Project,
    index: CachingIndex,
    cache: Path,
    new_venv: Callable[..., Path],
) -> None:
    home = poetry_home(version)
    venvs = [new_venv(f"venv-{number}") for number in range(3)]
    held = index.hold(WHEEL)

    first = project.start(home, "install", "--no-root", venv=venvs[0])
    held.wait()
    others = [
        project.start(home, "install", "--no-root", venv=venv) for venv in venvs[1:]
    ]
    for other in others:
        other.says(f"Waiting for the download of {WHEEL}, held by `poetry install")
    held.answer()
    for command in (first, *others):
        command.result().succeeded()

    assert index.asked(WHEEL) == [200]
    assert {module_in(venv) for venv in venvs} == {"whole = True\n"}
    assert list((cache / "safe-install" / "downloads").glob("*.lock*")) == []


def test_the_one_that_downloads_is_killed(
    project: Project,
    index: CachingIndex,
    cache: Path,
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """The next one downloads it; nothing that was cut off is taken for whole."""
    held = index.hold(WHEEL)
    killed = project.start(home, "install", "--no-root", venv=new_venv("first"))
    held.wait()
    waiting = project.start(home, "install", "--no-root", venv=new_venv("second"))
    waiting.says("Waiting for the download")
    killed.kill()
    held.answer()
    waiting.result().succeeded()
    assert module_in(new_venv("second")) == "whole = True\n"
    assert len([*wheel_in(cache).parent.iterdir()]) == 1


def test_nobody_waits_longer_than_the_user_allows(
    project: Project,
    index: CachingIndex,
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    held = index.hold(WHEEL)
    first = project.start(home, "install", "--no-root", venv=new_venv("first"))
    held.wait()
    limit = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "0"}
    second = project.poetry(
        home, "install", "--no-root", venv=new_venv("second"), environ=limit
    )
    second.succeeded()
    held.answer()
    first.result().succeeded()


@pytest.mark.matrix
@pytest.mark.parametrize("version", POETRY_VERSIONS)
def test_a_bad_file_in_the_cache_is_downloaded_once_more(
    version: str,
    project: Project,
    index: CachingIndex,
    cache: Path,
    new_venv: Callable[..., Path],
) -> None:
    """Also where the HTTP cache would give back what it was downloaded from."""
    home = poetry_home(version)
    project.poetry(home, "install", "--no-root", venv=new_venv("one")).succeeded()
    os.truncate(wheel_in(cache), 100)

    venv = new_venv("two")
    result = project.poetry(home, "install", "--no-root", venv=venv).succeeded()

    assert f"{WHEEL} in Poetry's cache is not the file" in " ".join(result.out.split())
    assert index.asked(WHEEL) == [200, 200]
    assert module_in(venv) == "whole = True\n"
    project.poetry(home, "install", "--no-root", venv=new_venv("three")).succeeded()
    assert index.asked(WHEEL) == [200, 200]


def test_a_bad_archive_and_the_bad_wheel_that_was_built_from_it(
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    cache: Path,
    new_venv: Callable[..., Path],
) -> None:
    files = {"rebuilt/__init__.py": "", **in_tree("rebuilt")}
    Distribution("rebuilt", "1.0", files).sdist(own_folder)
    project = new_project(dependencies=("rebuilt",))
    project.lock()
    project.poetry(home, "install", venv=new_venv("one")).succeeded()
    for kind in ("*.whl", "*.tar.gz"):
        (path,) = (cache / "artifacts").rglob(f"rebuilt-{kind}")
        os.truncate(path, 100)

    venv = new_venv("two")
    project.poetry(home, "install", venv=venv).succeeded()

    assert list(venv.glob("lib/python*/site-packages/rebuilt/__init__.py"))


@pytest.mark.parametrize("version", ["2.0.1", "2.5.1"])
@pytest.mark.parametrize("is_cached", [False, True])
def test_an_index_that_serves_something_else_fails_the_install(
    is_cached: bool,
    version: str,
    project: Project,
    index: CachingIndex,
    own_folder: Path,
    cache: Path,
    new_venv: Callable[..., Path],
) -> None:
    """Nobody asks again and again until it fits."""
    home = poetry_home(version)
    if is_cached:
        project.poetry(home, "install", "--no-root", venv=new_venv("one")).succeeded()
        os.truncate(wheel_in(cache), 100)
    before = len(index.asked(WHEEL))
    index.instead[WHEEL] = b"something else"

    result = project.poetry(home, "install", "--no-root", venv=new_venv("two"))

    result.failed("not found in known hashes")
    assert index.asked(WHEEL)[before:] == [200]


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("version", ["2.0.1", "2.5.1"])
def test_ten_jobs_and_a_large_wheel(
    version: str,
    new_project: Callable[..., Project],
    own_folder: Path,
    index: CachingIndex,
    new_venv: Callable[..., Path],
) -> None:
    home = poetry_home(version)
    size = int(os.environ.get("MEGABYTES", "200")) * 2**20
    Distribution("large", "1.0", {"large.py": "#" * size}).wheel(own_folder)
    project = new_project("large", dependencies=("large",))
    project.poetry(home, "lock").succeeded()
    venvs = [new_venv(f"{version}-{number}") for number in range(10)]
    start = time.monotonic()
    jobs = [project.start(home, "install", "--no-root", venv=venv) for venv in venvs]
    outs = [job.result(1200).succeeded().out for job in jobs]
    waited = sum("Waiting for the download of large" in out for out in outs)
    print(
        f"Poetry {version}: {time.monotonic() - start:.0f} s, {waited} said they wait"
    )
    assert index.asked("large-1.0-py3-none-any.whl")[:1] == [200]
    assert len(index.asked("large-1.0-py3-none-any.whl")) == 1
