"""The project's own plugins in one command: made if missing, loaded, activated."""

from __future__ import annotations

import os
import sys
import time

from contextlib import ExitStack
from contextlib import contextmanager
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat import DISTRIBUTION
from poetry_plugin_safe_install.compat.command_line import read_project
from poetry_plugin_safe_install.compat.config import poetry_version
from poetry_plugin_safe_install.compat.plugins import install_plugins
from poetry_plugin_safe_install.compat.plugins import poetry_cache_is_fresh
from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.project_plugins.imports import Imports
from poetry_plugin_safe_install.project_plugins.imports import entries_of
from poetry_plugin_safe_install.project_plugins.sets import PluginSet
from poetry_plugin_safe_install.project_plugins.sets import PluginSets
from poetry_plugin_safe_install.project_plugins.sets import installed_names
from poetry_plugin_safe_install.project_plugins.sets import interpreter_name
from poetry_plugin_safe_install.project_plugins.sets import set_name
from poetry_plugin_safe_install.project_plugins.stock_cache import CacheState
from poetry_plugin_safe_install.project_plugins.stock_cache import StockPluginCache


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Iterator

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.locks.session import Session
    from poetry_plugin_safe_install.project_plugins.copies import SetCopy
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.store import Store


class ProjectPlugins:
    """What ``requires-plugins`` names, for one command.

    ``requires`` is that section of pyproject.toml wherever it is an argument.
    """

    def __init__(self, command: StartingCommand, store: Store) -> None:
        self._command = command
        assert command.project is not None
        self._project = command.project.parent
        self._store = store
        self._cache = StockPluginCache(command.poetry_cache)
        self.origin = "reused"
        """Where this command has its set from: ``made``, ``copied`` or ``reused``."""
        self.sets = PluginSets(store, interpreter_name(poetry_version()))

    def is_missing(self, requires: dict[str, Any]) -> bool:
        """Whether the set must be made. Changes nothing."""
        wanted = bool(requires) and self._store.is_trusted
        return wanted and not self.sets.exact(self._name(requires))

    def must_tidy(self, requires: dict[str, Any]) -> bool:
        """Whether there is anything to remove. Changes nothing."""
        if self._must_retire(requires):
            return True
        return bool(self._superfluous() if requires else self.sets.everything())

    def _superfluous(self) -> list[PluginSet]:
        """Whoever has made a set removes those that nobody has used for long."""
        return self.sets.unused(time.time()) if self.origin != "reused" else []

    def lock_of_set(self, requires: dict[str, Any], backend: str) -> Lock:
        """
        :param backend: the setting ``lock-backend``.
        """
        path = self.sets.lock_path(self._name(requires))
        guards = f"the plugin set of the project {self._project}"
        return Lock(path, guards, self._store.locks, backend)

    def publish(
        self, requires: dict[str, Any], session: Session, settings: Settings
    ) -> None:
        """Have the set unless somebody else has made it: from its copy, or by making it.

        The caller shares the project, and has the lock of the set.

        :raises Exception: Poetry's own, if it cannot install the plugins. Whatever was
            published before is still in place then.
        """
        if not self.is_missing(requires):
            return
        source = None
        if settings.plugin_copies == "auto":
            source = self._copy_of(requires)
        if source is None:
            self._make(requires)
        elif not self._take(requires, source):
            with self._alone_with(source, session, settings):
                if not self._take(requires, source):
                    made = self._make(requires)
                    source.put(made.path, requires)
        self._command.reload_project()

    def _copy_of(self, requires: dict[str, Any]) -> SetCopy | None:
        from poetry_plugin_safe_install.project_plugins.copies import copy_of

        assert self._command.project is not None
        installed = installed_names(self._paths_of_poetry())
        return copy_of(
            self._command.project, requires, self.sets.interpreter, installed
        )

    @contextmanager
    def _alone_with(
        self, source: SetCopy, session: Session, settings: Settings
    ) -> Iterator[None]:
        """Of all commands of this user, one makes what many projects want."""
        guards = f"the plugin set {self.sets.interpreter}"
        lock = Lock(source.lock_path, guards, None, settings.lock_backend)
        with ExitStack() as stack:
            with suppress(LockUnavailableError):
                stack.enter_context(session.beside_plan(lock, Mode.EXCLUSIVE))
            yield

    def _take(self, requires: dict[str, Any], source: SetCopy) -> bool:
        about = self._about(requires, "copied")
        name = self._name(requires)
        if not self.sets.take(name, lambda staged: source.take(staged, about)):
            return False
        self._is("copied", name)
        self._say(f"plugin set copied from {source.path}")
        return True

    def _make(self, requires: dict[str, Any]) -> PluginSet:
        about = self._about(requires, "made")
        plugin_set = self.sets.publish(self._name(requires), self._fill, about)
        self._is("made", plugin_set.path.name)
        return plugin_set

    def _is(self, origin: str, name: str) -> None:
        from poetry_plugin_safe_install.events import tell

        self.origin = origin
        tell("plugin-set", origin=origin, name=name, store=str(self._store.path))

    def _about(self, requires: dict[str, Any], how: str) -> dict[str, Any]:
        return {
            "requires-plugins": requires,
            f"{how}-by": self._command.line,
            f"{how}-at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }

    def tidy(self, requires: dict[str, Any]) -> None:
        """Remove what nobody needs any longer.

        The caller holds the project exclusively.
        """
        if not requires:
            self._remove_everything()
        self.sets.remove(self._superfluous())
        if self._must_retire(requires):
            self._retire(requires)

    def sweep(self, session: Session, project: Lock) -> None:
        """Remove what a killed command has left, unless somebody is busy."""
        with suppress(LockUnavailableError):  # told when it is taken for the command
            if held := session.try_now(project, Mode.EXCLUSIVE):
                if (
                    not held.is_within
                ):  # otherwise an ancestor may be making a set there
                    self.sets.sweep()
                held.release()

    def _retire(self, requires: dict[str, Any]) -> None:
        """Where it cannot be written it stays; this command does not load from it."""
        with suppress(OSError):
            if self._cache.state(time.time()) is CacheState.DUE:
                self._cache.remove(self.sets.staging)
            else:
                self._cache.retire(keep=self._kept(requires))

    def load(self, requires: dict[str, Any]) -> bool:
        """Put a set in the place of what Poetry found, and load all plugins again.

        The exact set, otherwise the newest of this interpreter (Poetry too uses an
        outdated cache), otherwise what Poetry itself has loaded stays.

        :return: whether there was one.
        """
        return self._load(requires, PluginSet.use)

    def load_untouched(self, requires: dict[str, Any]) -> bool:
        """As ``load``, but the disk is the same afterwards."""
        return self._load(requires, PluginSet.keep)

    def _load(
        self, requires: dict[str, Any], take: Callable[[PluginSet], bool]
    ) -> bool:
        if not requires:
            return False
        for plugin_set in (self.sets.exact(self._name(requires)), self.sets.newest()):
            if plugin_set and take(plugin_set):
                self._load_from(plugin_set)
                return True
        if not self._store.is_trusted:
            self._command.io.write_error_line(
                f"<warning>{self._store.path} is not used: another user could put"
                " plugins there. Have a cache directory of your own (POETRY_CACHE_DIR)."
                "</warning>"
            )
        self._say("no plugin set for this interpreter yet: `poetry install` makes it")
        return False

    def exact_set(self, requires: dict[str, Any]) -> PluginSet | None:
        """The set that the next install would use as it is."""
        return self.sets.exact(self._name(requires)) if requires else None

    @property
    def cache_state(self) -> CacheState:
        return self._cache.state(time.time())

    def leave_stock_cache(self) -> None:
        """Load all plugins again, but none from ``.poetry/plugins``."""
        if self._imports.drop(self._cache.path):
            self._command.load_plugins_again()

    def _name(self, requires: dict[str, Any]) -> str:
        return set_name(requires, installed_names(self._paths_of_poetry()))

    def _paths_of_poetry(self) -> list[str]:
        """``sys.path`` without what the project itself adds to it."""
        stock = entries_of(self._cache.path)
        return [
            path
            for path in sys.path
            if path not in stock
            and not Path(path).is_relative_to(self.sets.all_interpreters)
        ]

    def _kept(self, requires: dict[str, Any]) -> str:
        from packaging.utils import canonicalize_name

        names = {canonicalize_name(name) for name in requires}
        lives_here = self._cache.path in Path(os.path.realpath(__file__)).parents
        wanted = lives_here and DISTRIBUTION in names
        return DISTRIBUTION if wanted else ""

    def _must_retire(self, requires: dict[str, Any]) -> bool:
        state = self._cache.state(time.time())
        if state is CacheState.KEEPS_ONE:
            return not self._kept(requires)
        return state in (CacheState.IN_USE, CacheState.DUE)

    def _remove_everything(self) -> None:
        sets = self.sets.everything()
        if sets:
            self._command.io.write_line(
                "<info>No project plugins defined. Removing the project's plugin sets"
                "</info>\n"
            )
            self.sets.remove(sets)
        self.sets.remove_locks()

    def _fill(self, directory: Path) -> None:
        poetry = read_project(self._command)
        if self._may_adopt(poetry):
            self._cache.copy_to(directory / "lib")
        else:
            install_plugins(poetry, self._command.io, directory)

    def _may_adopt(self, poetry: Any) -> bool:
        """Whether ``.poetry/plugins`` is just what would be installed now.

        Poetry takes it for fresh also where its own environment has changed since, and
        something that the plugins need is no longer there.
        """
        if self._cache.state(time.time()) is not CacheState.IN_USE:
            return False
        if not poetry_cache_is_fresh(poetry, self._command.io):
            return False
        from poetry_plugin_safe_install.own_packages.installed import distributions
        from poetry_plugin_safe_install.own_packages.installed import unmet

        cached = distributions([str(self._cache.path)])
        return not unmet(cached, distributions(self._paths_of_poetry()) | cached)

    def _load_from(self, plugin_set: PluginSet) -> None:
        overrides = self._overrides(plugin_set)
        self._imports.drop(self._cache.path)
        if overrides:
            self._forget_other_plugins()
        self._imports.add(plugin_set.lib)
        self._command.load_plugins_again()
        self._say(f"using plugin set {plugin_set.path.name}")

    @cached_property
    def _imports(self) -> Imports:
        imports = Imports()
        self._command.at_end(imports.restore)
        return imports

    def _overrides(self, plugin_set: PluginSet) -> set[str]:
        """Names that are in the set and in Poetry's own environment too."""
        own = _project_names(installed_names([str(plugin_set.lib)]))
        return own & _project_names(installed_names(self._paths_of_poetry()))

    def _forget_other_plugins(self) -> None:
        """Forget all that the other plugins brought in, so that an override wins.

        What Poetry itself and this plugin require stays: it is in use.
        """
        from poetry_plugin_safe_install.own_packages.installed import closure
        from poetry_plugin_safe_install.own_packages.installed import distributions

        installed = distributions(self._paths_of_poetry())
        kept = closure(["poetry", DISTRIBUTION], installed)
        files = {
            str(file.locate())
            for name, distribution in installed.items()
            if name not in kept
            for file in distribution.files or []
            if file.suffix != ".pyc"
        }
        packages = self._command.other_plugin_packages
        self._imports.forget(
            lambda name, file: name.partition(".")[0] in packages or str(file) in files
        )

    def _say(self, text: str) -> None:
        if self._command.io.is_verbose():
            self._command.io.write_error_line(f"{DISTRIBUTION}: {text}")


def _project_names(metadata_directories: Iterable[str]) -> set[str]:
    return {
        directory.partition("-")[0].lower().replace("_", "-").replace(".", "-")
        for directory in metadata_directories
    }
