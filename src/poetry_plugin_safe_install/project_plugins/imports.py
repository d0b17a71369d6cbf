"""What this process imports, and from where: changed until a command has ended."""

from __future__ import annotations

import os
import sys

from importlib import invalidate_caches
from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat import PACKAGE


if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def entries_of(directory: Path) -> set[str]:
    """A directory as ``sys.path`` has it, which may be by another name.

    :param directory: its real path.
    """
    real = str(directory)
    return {
        entry
        for entry in sys.path
        if entry.endswith(directory.name) and os.path.realpath(entry) == real
    }


class Imports:
    """``sys.path`` and ``sys.modules``, and how they were before."""

    def __init__(self) -> None:
        self._added: list[str] = []
        self._dropped: list[tuple[int, str]] = []
        self._forgotten: dict[str, ModuleType] = {}

    def add(self, directory: Path) -> None:
        """Import from a directory before all others, so that it overrides them.

        ``.pth`` files are read after that: ``PluginManager.add_project_plugin_path``,
        Poetry 2.3.
        """
        from site import addsitedir

        before = set(sys.path)
        sys.path.insert(0, str(directory))
        addsitedir(str(directory))
        self._added += [entry for entry in sys.path if entry not in before]
        invalidate_caches()

    def drop(self, directory: Path) -> bool:
        """Import nothing from a directory, and forget what was imported from it.

        :return: whether anything could have been.
        """
        found = entries_of(directory)
        if not found:
            return False
        entries = [*enumerate(sys.path)]
        self._dropped += [(index, entry) for index, entry in entries if entry in found]
        sys.path[:] = [entry for entry in sys.path if entry not in found]
        places = {Path(entry) for entry in found}
        self.forget(lambda name, file: not places.isdisjoint(file.parents))
        invalidate_caches()
        return True

    def forget(self, which: Callable[[str, Path], bool]) -> None:
        """Have modules imported again, this plugin's own and ``__main__`` excepted."""
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == PACKAGE or name == "__main__":
                continue
            place = _place(module)
            if place and which(name, Path(place)):
                self._forgotten.setdefault(name, sys.modules.pop(name))

    def restore(self) -> None:
        """Put back what was there; what was imported since from elsewhere stays."""
        sys.path[:] = [entry for entry in sys.path if entry not in self._added]
        for index, entry in reversed(self._dropped):
            sys.path.insert(index, entry)
        below = tuple(f"{Path(entry)}{os.sep}" for entry in self._added)
        for name, module in list(sys.modules.items()):
            if below and _place(module).startswith(below):
                del sys.modules[name]
        for name, module in self._forgotten.items():
            sys.modules.setdefault(name, module)
        invalidate_caches()


def _place(module: ModuleType) -> str:
    """Where a module was imported from; nothing where that is no file or directory."""
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", []))
    return str(places[0]) if places else ""
