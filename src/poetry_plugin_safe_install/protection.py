"""The story of a protected command, from its first lock to its last release.

``protect`` decides what the command needs; then, in this order:

1. ``plugins_loaded``: every plugin is loaded and none is activated. The project is
   locked, the plugin set is made if it is missing, and its plugins take the place of
   those that Poetry found.
2. ``plugins_activated``: the plugin now knows what the other plugins may do, and so
   whether the project stays exclusive for the whole command or only for a phase.
3. ``command_starts``: before every listener. The environment is found or created, and
   locked before Poetry looks at what is installed there.
4. ``command_runs``: after every listener. ``run`` releases everything, because the
   user's program starts next, and waits until nobody changes the environment. What
   changes the environment is guarded from here on, and where a distribution may be
   built the temporary directory is prepared for it.
5. ``command_ended``: in whichever way it ended. Everything is released.

Which lock is taken when is a table: ``needs.lock_plan``. A command that a holder starts
does not wait for that holder: see ``locks.descendants``.
"""

from __future__ import annotations

import os
import sys

from contextlib import ExitStack
from contextlib import suppress
from functools import cached_property
from functools import partial
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install import needs
from poetry_plugin_safe_install.compat.activation import Protection
from poetry_plugin_safe_install.compat.environments import environment_of
from poetry_plugin_safe_install.compat.environments import set_environment
from poetry_plugin_safe_install.compat.environments import wants_environment
from poetry_plugin_safe_install.compat.internals import warn
from poetry_plugin_safe_install.environments.project_environment import (
    ProjectEnvironment,
)
from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.errors import SafeInstallError
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.session import Session
from poetry_plugin_safe_install.needs import ENVIRONMENT
from poetry_plugin_safe_install.needs import PROJECT
from poetry_plugin_safe_install.needs import Need
from poetry_plugin_safe_install.project_files import ProjectFiles
from poetry_plugin_safe_install.settings import read_project_file
from poetry_plugin_safe_install.settings import resolve
from poetry_plugin_safe_install.settings import settings_of
from poetry_plugin_safe_install.settings import unknown_variables
from poetry_plugin_safe_install.summary import Summary


if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cleo.events.console_command_event import ConsoleCommandEvent

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.compat.operations import TargetEnvironment
    from poetry_plugin_safe_install.environments.system import SystemEnvironment
    from poetry_plugin_safe_install.interruption import Interruption
    from poetry_plugin_safe_install.locks.lock import Lock
    from poetry_plugin_safe_install.locks.session import LocksOf
    from poetry_plugin_safe_install.own_packages.guard import OwnPackagesGuard
    from poetry_plugin_safe_install.pairs import Pair
    from poetry_plugin_safe_install.project_plugins.loading import ProjectPlugins
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.store import Store


def protect(
    command: StartingCommand, row: needs.Row, store: Store
) -> Protection | None:
    """Start the story, unless the user does not want protection."""
    assert command.project is not None
    failure, settings = None, resolve({}, {}, {})
    try:
        settings = settings_of(command)
    except SafeInstallError as error:
        failure = error
    if row.need is Need.CHECK:
        from poetry_plugin_safe_install.check.command import ReadOnlyCommand

        return ReadOnlyCommand(command, settings, store, failure)
    if not settings.enabled:
        return None
    for warning in unknown_variables(os.environ):
        warn(command.io, warning)
    if row.need is Need.PLUGINS and not command.has_other_plugins:
        if failure:
            return None
        from poetry_plugin_safe_install.plugins_only import PluginsOnly

        return PluginsOnly(command, store)
    if failure and row.need in (Need.PLUGINS, Need.NOTHING):
        return None  # those that it concerns say so
    if failure:
        from poetry_plugin_safe_install.failed_command import FailedCommand

        return FailedCommand(command, failure)
    return ProtectedCommand(command, row, settings, store)


class ProtectedCommand(Protection):
    """One command under protection. See the head of this module for its story."""

    def __init__(
        self,
        command: StartingCommand,
        row: needs.Row,
        settings: Settings,
        store: Store,
    ) -> None:
        assert command.project is not None
        self._command = command
        self._row = row
        self._settings = settings
        self._store = store
        self._pyproject = command.project
        self._facts = needs.Facts()
        backend = settings.lock_backend
        self._files = ProjectFiles(command.io, self._pyproject, store, backend)
        self._summary = Summary()
        self._session = Session(
            command.io,
            command.line,
            settings.lock_timeout,
            self._summary.waited,
            settings.sources["lock-timeout"],
        )
        self._environment = ProjectEnvironment(
            self._session, store, self._pyproject.parent, settings.lock_backend
        )
        self._builds = ExitStack()
        """What is undone when the isolated builds of the command are over."""
        self._system: SystemEnvironment | None = None
        self._guard: OwnPackagesGuard | None = None
        self._pair: Pair | None = None
        self._interruption: Interruption | None = None

    # 1. Every plugin is loaded, none is activated.

    def plugins_loaded(self) -> Protection:
        try:
            self._lock_project()
            requires = self._requires_plugins
            if (
                requires is not None
            ):  # otherwise Poetry says what is wrong with the file
                self._load_plugins(requires)
        except Exception as error:  # or Poetry could not install or load a plugin
            return self._failed(error)
        return self

    def _lock_project(self) -> None:
        """Lock the project, with what a killed command has left put back."""
        self._put_back_pair()
        self._lock_as_far_as_known()
        if self._put_back_pair():  # it was killed while this command waited for it
            self._lock_as_far_as_known()
        if self._command.words[0] in ("add", "remove") and self._session.is_locked(
            PROJECT
        ):
            from poetry_plugin_safe_install.pairs import pair_writes

            self._pair = pair_writes(self._command, self._pyproject, self._store)

    def _put_back_pair(self) -> bool:
        if not self._store.pair.exists():
            return False
        from poetry_plugin_safe_install.pairs import Pair

        self._session.release(PROJECT)
        (lock,) = self._files.locks(others=False)
        with (
            suppress(LockUnavailableError),  # told when it is taken for the command
            self._session.beside_plan(lock, Mode.EXCLUSIVE),
        ):
            Pair(self._pyproject, self._store).put_back(self._command.io)
        self._command.reload_project()
        return True

    def _lock_as_far_as_known(self) -> None:
        """Lock the project as far as is known now; look again after every wait."""
        if self._store.staging.exists() and self._row.need in needs.SWEEPERS:
            self._plugins.sweep(self._session, *self._files.locks(others=False))
        scope = self._settings.lock_scope
        while True:
            requires = self._requires_plugins
            installs = self._row.need is Need.INSTALL and self._has_plugins(requires)
            self._facts.others = (
                bool(requires)
                or self._command.has_other_plugins
                or self._has_generic_plugins
            )
            if installs and self._plugins.is_missing(requires or {}):
                self._publish_set()
            self._facts.must_tidy = installs and self._plugins.must_tidy(requires or {})
            waited = self._walk(needs.LOADED)
            if self._files.are_others_now or self._must_publish_now:
                self._session.release(PROJECT)
            elif (
                not waited
                or self._session.mode(PROJECT) is Mode.EXCLUSIVE
                or needs.may_share(self._row.need, scope, self._facts)
            ):
                return

    @property
    def _must_publish_now(self) -> bool:
        """Whether the plugins that the project requires are others than a moment ago."""
        requires = self._requires_plugins
        installs = self._row.need is Need.INSTALL and self._session.is_locked(PROJECT)
        return installs and bool(requires) and self._plugins.is_missing(requires or {})

    def _publish_set(self) -> None:
        """Make the plugin set that is missing, beside those of other interpreters."""
        self._facts.must_publish = True
        self._walk(needs.MISSING)
        if self._session.is_locked(PROJECT) and (requires := self._requires_plugins):
            self._share_builds()
            self._plugins.publish(requires)
        self._walk(needs.MADE)
        self._facts.must_publish = False

    def _load_plugins(self, requires: dict[str, Any]) -> None:
        installs = self._row.need is Need.INSTALL and self._session.is_locked(PROJECT)
        if installs:
            from poetry_plugin_safe_install.compat.plugins import leave_project_plugins

            leave_project_plugins(self._command)
        if installs and self._has_plugins(requires):
            if self._session.mode(PROJECT) is Mode.EXCLUSIVE:
                self._plugins.tidy(requires)
            self._plugins.leave_stock_cache()
        wanted = requires and self._row.need is not Need.NOTHING
        if wanted and self._plugins.load(requires):
            self._summary.plugin_set(made=self._plugins.made)
        elif wanted and not self._session.is_locked(PROJECT):
            text = "There is no plugin set for this interpreter: the plugins that the"
            warn(self._command.io, f"{text} project requires are not active.")

    # 2. Every plugin is activated.

    def plugins_activated(self, *, listen: bool) -> None:
        self._facts.rewriters = listen or self._has_generic_plugins
        self._walk(needs.ACTIVATED)

    # 3. The command starts; no listener has been called.

    def command_starts(self, event: ConsoleCommandEvent) -> None:
        if self._interruption is None and (self._row.changes or self._row.builds):
            self._watch_signals()
        if self._command.words[0] == "safe-install":
            event.command.summary = self._summary  # type: ignore[attr-defined]
        self._environment.watch(self._command, self._creating)
        if wants_environment(event):
            environment = self._environment.find(event)
            if environment is None:
                environment = self._create_environment(event)
            set_environment(event, environment)
            self._lock_environment(environment)

    def _creating(self, path: Path) -> AbstractContextManager[None]:
        from poetry_plugin_safe_install.caches.protection import protect_seeds

        protect_seeds(self._command)
        return self._environment.creating(path)

    def _lock_environment(self, environment: Any) -> None:
        lock = self._environment.lock_of(environment)
        taken = self._walk(needs.FOUND, lambda _: [lock])
        if taken and self._has_environment_alone:
            from poetry_plugin_safe_install.environments import changes

            changes.repair(environment, lock, self._command.io.write_error_line)

    @property
    def _has_environment_alone(self) -> bool:
        is_alone = self._session.mode(ENVIRONMENT) is Mode.EXCLUSIVE
        return is_alone and self._session.is_locked(ENVIRONMENT)

    def _create_environment(self, event: ConsoleCommandEvent) -> Any:
        self._facts.must_create = True
        self._walk(needs.MUST_CREATE)
        try:
            return self._environment.create(event)
        finally:
            self._walk(needs.CREATED)
            self._facts.must_create = False

    # 4. Every listener has been called; the command's own code is next.

    def command_runs(self, event: ConsoleCommandEvent) -> None:
        if self._facts.rewriters and self._files.were_rewritten:
            self._facts.rewritten = True
        self._walk(needs.RUNS)
        if self._row.need is Need.RUN:
            self._wait_until_ready(event)
        if self._facts.rewriters and not self._facts.rewritten:
            self._session.rewrites_nothing(PROJECT, self._store.project_lock)
        if needs.row_of(str(event.command.name).split()).builds:
            self._prepare_builds(event)
        self._share_builds()
        if self._has_environment_alone:
            from poetry_plugin_safe_install.environments import changes

            changes.protect(self._command, environment_of(event))
        if self._row.changes:
            from poetry_plugin_safe_install.compat.operations import guard_environment

            guard_environment(self._command, event, self._guard_environment)

    def _watch_signals(self) -> None:
        from poetry_plugin_safe_install.interruption import Interruption

        interruption = Interruption()
        interruption.start()
        self._command.at_end(interruption.stop)
        self._interruption = interruption

    def exit_status(self, status: int) -> int:
        interruption = self._interruption
        return interruption.exit_status(status) if interruption else status

    def _wait_until_ready(self, event: ConsoleCommandEvent) -> None:
        """Nothing is held while the user's program runs, nor while it is waited for."""
        environment = environment_of(event)
        if environment is not None:
            lock = self._environment.lock_of(environment)
            plan = needs.lock_plan(self._row, self._settings.lock_scope, self._facts)
            self._session.wait_until_ready(plan, needs.READY, lambda _: lock)
            self._environment.warn_of_unfinished(event, environment, lock)

    def _prepare_builds(self, event: ConsoleCommandEvent) -> None:
        from poetry_plugin_safe_install.builds.temp_directory import prepared

        environment = environment_of(event)
        if environment is None:  # ``publish``: it has ``build`` do that
            return
        self._builds.close()
        setting, store = self._settings.always_copy, self._store.path
        self._builds.enter_context(prepared(setting, environment, store, event.io))

    def _guard_environment(self, target: TargetEnvironment) -> None:
        if not target.is_virtual and not target.changes_nothing:
            from poetry_plugin_safe_install.environments.system import watch

            self._system = watch(target, self._settings.externally_managed, os.environ)

        from poetry_plugin_safe_install.environments.places import poetry_runs_from

        if poetry_runs_from(target, sys.path):
            from poetry_plugin_safe_install.own_packages.guard import OwnPackagesGuard

            self._guard = OwnPackagesGuard(
                target,
                self._settings.on_self_change,
                self._command.arguments,
                self._summary,
            )
            target.guard(self._command, self._guard)

    # 5. The command has ended.

    def command_ended(self) -> None:
        for part in (self._system, self._guard):
            if part:
                part.command_ended()
        self._builds.close()
        if self._pair:
            self._pair.put_back(self._command.io)
        self._session.release_all()

    # What the chapters share.

    def _failed(self, error: Exception) -> Protection:
        from poetry_plugin_safe_install.failed_command import failed

        self._session.release_all()
        return failed(self._command, error)

    def _walk(self, moment: str, locks_of: LocksOf | None = None) -> bool:
        """Take the steps of the lock plan for a moment of the command.

        :return: whether a lock was taken. The project is read again if it has changed
            by then.
        """
        plan = needs.lock_plan(self._row, self._settings.lock_scope, self._facts)
        of_project = locks_of is None
        taken = self._session.walk(plan, moment, locks_of or self._locks_of)
        if taken and of_project:
            if self._files.have_changed:
                self._command.reload_project()
            self._files.remember()
        return taken

    def _locks_of(self, resource: str) -> list[Lock]:
        if resource == needs.PLUGIN_SET:
            backend, requires = self._settings.lock_backend, self._requires_plugins
            return [self._plugins.lock_of_set(requires, backend)] if requires else []
        scope, word = self._settings.lock_scope, self._command.words[0]
        may_share = needs.may_share(self._row.need, scope, self._facts)
        alike = self._files.alike(word) if may_share else ""
        return self._files.locks(others=self._facts.others, alike=alike)

    def _share_builds(self) -> None:
        if self._row.builds:
            from poetry_plugin_safe_install.builds.shared_trees import share_builds

            plan = needs.lock_plan(self._row, self._settings.lock_scope, self._facts)
            during = needs.BACKEND_STARTS, needs.BACKEND_ENDED
            hold = partial(self._session.between, plan, *during)
            share_builds(self._command, self._session, hold, self._settings)

    @property
    def _requires_plugins(self) -> dict[str, Any] | None:
        return read_project_file(self._pyproject).requires_plugins

    @cached_property
    def _plugins(self) -> ProjectPlugins:
        from poetry_plugin_safe_install.project_plugins.loading import ProjectPlugins

        return ProjectPlugins(self._command, self._store)

    def _has_plugins(self, requires: dict[str, Any] | None) -> bool:
        """Whether there are plugins of the project's own, or something is left of them.

        Not if the file makes no sense: then nothing is done about them.
        """
        return requires is not None and (
            bool(requires) or self._store.is_used or self._command.poetry_cache.exists()
        )

    @property
    def _has_generic_plugins(self) -> bool:
        from poetry_plugin_safe_install.compat.plugins import has_generic_plugins

        return (
            self._settings.lock_scope == "auto"
            and self._row.need in (Need.INSTALL, Need.BUILD)
            and has_generic_plugins()
        )
