"""What packages require of each other, and what would become of one: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


PLUGIN_GROUPS = ("poetry.application.plugin", "poetry.plugin")
"""The entry points by which Poetry finds its plugins."""


@dataclass(frozen=True)
class Requires:
    """What one package, or the project, requires of another.

    ``requirer`` is for people ("poetry 2.5.1"), as is ``text`` ("packaging>=24.2");
    ``accepts`` says whether a version will do.
    """

    requirer: str
    package: str
    text: str
    accepts: Callable[[str], bool] = field(compare=False)
    extras: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.requirer} requires {self.text}"


@dataclass(frozen=True)
class Release:
    """One version of a package, and what it requires here."""

    name: str
    version: str
    requires: tuple[Requires, ...] = ()


@dataclass(frozen=True)
class Root:
    """The project, where it is about to be installed itself.

    ``origin`` is its address, as ``direct_url.json`` has it (PEP 610). ``is_plugin``
    says whether it declares an entry point by which Poetry finds plugins, or Poetry's
    own script. ``scripts`` are the files that its scripts are written to.
    """

    name: str
    origin: str
    is_plugin: bool
    scripts: tuple[str, ...]
    requires: tuple[Requires, ...]


@dataclass(frozen=True)
class Change:
    """What an operation would do to an own package.

    ``target`` is none if it removes the package. ``over``: Poetry does not see that it
    is installed, and would write over its files without removing them first.
    ``source``: where it comes from, in words, if that is not where the installed one
    came from; empty if it is.
    """

    package: str
    target: Release | None
    over: bool = False
    source: str = ""
