"""The story of a protected command, from its first lock to its last release.

``protect`` decides what the command needs; then, in this order:

1. ``plugins_loaded``: every plugin is loaded and none is activated. The project is
   locked, the plugin set is made if it is missing, and its plugins take the place of
   those that Poetry found.
2. ``plugins_activated``: now it is known what the other plugins are up to, and so
   whether the project stays exclusive for the whole command or only for a phase.
3. ``command_starts``: ahead of every listener. The environment is found or made, and
   locked before Poetry looks at what is installed there.
4. ``command_runs``: behind every listener. ``run`` lets go of everything: the user's
   program starts next. What changes the environment is guarded from here on, and where
   a distribution may be built the temporary directory is made fit for it.
5. ``command_ended``: in whichever way it has. All is let go.

Why nobody waits for ever: every command asks for the project, then the environment, then
for one build at a time, and never for an earlier one while it holds a later one. Where a
command changes how it holds the project, it lets go first, and it holds nothing else
then. A command that a holder starts does not wait for that holder: see ``nesting``.
"""

from __future__ import annotations

import os
import sys

from contextlib import ExitStack
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING
from typing import Any
from typing import cast

from cleo.io.outputs.output import Verbosity

from poetry_plugin_safe_install import project_file
from poetry_plugin_safe_install.compat.config import cache_directory
from poetry_plugin_safe_install.compat.environments import create_environment
from poetry_plugin_safe_install.compat.environments import environment_of
from poetry_plugin_safe_install.compat.environments import environment_without_creating
from poetry_plugin_safe_install.compat.environments import give_environment
from poetry_plugin_safe_install.compat.environments import remove_environment
from poetry_plugin_safe_install.compat.environments import wants_environment
from poetry_plugin_safe_install.compat.environments import watch_environments
from poetry_plugin_safe_install.compat.internals import DISTRIBUTION
from poetry_plugin_safe_install.compat.operations import TargetEnvironment
from poetry_plugin_safe_install.compat.operations import guard_environment
from poetry_plugin_safe_install.compat.plugins import has_generic_plugins
from poetry_plugin_safe_install.compat.plugins import leave_project_plugins
from poetry_plugin_safe_install.environments.places import Creations
from poetry_plugin_safe_install.environments.places import lives_from
from poetry_plugin_safe_install.environments.places import lock_path
from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.errors import SafeInstallError
from poetry_plugin_safe_install.lock_modes import first_mode
from poetry_plugin_safe_install.lock_modes import lasting_mode
from poetry_plugin_safe_install.locks.backend import choose
from poetry_plugin_safe_install.locks.backend import decide
from poetry_plugin_safe_install.locks.backend import mount_of
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import acquire
from poetry_plugin_safe_install.locks.lock import try_acquire
from poetry_plugin_safe_install.needs import CHANGE_ENVIRONMENT
from poetry_plugin_safe_install.needs import MAY_BUILD
from poetry_plugin_safe_install.needs import Need
from poetry_plugin_safe_install.settings import SETTINGS
from poetry_plugin_safe_install.settings import resolve
from poetry_plugin_safe_install.store import make_store
from poetry_plugin_safe_install.summary import Summary


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cleo.events.console_command_event import ConsoleCommandEvent

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.environments.system import SystemEnvironment
    from poetry_plugin_safe_install.locks.lock import Hold
    from poetry_plugin_safe_install.own_packages.guard import OwnPackagesGuard
    from poetry_plugin_safe_install.project_plugins.loading import ProjectPlugins
    from poetry_plugin_safe_install.safe_install import SafeInstallCommand
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.store import Store


def protect(
    command: StartingCommand, need: Need, store: Store
) -> ProtectedCommand | None:
    """Start the story, unless the user does not want protection."""
    assert command.project is not None
    options = {}
    if command.words[0] == "safe-install":
        options = {setting.key: command.option(setting.key) for setting in SETTINGS}
    failure = None
    try:
        section = project_file.read(command.project).section
        name = project_file.shown(command.project)
        settings = resolve(options, os.environ, section, name)
    except SafeInstallError as error:
        failure, settings = error, resolve({}, {}, {})
    stands_aside = not settings.enabled or (failure and need is Need.PLUGINS)
    if stands_aside and need is not Need.LOOK:
        return None
    return ProtectedCommand(command, need, settings, store, failure)


def project_lock(store: Store, pyproject: Path) -> Lock:
    return Lock(store.project_lock, f"the project {pyproject.parent}")


def environment_lock(environment: Any) -> Lock:
    path = lock_path(
        environment.path,
        environment.purelib,
        is_venv=environment.is_venv(),
        cache_directory=cache_directory,
    )
    return Lock(path, f"the environment {environment.path}")


class ProtectedCommand:
    """One command under protection. See the head of this module for its story."""

    def __init__(
        self,
        command: StartingCommand,
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
        self._creations = Creations(store.path)
        self._stands_aside = False
        self._summary = Summary()
        self._hold: Hold | None = None
        self._environment_hold: Hold | None = None
        self._builds = ExitStack()
        """What is undone when the isolated builds of the command are over."""
        self._watch: SystemEnvironment | None = None
        self._guard: OwnPackagesGuard | None = None

    # 1. Every plugin is loaded, none is activated.

    def plugins_loaded(self) -> None:
        try:
            if self._need is Need.LOOK:
                self._look_at_plugins()
            elif self._failure is None:
                self._settle_plugins()
        except SafeInstallError as error:
            self._failure = error
        if self._failure:
            # Raised when the command starts, where Poetry reports errors as ever.
            self._release()
            self._command.activate_no_other()

    def _look_at_plugins(self) -> None:
        if self._command.option("format") == "json":
            # The JSON is all that goes to stdout, with -v too.
            self._command.io.output.set_verbosity(Verbosity.QUIET)
        if self._failure is None and self._settings.enabled:
            self._plugins.load_untouched(self._requires_plugins or {})

    def _settle_plugins(self) -> None:
        if self._need is not Need.PLUGINS:
            self._lock_project_first()
        requires = self._requires_plugins
        if requires is None:
            return  # Poetry will say what is wrong with the file
        try:
            self._load_plugins(requires)
        except Exception as error:  # Poetry could not install or load a plugin
            from poetry_plugin_safe_install.compat.faults import is_own_fault

            if is_own_fault(error):
                raise
            self._failure = error

    def _load_plugins(self, requires: dict[str, Any]) -> None:
        if self._stands_aside:
            return
        if self._need is Need.INSTALL:
            leave_project_plugins(self._command)
        if not self._has_plugins(requires):
            return
        made = False
        if self._need is Need.INSTALL:
            if self._mode is Mode.EXCLUSIVE and self._plugins.must_settle(requires):
                self._share_builds()
                made = self._plugins.settle(requires)
                self._command.forget_project()
            self._plugins.forget_poetry_cache()
        if self._plugins.load(requires):
            self._summary.plugin_set(made=made)

    def _lock_project_first(self) -> None:
        """Lock the project as far as is known now; look again after every wait."""
        if self._store.staging.exists() and self._need is not Need.INSTALL:
            self._sweep_leftovers()
        while self._mode is not Mode.EXCLUSIVE and not self._stands_aside:
            requires = self._requires_plugins
            settles = self._need is Need.INSTALL and self._has_plugins(requires)
            mode = first_mode(
                self._need,
                self._settings.lock_scope,
                others=bool(requires)
                or self._command.has_other_plugins
                or self._has_generic_plugins,
                must_publish=settles and self._plugins.must_settle(requires or {}),
            )
            if mode is self._mode:
                return
            self._lock_project(mode)

    def _sweep_leftovers(self) -> None:
        """Remove what a command that was cut off has left, unless somebody is busy."""
        if hold := try_acquire(self._lock, Mode.EXCLUSIVE, self._command.line):
            self._plugins.sets.sweep()
            hold.release()

    # 2. Every plugin is activated.

    def plugins_activated(self, *, listen: bool) -> None:
        if self._failure or self._stands_aside:
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
        if self._command.words[0] == "safe-install":
            self._brief(cast("SafeInstallCommand", event.command))
        if self._need is Need.LOOK:
            # Poetry would create the environment, other plugins rewrite the project.
            event.stop_propagation()
            return
        if self._failure:
            raise self._failure
        if self._stands_aside or self._need is Need.PLUGINS:
            return
        watch_environments(self._command, self._creations.creating, self._removing)
        if wants_environment(event):
            environment = self._find_environment(event)
            give_environment(event, environment)
            if self._changes_environment and not self._environment_hold:
                self._hold_environment(environment)

    def _brief(self, command: SafeInstallCommand) -> None:
        from poetry_plugin_safe_install.check.collect import Briefing

        command.briefing = Briefing(
            self._pyproject,
            self._requires_plugins or {},
            self._settings,
            self._failure,
            self._store,
            self._plugins,
            self._summary,
        )

    def _find_environment(self, event: ConsoleCommandEvent) -> Any:
        """Find it without waiting for anyone; make it only with the project exclusive."""
        poetry = event.command.poetry  # type: ignore[attr-defined]
        found = environment_without_creating(poetry, event.io)
        if found is not None and not self._creations.was_cut_off(found.path):
            return found
        with self._project_exclusive():
            poetry = event.command.poetry  # type: ignore[attr-defined]
            if self._creations.were_cut_off:
                found = environment_without_creating(poetry, event.io)
                if found is not None and self._creations.was_cut_off(found.path):
                    remove_environment(found.path)
                    self._creations.forget(found.path)
            return create_environment(poetry, event.io)

    def _hold_environment(self, environment: Any) -> None:
        lock = self._as_it_holds(environment_lock(environment))
        try:
            self._environment_hold = self._acquire(lock, Mode.EXCLUSIVE)
        except (OSError, LockUnavailableError) as error:
            self._stand_aside(error)

    @contextmanager
    def _removing(self, environment: Path) -> Iterator[None]:
        """``env remove`` and ``env use`` wait for whoever is installing there.

        An install that finds its environment broken removes it too, before it is locked.
        """
        lock = Lock(environment / ".lock", f"the environment {environment}")
        hold = self._acquire(self._as_it_holds(lock), Mode.EXCLUSIVE)
        if os.name == "nt":  # an open file cannot be removed
            hold.release()
        try:
            yield
        finally:
            hold.release()
            self._creations.forget(environment)

    # 4. Every listener has been called; the command's own code is next.

    def command_runs(self, event: ConsoleCommandEvent) -> None:
        if self._need is Need.RUN:
            self._release()
        if event.command.name in MAY_BUILD:
            self._prepare_builds(event)
        self._share_builds()
        if self._changes_environment:
            guard_environment(event, self._guard_environment)

    def _prepare_builds(self, event: ConsoleCommandEvent) -> None:
        environment = environment_of(event)
        if environment is None:  # ``publish``: it has ``build`` do that
            return
        from poetry_plugin_safe_install.builds.temp_directory import prepared

        self._builds.close()
        self._builds.enter_context(
            prepared(
                self._settings.always_copy, environment, self._store.path, event.io
            )
        )

    def _guard_environment(self, target: TargetEnvironment) -> None:
        if not target.is_virtual and not target.changes_nothing:
            from poetry_plugin_safe_install.environments import system

            self._watch = system.watch(
                target, self._settings.externally_managed, os.environ
            )
        if lives_from(target, sys.path):
            from poetry_plugin_safe_install.own_packages.guard import OwnPackagesGuard

            self._guard = OwnPackagesGuard(
                target, self._settings.on_self_change, self._command.arguments
            )
            target.guard(self._command, self._guard)

    # 5. The command has ended.

    def command_ended(self) -> None:
        for part in (self._watch, self._guard):
            if part:
                part.command_ended()
        self._builds.close()
        self._release()

    # What the chapters share.

    def _share_builds(self) -> None:
        if self._command.words[0] in MAY_BUILD:
            from poetry_plugin_safe_install.builds.shared_trees import share_builds

            share_builds(self._command, self._settings)

    @property
    def _mode(self) -> Mode | None:
        """How the project is held."""
        return self._hold.mode if self._hold else None

    @property
    def _lock(self) -> Lock:
        return self._as_it_holds(project_lock(self._store, self._pyproject))

    def _as_it_holds(self, lock: Lock) -> Lock:
        """The lock of the kind that holds where its file is."""
        setting, store = self._settings.lock_backend, self._store.path
        if store.is_dir() and self._pyproject.parent in lock.path.parents:
            choice = choose(store, setting)
        else:
            choice = decide(setting, "", *mount_of(lock.path.parent))
        return lock._replace(backend=choice.backend)

    @property
    def _changes_environment(self) -> bool:
        return self._command.words[0] in CHANGE_ENVIRONMENT

    @property
    def _requires_plugins(self) -> dict[str, Any] | None:
        return project_file.read(self._pyproject).requires_plugins

    @cached_property
    def _plugins(self) -> ProjectPlugins:
        from poetry_plugin_safe_install.project_plugins.loading import ProjectPlugins

        return ProjectPlugins(self._command, self._store)

    def _has_plugins(self, requires: dict[str, Any] | None) -> bool:
        """Whether there are plugins of the project's own, or something is left of them.

        Not if the file makes no sense: then nothing is done about them.
        """
        if requires is None:
            return False
        return bool(requires) or any(
            place.exists()
            for place in (
                self._store.plugin_sets,
                self._store.staging,
                self._command.poetry_cache,
            )
        )

    @property
    def _has_generic_plugins(self) -> bool:
        return (
            self._settings.lock_scope == "auto"
            and self._need in (Need.INSTALL, Need.BUILD)
            and has_generic_plugins()
        )

    def _lock_project(self, mode: Mode | None) -> None:
        """Change how the project is held, letting go in between.

        The project may have changed meanwhile, so it is read again.
        """
        self._release_project()
        if mode is None:
            return
        try:
            self._prepare_store()
            self._hold = self._acquire(self._lock, mode)
        except (OSError, LockUnavailableError) as error:
            self._stand_aside(error)
        self._command.forget_project()

    def _acquire(self, lock: Lock, mode: Mode) -> Hold:
        try:
            return self._acquire_where_it_holds(lock, mode)
        except LockUnavailableError as error:
            other = choose(self._store.path, self._settings.lock_backend, error.errno)
            if other.backend is lock.backend:
                raise
        return self._acquire_where_it_holds(lock._replace(backend=other.backend), mode)

    def _acquire_where_it_holds(self, lock: Lock, mode: Mode) -> Hold:
        if hold := try_acquire(lock, mode, self._command.line):
            return hold
        from poetry_plugin_safe_install.locks.waiting import waiting

        with waiting(self._command.io, lock.guards) as message:
            hold, waited = acquire(
                lock,
                mode,
                self._command.line,
                timeout=self._settings.lock_timeout,
                report=message,
            )
        self._summary.waited(waited, message.waited_for)
        return hold

    def _stand_aside(self, error: Exception) -> None:
        """No lock is to be had here: Poetry shall work all the same."""
        self._stands_aside = True
        self._command.io.write_error_line(
            f"<warning>{error} {DISTRIBUTION} cannot keep other commands"
            " away.</warning>"
        )

    def _prepare_store(self) -> None:
        if self._store.path.is_dir():
            return
        make_store(self._store)
        if self._store.is_mistake or (
            self._store.why_elsewhere and self._command.io.is_verbose()
        ):
            self._command.io.write_error_line(
                f"<warning>{self._store.why_elsewhere}: locks and plugin sets of this"
                f" project are kept in {self._store.path}.</warning>"
            )

    @contextmanager
    def _project_exclusive(self) -> Iterator[None]:
        before = self._mode
        if before is Mode.EXCLUSIVE:
            yield
            return
        self._lock_project(Mode.EXCLUSIVE)
        try:
            yield
        finally:
            self._lock_project(before)

    def _release_project(self) -> None:
        if self._hold:
            self._hold.release()
            self._hold = None

    def _release(self) -> None:
        if self._environment_hold:
            self._environment_hold.release()
            self._environment_hold = None
        self._release_project()
