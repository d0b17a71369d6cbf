"""The story of a protected command, from its first lock to its last release.

``protect`` decides what the command needs; then, in this order:

1. ``plugins_loaded``: every plugin is loaded, none is activated. The project is locked,
   and the plugins of its set, made if need be, take the place of those that Poetry found.
2. ``plugins_activated``: the plugin now knows what the other plugins may do, and so
   whether the project stays exclusive for the whole command or only for a phase.
3. ``command_starts``: before every listener. The environment is found or created, and
   locked before Poetry looks at what is installed there.
4. ``command_runs``: after every listener. ``run`` releases everything, because the
   user's program starts next, and waits until nobody changes the environment. What
   changes the environment is guarded from here on, and where a distribution may be
   built the temporary directory is prepared for it. An install that only looks at a
   virtual environment first does so when there is something to do: ``compat.work``.
5. ``command_ended``: in whichever way it ended. Everything is released.

Which lock is taken when is a table: ``needs.lock_plan``. A command that a holder starts
does not wait for that holder: see ``locks.descendants``.
"""

from __future__ import annotations

import os

from contextlib import ExitStack
from contextlib import contextmanager
from functools import cached_property
from functools import partial
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install import needs
from poetry_plugin_safe_install.compat.command_events import Protection
from poetry_plugin_safe_install.compat.environments import environment_of
from poetry_plugin_safe_install.compat.environments import set_environment
from poetry_plugin_safe_install.compat.environments import wants_environment
from poetry_plugin_safe_install.environments.places import is_apart
from poetry_plugin_safe_install.environments.project_environment import (
    ProjectEnvironment,
)
from poetry_plugin_safe_install.environments.project_environment import repair
from poetry_plugin_safe_install.errors import LockTimeoutError
from poetry_plugin_safe_install.errors import SafeInstallError
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.session import Session
from poetry_plugin_safe_install.needs import PROJECT
from poetry_plugin_safe_install.needs import Need
from poetry_plugin_safe_install.project_files import ProjectFiles
from poetry_plugin_safe_install.settings import read_project_file
from poetry_plugin_safe_install.settings import resolve
from poetry_plugin_safe_install.settings import settings_of
from poetry_plugin_safe_install.settings import unknown_variables


if TYPE_CHECKING:
    from collections.abc import Iterator

    from cleo.events.console_command_event import ConsoleCommandEvent
    from cleo.events.console_terminate_event import ConsoleTerminateEvent

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.environments.uv_lock import UvLock
    from poetry_plugin_safe_install.interruption import Interruption
    from poetry_plugin_safe_install.locks.lock import Lock
    from poetry_plugin_safe_install.locks.session import Step
    from poetry_plugin_safe_install.project_plugins.loading import ProjectPlugins
    from poetry_plugin_safe_install.project_writes import ProjectWrites
    from poetry_plugin_safe_install.rewrites import Rewrites
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.store import Store
    from poetry_plugin_safe_install.summary import Summary
    from poetry_plugin_safe_install.work import Work


def protect(
    command: StartingCommand, row: needs.Row, store: Store
) -> Protection | None:
    """Start the story, unless the user does not want protection."""
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
        command.warn(warning)
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
        assert command.project
        self._command, self._pyproject = command, command.project
        self._row = row
        self._settings = settings
        self._store = store
        self._facts = needs.Facts()
        project, backend = self._pyproject.parent, settings.lock_backend
        self._files = ProjectFiles(command.io, self._pyproject, store, backend)
        self._session = Session(
            command.io,
            command.line,
            settings.lock_timeout,
            lambda seconds, holder: self._summary.waited(seconds, holder),
            settings.sources["lock-timeout"],
        )
        self._ending = ExitStack()
        """What is done when the command has ended, the last one first."""
        self._ending.callback(self._session.release_all)
        self._environment = ProjectEnvironment(self._session, store, project, backend)
        self._calls: list[tuple[needs.Row, Mode | None]] = []
        """The row of each caller of a command, and how it held the project."""
        self._interruption: Interruption | None = None
        self._rewrites: Rewrites | None = None

    # 1. Every plugin is loaded, none is activated.

    def plugins_loaded(self) -> Protection:
        try:
            self._lock_project()
            requires = self._requires_plugins
            if requires is not None:  # Poetry says what is wrong with the file
                self._load_plugins(requires)
        except Exception as error:  # or Poetry could not install or load a plugin
            return self._failed(error)
        return self

    def _lock_project(self) -> None:
        """Lock the project, with what a killed command has left put back."""
        self._put_back()
        self._lock_as_far_as_known()
        if self._put_back():  # it was killed while this command waited for it
            self._lock_as_far_as_known()
        is_locked = self._session.is_locked(PROJECT)
        if is_locked and self._command.words[0] in ("add", "remove"):
            self.files.write_both_or_none(self._store, self._command.io, self._ending)

    @cached_property
    def files(self) -> ProjectWrites:
        from poetry_plugin_safe_install.project_writes import ProjectWrites

        return ProjectWrites(self._pyproject.parent, self._own_project)

    def _own_project(self) -> None:
        """Hold the project exclusively until the end: its files are about to be written."""
        plan = needs.write_plan(self._row, self._session.mode(PROJECT))
        self._walk(needs.WRITES, plan)
        self._facts.written = True

    def _put_back(self) -> bool:
        """Have files as they were before a command that was killed changed them."""
        if not (self._store.pair.exists() or self._files.left_rewritten):
            return False
        from poetry_plugin_safe_install.left_files import put_back

        self._session.release(PROJECT)
        put_back(self._session, self._files, self._store)
        self._command.reload_project()
        return True

    def _lock_as_far_as_known(self) -> None:
        """Lock the project as far as is known now; look again after every wait."""
        if self._store.staging.exists() and self._row.need in needs.SWEEPERS:
            self._plugins.sweep(self._session, self._files.own_lock)
        scope = self._settings.lock_scope
        while True:
            requires = self._requires_plugins
            is_install = self._row.need is Need.INSTALL
            self._facts.must_lock = is_install and not self._files.are_locked
            self._facts.others = (
                bool(requires)
                or self._command.has_other_plugins
                or self._has_generic_plugins
            )
            has_plugins = is_install and self._has_plugins(requires)
            if has_plugins and self._plugins.is_missing(requires or {}):
                self._publish_set()
            self._facts.must_tidy = has_plugins and self._plugins.must_tidy(
                requires or {}
            )
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
        requires = self._requires_plugins if self._is_locked_install else None
        return bool(requires) and self._plugins.is_missing(requires or {})

    @property
    def _is_locked_install(self) -> bool:
        return self._row.need is Need.INSTALL and self._session.is_locked(PROJECT)

    def _publish_set(self) -> None:
        """Make the plugin set that is missing, beside those of other interpreters."""
        self._facts.must_publish = True
        self._walk(needs.MISSING)
        if self._session.is_locked(PROJECT) and (requires := self._requires_plugins):
            self._work.share_builds(self._row, self._plan)
            self._plugins.publish(requires, self._session, self._settings)
        self._walk(needs.MADE)
        self._facts.must_publish = False

    def _load_plugins(self, requires: dict[str, Any]) -> None:
        if installs := self._is_locked_install:
            from poetry_plugin_safe_install.compat.plugins import leave_project_plugins

            leave_project_plugins(self._command)
        if installs and self._has_plugins(requires):
            if self._session.mode(PROJECT) is Mode.EXCLUSIVE:
                self._plugins.tidy(requires)
            self._plugins.leave_stock_cache()
        wanted = requires and self._row.need is not Need.NOTHING
        if wanted and self._plugins.load(requires):
            self._summary.plugin_set(self._plugins.origin)
        elif wanted and not self._session.is_locked(PROJECT):
            text = "There is no plugin set for this interpreter: the plugins that the"
            self._command.warn(f"{text} project requires are not active.")

    # 2. Every plugin is activated.

    def plugins_activated(self, *, listen: bool) -> None:
        self._facts.others |= listen
        self._facts.rewriters = listen or self._has_generic_plugins
        if self._facts.rewriters:
            self._command.prepare_for_work()
        self._walk(needs.ACTIVATED)
        if self._facts.others and self._session.mode(PROJECT) is Mode.EXCLUSIVE:
            from poetry_plugin_safe_install.rewrites import watch_rewrites

            journals, command = self._files.journals, self._command
            self._rewrites = watch_rewrites(command, journals, self._ending)
            self.files.rewrites = self._rewrites

    # 3. The command starts; no listener has been called.

    def command_starts(self, event: ConsoleCommandEvent) -> None:
        self._is_called(event)
        if self._interruption is None and (self._row.changes or self._row.builds):
            from poetry_plugin_safe_install.interruption import watch_signals

            self._interruption = watch_signals(self._command)
        if self._command.words[0] == "safe-install":
            event.command.summary = self._summary  # type: ignore[attr-defined]
        if self._facts.rewriters or self._row.need not in (Need.RUN, Need.INSTALL):
            self._environment.watch(self._command)
        if wants_environment(event):
            environment = self._environment.have(event, self._creating)
            set_environment(event, environment)
            self._lock_environment(environment)

    def _is_called(self, event: ConsoleCommandEvent) -> None:
        """Take what a command needs that is called by the one that was typed."""
        held, scope = self._session.mode(PROJECT), self._settings.lock_scope
        self._calls.append((self._row, held))
        if len(self._calls) > 1:
            self._row = self._row.calling(needs.row_of(str(event.command.name).split()))
            plan = needs.call_plan(self._row, scope, self._facts, held)
            self._walk(needs.CALLS, plan)

    def command_terminates(self, event: ConsoleTerminateEvent) -> None:
        if len(self._calls) > 1:
            self._row, held = self._calls.pop()
            self._work.called_has_ended(self._row)
            self._walk(needs.RETURNS, needs.return_plan(self._row, self._facts, held))
        elif self._rewrites:
            self._rewrites.command_terminates()

    def _lock_environment(self, environment: Any) -> None:
        lock = self._environment.lock_of(environment)
        if self._walk(needs.FOUND) and self._session.has_alone(needs.ENVIRONMENT):
            self._uv.guard(self._environment.lock_of_uv(environment))
            repair(environment, lock, self._command.io)

    @contextmanager
    def _creating(self) -> Iterator[None]:
        """To be entered around the creation of the environment."""
        self._environment.watch(self._command)
        self._facts.must_create = True
        self._walk(needs.MUST_CREATE)
        try:
            yield
        finally:
            self._walk(needs.CREATED)
            self._facts.must_create = False

    # 4. Every listener has been called; the command's own code is next.

    def command_runs(self, event: ConsoleCommandEvent) -> None:
        if self._facts.rewriters and self._files.were_rewritten:
            self._facts.rewritten = True
        if self._rewrites:
            self._rewrites.command_runs()
        self._walk(needs.RUNS)
        if self._row.need is Need.RUN:
            self._environment.wait_until_ready(event, self._plan)
        if self._facts.rewriters and not self._facts.rewritten:
            self._session.rewrites_nothing(PROJECT, self._store.project_lock)
        if self._may_find_nothing_to_do(event):
            self._command.before_work(partial(self._prepare_work, event))
        else:
            self._command.prepare_for_work()
            self._prepare_work(event)

    def _may_find_nothing_to_do(self, event: ConsoleCommandEvent) -> bool:
        works = self._facts.must_lock or self._facts.rewriters
        is_install = self._row.need is Need.INSTALL and not works
        return is_install and is_apart(environment_of(event))

    def _prepare_work(self, event: ConsoleCommandEvent) -> None:
        if self._row.writes:
            self.files.command_runs(rewritten=self._facts.rewritten)
        if self._row.builds:
            self._work.prepare_builds(event)
            self._work.share_builds(self._row, self._plan)
        if self._session.has_alone(needs.ENVIRONMENT):
            self._work.protect_changes(event)
        if self._row.changes:
            self._work.guard(event, self._summary)
            if self._row.need is Need.WRITE or self._facts.must_lock:
                self.files.check_before_packages(self._command)

    def exit_status(self, status: int) -> int:
        if status == 1 and self._session.timed_out:
            status = LockTimeoutError.exit_status
        interruption = self._interruption
        return interruption.exit_status(status) if interruption else status

    # 5. The command has ended.

    def command_ended(self) -> None:
        self._ending.close()

    # What the chapters share.

    def _failed(self, error: Exception) -> Protection:
        from poetry_plugin_safe_install.failed_command import failed

        self._session.release_all()
        return failed(self._command, error)

    @property
    def _plan(self) -> list[Step]:
        return needs.lock_plan(self._row, self._settings.lock_scope, self._facts)

    def _walk(self, moment: str, plan: list[Step] | None = None) -> bool:
        """Take the steps for a moment of the command, of its lock plan or of another.

        :return: whether a lock was taken. The project is read again if it has changed
            by then.
        """
        plan = plan or self._plan
        if (moment, needs.UV, None) in plan and "_uv" in vars(self):
            self._uv.release()
        taken = self._session.walk(plan, moment, self._locks_of)
        if taken and moment not in (needs.FOUND, needs.WRITES):
            if self._files.have_changed:
                self._command.reload_project()
            self._files.remember()
        return taken

    def _locks_of(self, resource: str) -> list[Lock]:
        if resource == needs.PLUGIN_SET:
            backend, requires = self._settings.lock_backend, self._requires_plugins
            return [self._plugins.lock_of_set(requires, backend)] if requires else []
        if resource == needs.UV:
            return []  # threads take and release it: see ``environments.uv_lock``
        if resource == needs.ENVIRONMENT:
            return self._environment.locks
        scope, word = self._settings.lock_scope, self._command.words[0]
        may_share = needs.may_share(self._row.need, scope, self._facts)
        alike = self._files.alike(word) if may_share else ""
        return self._files.locks(others=self._facts.others, alike=alike)

    @cached_property
    def _summary(self) -> Summary:
        from poetry_plugin_safe_install.summary import Summary

        return Summary()

    @cached_property
    def _uv(self) -> UvLock:
        from poetry_plugin_safe_install.environments.uv_lock import UvLock

        uv = UvLock(self._session)
        self._ending.callback(uv.release)
        return uv

    @cached_property
    def _work(self) -> Work:
        from poetry_plugin_safe_install.work import Work

        session, settings, ending = self._session, self._settings, self._ending
        return Work(self._command, session, settings, self._store, ending, self._uv)

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
        is_concerned = self._row.need in (Need.INSTALL, Need.BUILD)
        if self._settings.lock_scope != "auto" or not is_concerned:
            return False
        from poetry_plugin_safe_install.compat.plugins import has_generic_plugins

        return has_generic_plugins()
