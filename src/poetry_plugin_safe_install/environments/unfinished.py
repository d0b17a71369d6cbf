"""Environments whose creation was begun and did not end.

A half-made environment looks whole to Poetry: it has a ``pyvenv.cfg`` and a Python. It
is therefore marked while it is created. The mark is a file in the environment itself, so
that it goes with it, and it tells which ``pyvenv.cfg`` is written: whoever creates an
environment in that directory afterwards writes another one. Nothing is ever removed:
what is unfinished is created once more over what is there.
"""

from __future__ import annotations

import hashlib
import os

from contextlib import contextmanager
from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.environment_making import configuration_watched
from poetry_plugin_safe_install.environments.places import UNFINISHED_MARK as MARK
from poetry_plugin_safe_install.environments.places import is_marked
from poetry_plugin_safe_install.store import FILE_MODE


if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Iterator
    from pathlib import Path

CONFIGURATION = "pyvenv.cfg"


@contextmanager
def creating(environment: Path) -> Iterator[None]:
    """To be entered around the creation of an environment."""
    mark = environment / MARK
    with suppress(OSError):  # virtualenv will say what is wrong
        environment.mkdir(parents=True, exist_ok=True)
        _append(mark, b"")
    try:
        with configuration_watched(
            environment / CONFIGURATION,
            lambda content: _append(mark, f"{_digest(content)}\n".encode()),
        ):
            yield
    except BaseException:  # virtualenv ends with SystemExit
        _remove_if_empty(environment)
        raise
    forget(environment)


def is_as_left(environment: Path) -> bool:
    """Whether nobody else has made it whole since: see ``judge``."""
    announced = (environment / MARK).read_text(encoding="utf-8").splitlines()
    try:
        found = (environment / CONFIGURATION).read_bytes()
    except FileNotFoundError:
        found = b""
    return judge(found, announced)


def is_to_be_kept(environment: Path) -> bool:
    """Whether it is created again over what is there."""
    return is_marked(environment) and is_as_left(environment)


def judge(configuration: bytes, announced: Collection[str]) -> bool:
    """Whether a marked environment is the one that its mark is about.

    Python's venv, virtualenv and uv all write ``pyvenv.cfg``, and each another one.

    :param configuration: what is in it; nothing if it is not there.
    :param announced: the digests that the mark names.
    """
    return not configuration or _digest(configuration) in announced


def forget(environment: Path) -> None:
    with suppress(OSError):
        (environment / MARK).unlink()


def _append(mark: Path, line: bytes) -> None:
    fd = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


def _remove_if_empty(environment: Path) -> None:
    """Virtualenv has refused: leave no directory that it has not made."""
    with suppress(OSError):
        if os.listdir(environment) == [MARK]:
            (environment / MARK).unlink()
            environment.rmdir()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
