"""What each of Poetry's commands needs from the protection: a table."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Sequence


class Need(Enum):
    """What a command does to the project, and so what it must hold."""

    NOTHING = "nothing"
    """Neither locks nor plugin sets: the command does not concern the project."""

    LOOK = "look"
    """Tells what an install would meet. Nothing is locked, made or changed."""

    PLUGINS = "plugins"
    """The project's plugins must be loaded. Nothing is locked, nobody is waited for."""

    RUN = "run"
    """Relies on the project and its environment until the user's program starts."""

    WRITE = "write"
    """Rewrites files of the project."""

    BUILD = "build"
    """Reads the project; a plugin may rewrite its files meanwhile."""

    INSTALL = "install"
    """Installs the project's plugins and fills its environment."""


_NEEDS: dict[tuple[str, ...], Need] = {
    ("--version",): Need.NOTHING,
    ("about",): Need.NOTHING,
    ("cache",): Need.NOTHING,
    ("config",): Need.NOTHING,
    ("init",): Need.NOTHING,
    ("new",): Need.NOTHING,
    ("python",): Need.NOTHING,
    ("search",): Need.NOTHING,
    ("self",): Need.NOTHING,
    ("run",): Need.RUN,
    ("install",): Need.INSTALL,
    ("safe-install",): Need.INSTALL,
    ("sync",): Need.INSTALL,
    ("add",): Need.WRITE,
    ("lock",): Need.WRITE,
    ("remove",): Need.WRITE,
    ("update",): Need.WRITE,
    ("env", "remove"): Need.WRITE,
    ("env", "use"): Need.WRITE,
    ("source", "add"): Need.WRITE,
    ("source", "remove"): Need.WRITE,
    ("build",): Need.BUILD,
    ("publish",): Need.BUILD,
}

CHANGE_ENVIRONMENT = frozenset(
    {"add", "env", "install", "remove", "safe-install", "sync", "update"}
)
"""First words of the commands that create an environment or change what is in it."""

MAY_BUILD = frozenset(
    {
        "add",
        "build",
        "install",
        "lock",
        "publish",
        "remove",
        "safe-install",
        "sync",
        "update",
    }
)
"""First words of the commands that may build a distribution in isolation."""


LOOKING = frozenset({"check", "show-config"})
"""Options that make ``safe-install`` look instead of install."""


def need_of(words: Sequence[str], options: Collection[str] = ()) -> Need:
    """What the command with these words (``["env", "use", "3.12"]``) needs.

    :param options: the names of the long options that are given.

    A command that is not in the table, one of a plugin's for example, needs the
    project's plugins and no more.
    """
    if words[:1] == ["safe-install"] and not LOOKING.isdisjoint(options):
        return Need.LOOK
    if words[:1] == ["version"]:
        return Need.WRITE if len(words) > 1 else Need.PLUGINS
    for length in (2, 1):
        if need := _NEEDS.get(tuple(words[:length])):
            return need
    return Need.PLUGINS
