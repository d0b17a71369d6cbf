"""Poetry's internals: how they are declared, checked and replaced."""

from __future__ import annotations

import sys

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING
from typing import Any


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator

    from cleo.io.io import IO


DISTRIBUTION = "poetry-plugin-safe-install"
PACKAGE = DISTRIBUTION.replace("-", "_")

ALL = "2.0.1, 2.1.4, 2.2.1, 2.3.4, 2.4.3, 2.5.1"


class Internal:
    """Something of Poetry's, or of cleo's, that Poetry does not promise.

    Neither a dataclass nor a named tuple: every command would pay for making it.

    :param name: dotted where it is an attribute of a class: ``PluginManager.activate``.
    :param instead: another name that does as well, under which other versions have it.
    """

    def __init__(
        self, module: str, name: str, seen_in: str = ALL, instead: str = ""
    ) -> None:
        self.module = module
        self.name = name
        self.seen_in = seen_in
        self.instead = instead


def missing_internals(internals: Iterable[Internal]) -> list[str]:
    """Those that this Poetry does not have."""
    return [
        f"{internal.module}.{internal.name}"
        for internal in internals
        if not any(
            _has(internal.module, name)
            for name in (internal.name, internal.instead)
            if name
        )
    ]


def _has(module: str, name: str) -> bool:
    found: Any
    try:
        found = import_module(module)
    except ImportError:
        return False
    for part in name.split("."):
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


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


@contextmanager
def replaced(owner: type, name: str, value: Any) -> Iterator[None]:
    before = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def replace(owner: Any, name: str, value: Any) -> None:
    setattr(owner, name, value)
