"""The environment that a command installs into: its lock, and whose it is."""

from __future__ import annotations

import hashlib
import os
import sys

from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.store import DIRECTORY
from poetry_plugin_safe_install.store import NAME


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from pathlib import Path

    from poetry_plugin_safe_install.compat.operations import TargetEnvironment

JOURNALS = ".poetry-safe-install"
"""The directory in site-packages that is there while something is changed."""

KEPT = f"{JOURNALS}-kept"
"""Beside it: what Poetry itself needs, until it has been tried out after a change."""


def lock_path(
    directory: Path, *, is_venv: bool, cache_directory: Callable[[], Path]
) -> Path:
    """The file whose lock guards an environment.

    :param directory: the prefix of a virtual environment, of others the site-packages.

    """
    name = f"{JOURNALS}.lock" if is_venv else f".{NAME}.lock"
    if os.access(directory / name, os.R_OK) or os.access(directory, os.W_OK):
        return directory / name
    key = _key(directory)
    return cache_directory() / NAME / f"environment-{key}.lock"


def may_have_journals(prefix: Path) -> bool:
    """Whether something is under way in a virtual environment, or was cut off there.

    Asks no Python where its site-packages is: ``run`` has no time for that.
    """
    for library in ("lib", "Lib"):
        with suppress(OSError):
            for name in ("", *os.listdir(prefix / library)):
                site = prefix / library / name / "site-packages"
                if any(os.path.isdir(site / left) for left in (JOURNALS, KEPT)):
                    return True
    return False


def place_aside(environment: Path) -> Path:
    """The directory that an environment is moved into before it is removed."""
    store = environment.parent / DIRECTORY / NAME
    return store / "removed" if store.is_dir() else environment.parent / JOURNALS


def may_need_repair(environment: Any) -> bool:
    """Whether ``changes.repair`` may find something to do."""
    prefix = environment.path
    is_venv = environment.is_venv()
    return not is_venv or may_have_journals(prefix) or place_aside(prefix).is_dir()


UNFINISHED_MARK = ".poetry-safe-install-unfinished"
"""In an environment: a line for each ``pyvenv.cfg`` that was about to be written there,
its digest. See ``unfinished``."""


def is_marked(environment: Path) -> bool:
    """Whether it is being created, or was being created by a command that was killed.

    Who holds the project knows that it is not being created now.
    """
    return os.path.lexists(environment / UNFINISHED_MARK)


def holds(environment: Path, paths: Iterable[str]) -> bool:
    """Whether one of these paths is that of the environment, or lies in it."""
    inside = os.path.join(os.path.realpath(environment), "")
    return any(
        os.path.join(os.path.realpath(path), "").startswith(inside)
        for path in paths
        if path
    )


def is_apart(environment: Any) -> bool:
    """Whether it is a virtual environment that this Poetry does not run from.

    :param environment: ``None`` if there is none.
    """
    if environment is None or not environment.is_venv():
        return False
    return not holds(environment.path, (sys.prefix, *sys.path))


def poetry_runs_from(target: TargetEnvironment, paths: Iterable[str]) -> bool:
    """Whether what is installed there is on this ``sys.path``.

    A virtual environment that has nothing to do with Poetry is told by its path alone,
    without asking its Python anything.
    """
    real = {os.path.realpath(path) for path in paths if path}
    if target.is_virtual and not holds(target.path, real):
        return False
    return any(os.path.realpath(path) in real for path in target.directories)


def _key(path: Path) -> str:
    return hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:16]
