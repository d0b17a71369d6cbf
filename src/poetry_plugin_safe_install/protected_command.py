"""The story of a protected command, from its first lock to its last release.

``protect`` decides what the command needs; then, in this order:

1. ``plugins_loaded``: every plugin is loaded and none is activated. The project is
   locked, the plugin set is made if it is missing, and its plugins take the place of
   those that Poetry found.
2. ``plugins_activated``: now it is known what the other plugins are up to, and so
   whether the project stays exclusive for the whole command or only for a phase.
3. ``command_starts``: ahead of every listener. The environment is found or made.
4. ``command_runs``: behind every listener. ``run`` lets go of everything: the user's
   program starts next.
5. ``command_ended``: behind every listener. All is let go.
"""

from __future__ import annotations

import os

from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install import poetry_compat
from poetry_plugin_safe_install import project_file
from poetry_plugin_safe_install.commands import MAY_BUILD
from poetry_plugin_safe_install.commands import Need
from poetry_plugin_safe_install.errors import SafeInstallError
from poetry_plugin_safe_install.lock_modes import first_mode
from poetry_plugin_safe_install.lock_modes import lasting_mode
from poetry_plugin_safe_install.locks import Lock
from poetry_plugin_safe_install.locks import Mode
from poetry_plugin_safe_install.locks import acquire
from poetry_plugin_safe_install.project_plugins import ProjectPlugins
from poetry_plugin_safe_install.settings import SETTINGS
from poetry_plugin_safe_install.settings import resolve
from poetry_plugin_safe_install.store import find_store
from poetry_plugin_safe_install.store import make_store
from poetry_plugin_safe_install.waiting import WaitMessage


if TYPE_CHECKING:
    from collections.abc import Iterator

    from cleo.events.console_command_event import ConsoleCommandEvent

    from poetry_plugin_safe_install.locks import Hold
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.store import Store


def protect(
    command: poetry_compat.StartingCommand, need: Need
) -> ProtectedCommand | None:
    """Start the story, if there is anything to protect and the user wants it."""
    assert command.project is not None
    store = find_store(command.project.parent, poetry_compat.cache_directory)
    if need is Need.PLUGINS and not (store.path / "plugins").is_dir():
        return None
    options = {}
    if command.words[0] == "safe-install":
        options = {setting.key: command.option(setting.key) for setting in SETTINGS}
    failure = None
    try:
        section = project_file.read(command.project).section
        settings = resolve(options, os.environ, section)
    except SafeInstallError as error:
        failure, settings = error, resolve({}, {}, {})
    if not settings.enabled or (failure and need is Need.PLUGINS):
        return None
    return ProtectedCommand(command, need, settings, store, failure)


class ProtectedCommand:
    """One command under protection. See the head of this module for its story."""

    def __init__(
        self,
        command: poetry_compat.StartingCommand,
        need: Need,
        settings: Settings,
        store: Store,
        failure: Exception | None,
    ) -> None:
        assert command.project is not None
        self._command = command
        self._need = need
        self._settings = settings
        self._store = store
        self._failure = failure
        self._pyproject = command.project
        self._plugins = ProjectPlugins(command, store.path)
        self._hold: Hold | None = None

    # 1. Every plugin is loaded, none is activated.

    def plugins_loaded(self) -> None:
        try:
            if self._failure is None:
                self._settle_plugins()
        except SafeInstallError as error:
            self._failure = error
        if self._failure:
            # Raised when the command starts, where Poetry reports errors as ever.
            self._release()
            self._command.activate_no_other()

    def _settle_plugins(self) -> None:
        if self._need is not Need.PLUGINS:
            self._lock_project_first()
        requires = self._requires_plugins
        if requires is None:
            return  # Poetry will say what is wrong with the file
        if self._need is Need.INSTALL:
            if self._mode is Mode.EXCLUSIVE and self._plugins.must_settle(requires):
                self._share_builds()
                try:
                    self._plugins.settle(requires)
                except Exception as error:  # Poetry could not install the plugins
                    self._failure = error
                    return
                self._command.forget_project()
            poetry_compat.without_project_plugins()
            self._plugins.forget_poetry_cache()
        self._plugins.load(requires)

    def _lock_project_first(self) -> None:
        """Lock the project as far as is known now; look again after every wait."""
        while self._mode is not Mode.EXCLUSIVE:
            requires = self._requires_plugins
            installs = self._need is Need.INSTALL and requires is not None
            mode = first_mode(
                self._need,
                self._settings.lock_scope,
                others=bool(requires)
                or self._command.has_other_plugins
                or self._has_generic_plugins,
                must_publish=installs and self._plugins.must_settle(requires or {}),
            )
            if mode is self._mode:
                return
            self._lock_project(mode)

    # 2. Every plugin is activated.

    def plugins_activated(self, *, listen: bool) -> None:
        if self._failure:
            return
        mode = lasting_mode(
            self._need,
            self._settings.lock_scope,
            rewriters=listen or self._has_generic_plugins,
        )
        if mode is not self._mode:
            self._lock_project(mode)

    # 3. The command starts; no listener has been called.

    def command_starts(self, event: ConsoleCommandEvent) -> None:
        if self._failure:
            raise self._failure
        if self._mode is Mode.SHARED and poetry_compat.wants_environment(event):
            poetry_compat.give_environment(event, self._find_environment(event))

    def _find_environment(self, event: ConsoleCommandEvent) -> Any:
        poetry = event.command.poetry  # type: ignore[attr-defined]
        found = poetry_compat.environment_without_creating(poetry, event.io)
        if found is not None:
            return found
        with self._project_exclusive():
            poetry = event.command.poetry  # type: ignore[attr-defined]
            return poetry_compat.create_environment(poetry, event.io)

    # 4. Every listener has been called; the command's own code is next.

    def command_runs(self, event: ConsoleCommandEvent) -> None:
        if self._need is Need.RUN:
            self._release()
        self._share_builds()

    # 5. The command has ended, and every listener has been called.

    def command_ended(self) -> None:
        self._release()

    # What the chapters share.

    def _share_builds(self) -> None:
        if self._command.words[0] in MAY_BUILD:
            from poetry_plugin_safe_install.shared_builds import share_builds

            share_builds(self._command, self._settings.lock_timeout)

    @property
    def _mode(self) -> Mode | None:
        """How the project is held."""
        return self._hold.mode if self._hold else None

    @property
    def _requires_plugins(self) -> dict[str, Any] | None:
        return project_file.read(self._pyproject).requires_plugins

    @property
    def _has_generic_plugins(self) -> bool:
        return (
            self._settings.lock_scope == "auto"
            and self._need in (Need.INSTALL, Need.BUILD)
            and poetry_compat.has_generic_plugins()
        )

    def _lock_project(self, mode: Mode | None) -> None:
        """Change how the project is held, letting go in between.

        The project may have changed meanwhile, so it is read again.
        """
        self._release()
        if mode is None:
            return
        make_store(self._store)
        message = WaitMessage(self._command.io)
        lock = Lock(
            self._store.path / "project.lock", f"the project {self._pyproject.parent}"
        )
        try:
            self._hold, _ = acquire(
                lock,
                mode,
                self._command.line,
                timeout=self._settings.lock_timeout,
                report=message,
            )
        finally:
            message.done()
        self._command.forget_project()

    @contextmanager
    def _project_exclusive(self) -> Iterator[None]:
        before = self._mode
        self._lock_project(Mode.EXCLUSIVE)
        try:
            yield
        finally:
            self._lock_project(before)

    def _release(self) -> None:
        if self._hold:
            self._hold.release()
            self._hold = None
