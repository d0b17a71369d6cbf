"""What ``--check`` tells of a plugin set, and of the copies in the user's cache."""

from __future__ import annotations

import time

from dataclasses import dataclass

from poetry_plugin_safe_install.project_plugins.copies import Copy
from poetry_plugin_safe_install.project_plugins.copies import PluginCopies
from poetry_plugin_safe_install.project_plugins.copies import copies_directory
from poetry_plugin_safe_install.project_plugins.trees import DamagedError


DAY = 24 * 3600


def ago(days: int) -> str:
    if not days:
        return "today"
    return f"{days} {'day' if days == 1 else 'days'} ago"


@dataclass(frozen=True)
class PluginSetFacts:
    interpreter: str
    name: str
    days_unused: int
    current: bool
    """Whether the next install with this Poetry uses it as it is."""

    @property
    def shown(self) -> str:
        interpreter = self.interpreter.partition("-poetry-")[0]
        return f"{interpreter} (used {ago(self.days_unused)})"


@dataclass(frozen=True)
class PluginCopyFacts:
    name: str
    requires: tuple[str, ...]
    """What the project required that it was made for."""
    bytes: int
    days_unused: int
    damaged: str
    """What is wrong with it; empty if it is whole. It is made again when it is needed."""


@dataclass(frozen=True)
class PluginCopiesFacts:
    setting: str
    directory: str
    copies: tuple[PluginCopyFacts, ...]


def plugin_copies(setting: str) -> PluginCopiesFacts:
    """Every file of every copy is read."""
    directory = copies_directory()
    now = time.time()
    return PluginCopiesFacts(
        setting,
        str(directory),
        tuple(
            _facts(path.name, copy, now)
            for path, copy in PluginCopies(directory).everything()
        ),
    )


def _facts(name: str, copy: Copy | None, now: float) -> PluginCopyFacts:
    if copy is None:
        return PluginCopyFacts(name, (), 0, 0, "its list of files cannot be read")
    damaged = ""
    try:
        copy.check_all()
    except DamagedError as error:
        damaged = str(error)
    days = max(0, int((now - copy.last_used) // DAY))
    return PluginCopyFacts(name, tuple(copy.requires), copy.size, days, damaged)


def copies_texts(facts: PluginCopiesFacts) -> tuple[str, ...]:
    """How many there are, how large; and what is wrong with them."""
    if facts.setting == "never":
        return ("plugin-copies is never: each project installs its own",)
    texts = []
    if facts.copies:
        size = sum(copy.bytes for copy in facts.copies) / 1e6
        noun = "copy" if len(facts.copies) == 1 else "copies"
        texts.append(f"{len(facts.copies)} {noun} in the cache ({size:.1f} MB)")
    if damaged := [copy for copy in facts.copies if copy.damaged]:
        texts.append(f"{len(damaged)} of them not whole, and made again when needed")
    return tuple(texts)
