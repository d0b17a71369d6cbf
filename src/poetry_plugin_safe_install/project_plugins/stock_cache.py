"""Poetry's own ``.poetry/plugins``, which plugin sets replace."""

from __future__ import annotations

import contextlib
import os
import shutil

from enum import Enum
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.project_plugins.sets import staged_in


if TYPE_CHECKING:
    from pathlib import Path

RETIRED_FOR = 3600
"""Seconds that Poetry's own plugin cache stays after nobody finds plugins in it."""


class CacheState(Enum):
    ABSENT = "absent"
    IN_USE = "in use"
    """Poetry loads the project's plugins from here."""
    KEEPS_ONE = "keeps one"
    """Retired, but for the plugin that is doing all this."""
    RETIRED = "retired"
    DUE = "due"
    """Retired for long enough to be removed."""


class StockPluginCache:
    """``.poetry/plugins``, where unprotected Poetry keeps the project's plugins.

    It cannot simply be removed: another process may have found plugins in it a moment
    ago and be importing them. So it is first *retired*: nobody finds plugins in it any
    longer, and unprotected Poetry takes it for outdated. An hour later it is removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def _mark(self) -> Path:
        return self.path / ".retired"

    def state(self, now: float) -> CacheState:
        if not self.path.is_dir():
            return CacheState.ABSENT
        try:
            kept = self._mark.read_text(encoding="utf-8")
            age = now - self._mark.stat().st_mtime
        except OSError:
            return CacheState.IN_USE
        if kept:
            return CacheState.KEEPS_ONE
        return CacheState.DUE if age > RETIRED_FOR else CacheState.RETIRED

    def retire(self, keep: str = "") -> None:
        """Let nobody find plugins here from now on, but those of distribution ``keep``.

        :param keep: where the project itself requires this plugin, Poetry must go on
            finding it here.
        """
        (self.path / "config.toml").unlink(missing_ok=True)
        for entry_points in self.path.glob("*.dist-info/entry_points.txt"):
            if not keep or _distribution_name(entry_points.parent) != keep:
                entry_points.unlink(missing_ok=True)
        self._mark.write_text(keep, encoding="utf-8")

    def remove(self, staging: Path) -> None:
        """Remove it atomically. The caller holds the project exclusively."""
        with contextlib.suppress(OSError), staged_in(staging) as removed:
            os.replace(self.path, removed)

    def copy_to(self, lib: Path) -> None:
        shutil.copytree(
            self.path, lib, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )


def _distribution_name(dist_info: Path) -> str:
    name = dist_info.name.removesuffix(".dist-info").rpartition("-")[0]
    return name.lower().replace("_", "-")
