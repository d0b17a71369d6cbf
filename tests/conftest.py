from __future__ import annotations

import subprocess
import sys
import tempfile

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.index import LocalIndex
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import make_project
from tests.laboratory.pythons import pythons
from tests.laboratory.users import find_other_user


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project
    from tests.laboratory.users import OtherUser


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests put distributions of their own for all tests of the session."""
    return tmp_path_factory.mktemp("distributions")


@pytest.fixture(scope="session")
def shared_environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Poetry's directories, apart from the user's; the cache is shared by the tests."""
    base = tmp_path_factory.mktemp("poetry")
    return {
        "POETRY_CONFIG_DIR": str(base / "config"),
        "POETRY_CACHE_DIR": str(base / "cache"),
        "POETRY_DATA_DIR": str(base / "data"),
        "HOME": str(base),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }


@pytest.fixture
def environ(shared_environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return {**shared_environ, "POETRY_VIRTUALENVS_PATH": str(tmp_path / "venvs")}


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """Distributions of this test alone.

    Poetry's cache, which the tests share, knows them by name and version: two tests
    give one name and version to the same content only.
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
        python = pythons()[minor] if minor else sys.executable
        path = tmp_path / "environments" / name
        command = [sys.executable, "-m", "virtualenv", "--quiet", "--no-seed"]
        subprocess.run([*command, "-p", str(python), str(path)], check=True)
        return path

    return new


@pytest.fixture
def other_user() -> Iterator[OtherUser]:
    """A user without rights; skips where tests cannot become one."""
    with tempfile.TemporaryDirectory(prefix="everybody-") as base:
        Path(base).chmod(0o755)
        yield find_other_user(65534, DEFAULT_PYTHON, Path(base))
