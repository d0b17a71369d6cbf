"""Whose fault an exception is, and what the user is told about it.

Apart from what declares and patches, since most commands have nothing to tell.
"""

from __future__ import annotations

import sys

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat import DISTRIBUTION
from poetry_plugin_safe_install.compat import PACKAGE
from poetry_plugin_safe_install.compat import UnknownPoetryError


if TYPE_CHECKING:
    from collections.abc import Iterator

    from cleo.io.io import IO

POETRY = frozenset(("poetry", "cleo"))

DIFFERENT = (AttributeError, ImportError, TypeError)
"""What Python raises where something is not there, or cannot be called like that."""


def is_own_fault(error: Exception) -> bool:
    """Whether this plugin fails, and not Poetry while this plugin waits for it.

    What is meant for the user, a ``SafeInstallError``, is no fault.
    """
    from poetry_plugin_safe_install.errors import SafeInstallError

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
    places = []
    traceback = error.__traceback__
    while traceback:
        module = traceback.tb_frame.f_globals.get("__name__", "")
        places.append((str(module), traceback.tb_lineno))
        traceback = traceback.tb_next
    return reversed(places)


def unknown_poetry(why: str) -> str:
    from poetry.__version__ import __version__

    return (
        f"{DISTRIBUTION} does not know this Poetry ({__version__}) well enough to"
        f" protect it and stands aside ({why}). Please look for a newer {DISTRIBUTION}."
    )


def warn(io: IO | None, text: str) -> None:
    if io:
        io.write_error_line(f"<warning>{text}</warning>")
    else:
        print(text, file=sys.stderr)
