from __future__ import annotations

import gc
import os
import random
import signal
import tempfile

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.laboratory import preloaded
from tests.laboratory.clones import borrowed
from tests.laboratory.environments import isolated_environ
from tests.laboratory.environments import make_venv
from tests.laboratory.index import LocalIndex
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.poetries import spoiled_templates
from tests.laboratory.preloaded import fixed
from tests.laboratory.projects import make_project
from tests.laboratory.pythons import bare_python
from tests.laboratory.pythons import pythons
from tests.laboratory.pythons import two_of
from tests.laboratory.running import UNDER_WAY
from tests.laboratory.tagged import make_tagged_project
from tests.laboratory.users import find_other_user


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project
    from tests.laboratory.users import OtherUser


def pytest_configure() -> None:
    """A shell that starts the tests in the background has them ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three for two cores: these tests wait a good part of their time."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return cores + (cores + 1) // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``ORDER``, a number, has the tests run in an order that chance decides."""
    if order := os.environ.get("ORDER"):
        items.sort(key=lambda item: item.nodeid)
        random.Random(order).shuffle(items)


def pytest_collection_finish() -> None:
    """The two thousand tests are there for good: the collector need not look at them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """A test that fails in the middle leaves no command behind, and none waits."""
    yield
    for running in list(UNDER_WAY):
        running.kill()


@pytest.fixture(autouse=True)
def nothing_written_into_shared_files() -> Iterator[None]:
    yield
    assert not spoiled_templates(), "put new files in the place of these"


@pytest.fixture(autouse=True)
def executed_as_users_do(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core scenarios, on every Poetry: nothing in them is loaded beforehand."""
    if request.node.get_closest_marker("matrix"):
        monkeypatch.setattr(preloaded, "CAN_FORK", False)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests put distributions of their own for all tests of the session."""
    return tmp_path_factory.mktemp("distributions")


@pytest.fixture(scope="session")
def shared_environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Poetry's directories, apart from the user's; the cache is shared by the tests.

    Poetry asks for ``python`` whenever no environment is activated: a shim of pyenv on
    PATH, and loading keyring, would take a quarter of the time of all tests. What is
    special about environments with pip is proved by tests that make such.
    """
    prefix = tmp_path_factory.mktemp("python")
    python = bare_python(pythons()[DEFAULT_PYTHON], prefix)
    return {
        **isolated_environ(tmp_path_factory.mktemp("poetry")),
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "POETRY_KEYRING_ENABLED": "false",
        "POETRY_VIRTUALENVS_OPTIONS_NO_PIP": "true",
    }


@pytest.fixture
def environ(shared_environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {**shared_environ, "POETRY_VIRTUALENVS_PATH": str(tmp_path / "venvs")}


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """Distributions of this test alone.

    Poetry's cache, which the tests share, knows them by name and version: two tests
    give one name and version to the same content only, or fail.
    """
    return tmp_path / "distributions"


@pytest.fixture
def index(folder: Path, own_folder: Path) -> Iterator[LocalIndex]:
    with LocalIndex(own_folder, folder, WHEELS, STAND_INS) as index:
        yield index


@pytest.fixture
def home() -> PoetryHome:
    """The newest Poetry, with the plugin."""
    return poetry_home()


@pytest.fixture
def plain_home() -> PoetryHome:
    """The newest Poetry, without the plugin."""
    return poetry_home(protected=False)


@pytest.fixture
def clone() -> Iterator[Callable[..., PoetryHome]]:
    """Makes Poetrys that the test may damage."""
    with ExitStack() as stack:

        def new(version: str = NEWEST, *, protected: bool = True) -> PoetryHome:
            home = poetry_home(version, protected=protected)
            return stack.enter_context(borrowed(home))

        yield new


@pytest.fixture(scope="module")
def dynamic_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoetryHome]:
    """Poetry with this plugin and the real poetry-dynamic-versioning."""
    home = poetry_home().clone(tmp_path_factory.mktemp("dynamic") / "home")
    home.pip_install("poetry-dynamic-versioning")
    with fixed(home):
        yield home


@pytest.fixture
def new_project(
    tmp_path: Path, index: LocalIndex, environ: dict[str, str]
) -> Callable[..., Project]:
    def new(directory: str = "project", **about: object) -> Project:
        return make_project(
            tmp_path / directory,
            index,
            environ=environ,
            **about,  # type: ignore[arg-type]
        )

    return new


@pytest.fixture
def new_venv(tmp_path: Path) -> Callable[..., Path]:
    """Empty virtual environments to install into."""

    def new(name: str, minor: str = "") -> Path:
        return make_venv(tmp_path / "environments" / name, minor)

    return new


@pytest.fixture
def minors() -> list[str]:
    """The Pythons that work on a tagged project."""
    return two_of(DEFAULT_PYTHON)


@pytest.fixture
def tagged_project(
    tmp_path: Path, index: LocalIndex, environ: dict[str, str], minors: list[str]
) -> Project:
    """A fresh clone, so to speak, whose version 1.2.3 comes from its tag."""
    homes = [poetry_home(minor=minor, protected=False) for minor in minors]
    return make_tagged_project(tmp_path / "project", index, homes, environ=environ)


@pytest.fixture
def other_user() -> Iterator[OtherUser]:
    """A user without rights; skips where tests cannot become one."""
    with tempfile.TemporaryDirectory(prefix="everybody-") as base:
        Path(base).chmod(0o755)
        yield find_other_user(65534, DEFAULT_PYTHON, Path(base))
