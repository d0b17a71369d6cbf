"""A cache directory that cannot be written: no command is worse off than without us."""

from __future__ import annotations

import time

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.caching_index import CachingIndex
from tests.laboratory.cases import thorough_but
from tests.laboratory.mounts import PLACE
from tests.laboratory.mounts import Mount
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project
    from tests.laboratory.running import Result

INSTALL = ("install", "--no-root")


@pytest.fixture
def index(folder: Path, own_folder: Path) -> Iterator[CachingIndex]:
    """Whatever Poetry has of it is asked for again."""
    Distribution("kept", "1.0", {"kept.py": ""}).wheel(own_folder)
    with CachingIndex(own_folder, folder, WHEELS, STAND_INS, max_age=0) as index:
        yield index


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    return new_project(dependencies=("kept",))


def on(mount: Mount, project: Project, home: PoetryHome) -> Callable[..., Result]:
    """Runs commands whose cache directory is the mounted one."""
    if why_not := mount.why_not():
        pytest.skip(why_not)
    environ = {"POETRY_CACHE_DIR": str(PLACE)}

    def run(venv: Path, *command: str) -> Result:
        return project.poetry(
            home, *command, venv=venv, environ=environ, around=mount.around()
        )

    return run


def test_lock_that_would_be_there(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path], tmp_path: Path
) -> None:
    """``.poetry`` is a file, so that what belongs there is in the cache directory."""
    (project.path / ".poetry").touch()
    file = tmp_path / "file"
    file.touch()
    environ = {"POETRY_CACHE_DIR": str(file / "cache")}
    result = project.poetry(
        home, "run", "true", venv=new_venv("environment"), environ=environ
    ).succeeded()
    assert (
        f"The lock of the project cannot be taken: Not a directory ({file}"
    ) in result.out
    assert "). poetry-plugin-safe-install cannot keep other" in result.out


def test_read_only(
    project: Project,
    home: PoetryHome,
    new_venv: Callable[..., Path],
    tmp_path: Path,
    index: CachingIndex,
) -> None:
    """As a CI image with a filled cache may have it."""
    cache = tmp_path / "cache"
    filled = {"POETRY_CACHE_DIR": str(cache)}
    project.poetry(home, "lock", venv=new_venv("one"), environ=filled).succeeded()
    project.poetry(home, *INSTALL, venv=new_venv("one"), environ=filled).succeeded()
    mount = Mount(kind="none", options="bind,ro", source=str(cache))
    run, venv = on(mount, project, home), new_venv("two")

    for command in (("lock", "--regenerate"), INSTALL):
        result = run(venv, *command).succeeded()
        assert "safe-install" not in result.out

    assert 304 in index.asked("/kept/")
    assert list(venv.glob("lib/python*/site-packages/kept.py"))


@pytest.mark.parametrize(
    "later", thorough_but([("no-store",)], [("max-age=1",), ("no-store",)])
)
def test_read_only_with_answers_that_are_to_be_removed(
    later: str,
    project: Project,
    home: PoetryHome,
    new_venv: Callable[..., Path],
    tmp_path: Path,
    index: CachingIndex,
) -> None:
    """What is stale and has no ETag, or may not be stored any more."""
    cache, venv = tmp_path / "cache", new_venv("one")
    filled = {"POETRY_CACHE_DIR": str(cache)}
    index.headers = {"ETag": None, "Cache-Control": "max-age=1"}
    project.poetry(home, "lock", venv=venv, environ=filled).succeeded()
    mount = Mount(kind="none", options="bind,ro", source=str(cache))
    time.sleep(2)  # then it is stale
    index.headers["Cache-Control"] = later

    on(mount, project, home)(venv, "lock", "--regenerate").succeeded()

    assert index.asked("/kept/") == [200, 200]


def test_full(
    project: Project,
    home: PoetryHome,
    plain_home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """Only what Poetry installs from has to be there; without us nothing works."""
    mount = Mount(options="size=4k,nr_inodes=2")
    venv = new_venv("one")
    with ThreadPoolExecutor() as pool:  # each has a cache directory of its own
        plain = pool.submit(on(mount, project, plain_home), venv, "lock")
        locked = on(mount, project, home)(venv, "lock").succeeded()
        plain.result().failed()
    installed = on(mount, project, home)(venv, *INSTALL)

    installed.failed("No space left on device")
    assert "safe-install" not in locked.out + installed.out
