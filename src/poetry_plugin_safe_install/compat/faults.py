"""Whose fault an exception is, and what the user is told about it."""

from __future__ import annotations

from traceback import walk_tb
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.internals import DISTRIBUTION
from poetry_plugin_safe_install.compat.internals import PACKAGE
from poetry_plugin_safe_install.compat.internals import UnknownPoetryError
from poetry_plugin_safe_install.compat.internals import unknown_poetry
from poetry_plugin_safe_install.errors import SafeInstallError


if TYPE_CHECKING:
    from collections.abc import Iterator

POETRY = frozenset(("poetry", "cleo"))

DIFFERENT = (AttributeError, ImportError, TypeError)
"""What Python raises where something is not there, or cannot be called like that."""


def is_own_fault(error: Exception) -> bool:
    """Whether this plugin fails, and not Poetry while this plugin waits for it.

    What is meant for the user, a ``SafeInstallError``, is no fault.
    """
    if isinstance(error, SafeInstallError):
        return False
    packages = (module.partition(".")[0] for module, _ in _innermost_first(error))
    return (
        next((name for name in packages if name in POETRY | {PACKAGE}), "") == PACKAGE
    )


def explain(error: Exception) -> str:
    """Why this command is not protected, and what the user can do about it."""
    if isinstance(error, UnknownPoetryError):
        return unknown_poetry(str(error))
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):  # a path that is too long, for example
        return f"{DISTRIBUTION} cannot protect this command: {error}"
    own = (place for place in _innermost_first(error) if place[0].startswith(PACKAGE))
    module, line = next(own, (PACKAGE, 0))
    if isinstance(error, DIFFERENT) and module.startswith(f"{PACKAGE}.compat."):
        return unknown_poetry(what)
    return (
        f"{DISTRIBUTION} has failed ({module}, line {line}: {what}) and does not protect"
        " this command. Please report this, with the output of `poetry safe-install"
        " --check --format json`."
    )


def _innermost_first(error: Exception) -> Iterator[tuple[str, int]]:
    """The module and line of every frame that the error has passed through."""
    frames = [
        (str(frame.f_globals.get("__name__", "")), line)
        for frame, line in walk_tb(error.__traceback__)
    ]
    return reversed(frames)
