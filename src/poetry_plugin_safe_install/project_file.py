"""What the protection reads of pyproject.toml before Poetry reads it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from poetry_plugin_safe_install.compat.config import parse_toml
from poetry_plugin_safe_install.settings import SECTION


class ProjectFile:
    """The two sections that concern this plugin."""

    def __init__(self, requires_plugins: dict[str, Any] | None, section: Any) -> None:
        """
        :param requires_plugins: ``None`` where the file cannot be read or makes no
            sense: then Poetry will say so in its own words.
        """
        self.requires_plugins = requires_plugins
        self.section = section


UNREADABLE = ProjectFile(None, {})


def shown(path: Path) -> str:
    """How a person here would name this file."""
    here = Path.cwd()
    return str(path.relative_to(here) if here in path.parents else path)


def read(path: Path) -> ProjectFile:
    try:
        return _parsed(path.read_bytes())
    except (OSError, ValueError):
        return UNREADABLE


@lru_cache(maxsize=1)
def _parsed(content: bytes) -> ProjectFile:
    """A command reads the file again after every wait; mostly it is the same."""
    tool = parse_toml(content.decode()).get("tool", {})
    if not isinstance(tool, dict) or not isinstance(tool.get("poetry", {}), dict):
        return UNREADABLE
    requires_plugins = tool.get("poetry", {}).get("requires-plugins", {})
    if not isinstance(requires_plugins, dict):
        requires_plugins = None
    return ProjectFile(requires_plugins, tool.get(SECTION, {}))
