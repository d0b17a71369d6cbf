"""What the protection reads of pyproject.toml before Poetry reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from typing import NamedTuple

from poetry_plugin_safe_install import poetry_compat
from poetry_plugin_safe_install.settings import SECTION


class ProjectFile(NamedTuple):
    """The two sections that concern this plugin.

    ``requires_plugins`` is ``None`` where the file cannot be read or makes no sense:
    then Poetry will say so in its own words.
    """

    requires_plugins: dict[str, Any] | None
    section: Any


UNREADABLE = ProjectFile(None, {})


def shown(path: Path) -> str:
    """How a person here would name this file."""
    here = Path.cwd()
    return str(path.relative_to(here) if here in path.parents else path)


def read(path: Path) -> ProjectFile:
    try:
        tool = poetry_compat.load_toml(path).get("tool", {})
    except (OSError, ValueError):
        return UNREADABLE
    if not isinstance(tool, dict) or not isinstance(tool.get("poetry", {}), dict):
        return UNREADABLE
    requires_plugins = tool.get("poetry", {}).get("requires-plugins", {})
    if not isinstance(requires_plugins, dict):
        requires_plugins = None
    return ProjectFile(requires_plugins, tool.get(SECTION, {}))
