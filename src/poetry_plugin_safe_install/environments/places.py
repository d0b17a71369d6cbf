"""The environment that a command installs into: its lock, and whether it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import os

from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.store import DIRECTORY
from poetry_plugin_safe_install.store import FILE_MODE
from poetry_plugin_safe_install.store import NAME
from poetry_plugin_safe_install.store import make_directory


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Iterator

    from poetry_plugin_safe_install.compat.operations import TargetEnvironment

JOURNALS = ".poetry-safe-install"
"""The directory in site-packages that is there while something is changed."""


def lock_path(
    prefix: Path,
    site_packages: Path,
    *,
    is_venv: bool,
    cache_directory: Callable[[], Path],
) -> Path:
    """The file whose lock guards an environment.

    For a virtual environment it is the one that uv locks too
    (``PythonEnvironment::lock``, uv 0.5 and later), so that uv and Poetry exclude each
    other.
    """
    directory = prefix if is_venv else site_packages
    name = ".lock" if is_venv else f".{NAME}.lock"
    if os.access(directory / name, os.R_OK) or os.access(directory, os.W_OK):
        return directory / name
    key = _key(directory)
    return cache_directory() / NAME / f"environment-{key}.lock"


def place_aside(environment: Path) -> Path:
    """The directory that an environment is moved into before it is removed."""
    store = environment.parent / DIRECTORY / NAME
    return store / "removed" if store.is_dir() else environment.parent / JOURNALS


def poetry_runs_from(target: TargetEnvironment, paths: Iterable[str]) -> bool:
    """Whether what is installed there is on this ``sys.path``.

    A virtual environment that has nothing to do with Poetry is told by its path alone,
    without asking its Python anything.
    """
    real = {os.path.realpath(path) for path in paths if path}
    environment = Path(os.path.realpath(target.path))
    if target.is_virtual and not any(
        environment in Path(path).parents for path in real
    ):
        return False
    return any(os.path.realpath(path) in real for path in target.directories)


class UnfinishedEnvironments:
    """Environments that are being created, marked so that unfinished ones are recognised.

    A half-made environment looks whole to Poetry: it has a ``pyvenv.cfg`` and a Python.
    """

    def __init__(self, store: Path) -> None:
        self._directory = store / "creating"

    @contextlib.contextmanager
    def creating(self, environment: Path) -> Iterator[None]:
        mark = self._mark(environment)
        make_directory(self._directory)
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT, FILE_MODE))
        yield
        self.forget(environment)

    @property
    def exist(self) -> bool:
        """Whether the creation of some was begun and did not end.

        The caller holds the project, so that nobody can be creating any now.
        """
        return self._directory.is_dir()

    def contains(self, environment: Path) -> bool:
        """The same of one environment."""
        return self.exist and self._mark(environment).exists()

    def forget(self, environment: Path) -> None:
        self._mark(environment).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._directory.rmdir()

    def _mark(self, environment: Path) -> Path:
        return self._directory / _key(environment)


def _key(path: Path) -> str:
    return hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:16]
