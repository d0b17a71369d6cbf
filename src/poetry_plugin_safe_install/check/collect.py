"""Finding out what an install would meet. Nothing here changes anything on disk.

Whatever an install asks is asked of the same functions here, so that both agree.
"""

from __future__ import annotations

import os
import sys
import time

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from packaging.version import Version

from poetry_plugin_safe_install.caches.survey import survey
from poetry_plugin_safe_install.check import topics
from poetry_plugin_safe_install.check.finding import Cause
from poetry_plugin_safe_install.check.plugin_sets import PluginSetFacts
from poetry_plugin_safe_install.check.plugin_sets import plugin_copies
from poetry_plugin_safe_install.check.target import Target
from poetry_plugin_safe_install.check.target import is_removable
from poetry_plugin_safe_install.check.target import is_same
from poetry_plugin_safe_install.check.target import target_of
from poetry_plugin_safe_install.check.target import text_of
from poetry_plugin_safe_install.check.target import unwritable
from poetry_plugin_safe_install.compat.config import repository_cache
from poetry_plugin_safe_install.compat.environment_making import environment_to_be_used
from poetry_plugin_safe_install.compat.environment_making import stand_in_environment
from poetry_plugin_safe_install.compat.planned_install import PlannedInstall
from poetry_plugin_safe_install.compat.plugins import application_plugin_packages
from poetry_plugin_safe_install.compat.plugins import generic_plugin_packages
from poetry_plugin_safe_install.compat.plugins import listening_packages
from poetry_plugin_safe_install.compat.seeds import WHOLE_SINCE
from poetry_plugin_safe_install.compat.seeds import virtualenv_version
from poetry_plugin_safe_install.environments.system import MARKER
from poetry_plugin_safe_install.errors import NotKnownError
from poetry_plugin_safe_install.settings import DEFAULT


if TYPE_CHECKING:
    from collections.abc import Mapping

    from poetry.console.application import Application
    from poetry.console.commands.install import InstallCommand
    from poetry.installation.operations.operation import Operation

    from poetry_plugin_safe_install.locks.lock import Lock
    from poetry_plugin_safe_install.own_packages.judge import Verdict
    from poetry_plugin_safe_install.project_plugins.loading import ProjectPlugins
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.store import Store

DAY = 24 * 3600


@dataclass(frozen=True)
class CheckContext:
    """What the protection tells ``safe-install`` when the command starts."""

    pyproject: Path
    requires_plugins: Mapping[str, Any]
    settings: Settings
    failure: Exception | None
    """Why an install would not even start: mostly a bad setting."""
    store: Store
    plugins: ProjectPlugins


def collect(context: CheckContext, command: InstallCommand) -> topics.Facts:
    """Find out all that ``--check`` judges.

    :param command: with the options of the install that is in question.
    :raises Exception: Poetry's own errors for a bad pyproject.toml.
    """
    application = command.get_application()
    target = target_of(command)
    plan = _plan(command, target)
    settings = context.settings
    return topics.Facts(
        settings=_settings(context),
        isolation=topics.IsolationFacts(
            sys.prefix,
            str(target.install.path) if target.install else None,
            target.is_poetrys_own,
            target.problem,
            target.cause,
            is_removable(command, target),
        ),
        project=plan.facts,
        own_packages=_own_packages(settings, target, plan),
        plugin_sets=_plugin_sets(context),
        locks=_locks(context, target),
        lock_backend=_lock_backend(context),
        temp_directory=_temp_directory(settings, target),
        externally_managed=_externally_managed(settings, target),
        scripts=_scripts(application, target),
        rewriters=topics.RewritersFacts(
            settings.lock_scope,
            tuple(application_plugin_packages()),
            tuple(listening_packages(application)),
            tuple(generic_plugin_packages()),
        ),
        caches=_caches(),
    )


def _caches() -> topics.CachesFacts:
    directory, virtualenv = str(repository_cache()), virtualenv_version()
    found = survey(directory)
    return topics.CachesFacts(
        directory,
        found.looked_at,
        found.complete,
        found.broken,
        virtualenv,
        Version(virtualenv) < Version(WHOLE_SINCE),
    )


def environment_of_install(command: InstallCommand) -> Any:
    """Poetry's own object for the environment; ``None`` if there is none yet."""
    try:
        return environment_to_be_used(command.poetry)
    except Exception:  # told by the commands that need it
        return None


def _settings(context: CheckContext) -> topics.SettingsFacts:
    sources = context.settings.sources
    return topics.SettingsFacts(
        context.settings.enabled,
        sources["enabled"],
        tuple(key for key, source in sources.items() if source != DEFAULT),
        text_of(context.failure) if context.failure else "",
    )


@dataclass(frozen=True)
class Plan:
    """The operations of an install, or why there are none."""

    facts: topics.ProjectFacts
    operations: list[Operation] | None = None


def _plan(command: InstallCommand, target: Target) -> Plan:
    """What Poetry itself would do with these options, up to the first change."""
    if target.problem:
        return Plan(topics.ProjectFacts("", "Poetry has no environment"))
    install = target.install or PlannedInstall(command, stand_in_environment())
    operations, unknown = None, ""
    try:
        operations = install.operations()
    except NotKnownError as error:
        unknown = text_of(error)
    except Exception as error:  # whatever Poetry says to that would end the install
        for cause_or_error in (error, error.__cause__):
            if isinstance(cause_or_error, UnicodeError):
                text = unwritable(cause_or_error)
                return Plan(topics.ProjectFacts(text, "", Cause.LOCALE))
        return Plan(topics.ProjectFacts(text_of(error), ""))
    return Plan(_root_or(unknown, install), operations)


def _root_or(unknown: str, install: PlannedInstall) -> topics.ProjectFacts:
    """What is wrong with the project itself; what is not known if nothing is."""
    cause = Cause.FILES
    try:
        problem = install.problem_of_root()
    except UnicodeError as error:
        problem, cause = unwritable(error), Cause.LOCALE
    if problem:
        text = f"the project itself cannot be installed: {problem}"
        return topics.ProjectFacts(text, "", cause)
    return topics.ProjectFacts("", unknown)


def _own_packages(
    settings: Settings, target: Target, plan: Plan
) -> topics.OwnPackagesFacts:
    """What the guard of an install would say to what Poetry would have it do."""
    setting, install = settings.on_self_change, target.install
    if install is None or not target.is_poetrys_own:
        return topics.OwnPackagesFacts(setting, concerned=False)
    from poetry_plugin_safe_install.own_packages.guard import OwnPackagesGuard
    from poetry_plugin_safe_install.summary import Summary

    guard = OwnPackagesGuard(install, setting, [], Summary())
    operations = plan.operations or []
    unknown = ""
    if plan.operations is None:
        unknown = plan.facts.unknown or "the install ends before it changes anything"
    mode = setting if settings.enabled else "allow"
    try:
        verdicts = guard.verdicts(operations, mode)
        with_pin = guard.verdicts(operations, "pin")
        unknown = unknown or guard.not_known(operations)
    except Exception as error:  # a Poetry that is not known
        unknown = unknown or text_of(error)
        return topics.OwnPackagesFacts(setting, concerned=True, unknown=unknown)
    return topics.OwnPackagesFacts(
        setting,
        concerned=True,
        changes=tuple(map(_own_package_change, verdicts)),
        pin_helps=all(verdict.action.value != "stop" for verdict in with_pin),
        unknown=unknown,
    )


def _own_package_change(verdict: Verdict) -> topics.OwnPackageChange:
    from poetry_plugin_safe_install.own_packages.refusal import said

    return topics.OwnPackageChange(
        verdict.package,
        verdict.installed,
        verdict.locked,
        verdict.action.value,
        verdict.reason,
        verdict.requirers,
        said(verdict),
    )


def _plugin_sets(context: CheckContext) -> topics.PluginSetsFacts:
    sets = context.plugins.sets
    exact = context.plugins.exact_set(dict(context.requires_plugins))
    current = exact.path if exact else None
    now = time.time()
    return topics.PluginSetsFacts(
        tuple(context.requires_plugins),
        tuple(
            PluginSetFacts(
                found.path.parent.name,
                found.path.name,
                max(0, int((now - found.last_used) // DAY)),
                found.path == current,
            )
            for found in sets.everything()
        ),
        context.plugins.cache_state.value,
        sets.staging.exists(),
        plugin_copies(context.settings.plugin_copies),
    )


def _locks(context: CheckContext, target: Target) -> topics.LocksFacts:
    return topics.LocksFacts(
        str(context.store.path),
        str(context.store.locks),
        context.store.why_elsewhere,
        context.settings.lock_timeout,
        tuple(_lock(lock) for lock in locks_of(context, target.environment)),
    )


def locks_of(context: CheckContext, environment: Any) -> list[Lock]:
    """The project's lock, those of its environment, and that of its builds.

    :param environment: Poetry's own object for it; ``None`` if there is none.
    """
    from poetry_plugin_safe_install.builds.shared_trees import tree_lock
    from poetry_plugin_safe_install.environments.project_environment import (
        environment_lock,
    )
    from poetry_plugin_safe_install.environments.project_environment import lock_of_uv
    from poetry_plugin_safe_install.locks.session import project_lock

    project, backend = context.pyproject.parent, context.settings.lock_backend
    locks = [project_lock(context.store, project, backend)]
    if environment is not None:
        inside = project in Path(environment.path).parents
        store = context.store if inside else None
        locks.append(environment_lock(environment, store, backend))
        if uv := lock_of_uv(environment, store, backend):
            locks.append(uv)
    build = tree_lock(context.store, context.pyproject.parent)
    if build.path.exists():
        locks.append(build)
    return locks


def _lock(lock: Lock) -> topics.LockFacts:
    return topics.LockFacts(lock.guards, str(lock.path), holders_of(lock))


def holders_of(lock: Lock) -> tuple[topics.HolderFacts, ...]:
    """Who holds a lock, as recorded, or else as the kernel knows it (uv, for example)."""
    return holders_in(lock.records) or flockers_of(lock.path)


def flockers_of(path: Path) -> tuple[topics.HolderFacts, ...]:
    import socket

    from poetry_plugin_safe_install.locks.kernel import flockers

    host = socket.gethostname()
    return tuple(
        topics.HolderFacts(
            one.program,
            one.pid,
            host,
            "",
            0.0,
            one.mode,
            f"`{one.program}` (pid {one.pid} on {host}), which left no record",
        )
        for one in flockers(path)
    )


def holders_in(records: Path) -> tuple[topics.HolderFacts, ...]:
    """Who holds a lock, as recorded: to try it would be to take it for a moment."""
    from poetry_plugin_safe_install.locks.holders import holders

    return tuple(
        topics.HolderFacts(
            holder.command,
            holder.pid,
            holder.host,
            holder.user,
            holder.since,
            holder.mode,
            str(holder),
        )
        for holder in holders(records)
    )


def _lock_backend(context: CheckContext) -> topics.LockBackendFacts:
    """As ``locks.backend.choose`` decides, without recording it."""
    from poetry_plugin_safe_install.locks.backend import decide
    from poetry_plugin_safe_install.locks.backend import mount_of
    from poetry_plugin_safe_install.locks.backend import recorded_choice

    setting, store = context.settings.lock_backend, context.store.locks
    existing = next(path for path in (store, *store.parents) if path.is_dir())
    choice = decide(setting, recorded_choice(store), *mount_of(existing))
    return topics.LockBackendFacts(setting, choice.backend.value, choice.why)


def _temp_directory(settings: Settings, target: Target) -> topics.TempDirectoryFacts:
    from poetry_plugin_safe_install.builds.interpreters import interpreters_of_builds
    from poetry_plugin_safe_install.builds.temp_directory import same_device
    from poetry_plugin_safe_install.builds.temp_directory import untried

    directory = untried()
    try:
        same = same_device(directory, interpreters_of_builds(target.environment))
    except OSError:
        same = False
    return topics.TempDirectoryFacts(str(directory), same, settings.always_copy)


def _externally_managed(
    settings: Settings, target: Target
) -> topics.ExternallyManagedFacts:
    marker = None
    if target.install and not target.install.is_virtual:
        file = target.install.standard_library / MARKER
        marker = str(file) if file.is_file() else None
    return topics.ExternallyManagedFacts(settings.externally_managed, marker)


def _scripts(application: Application, target: Target) -> topics.ScriptsFacts:
    data = application.poetry.pyproject.data
    scripts: Any = data.get("project", {}).get("scripts", {})
    names = tuple(sorted(map(str, scripts)))
    install = target.install
    if install is None:
        return topics.ScriptsFacts(None, False, True, names)
    directory = install.script_directories[0]
    on_path = any(
        is_same(Path(entry), directory)
        for entry in os.environ.get("PATH", "").split(os.pathsep)
        if entry
    )
    return topics.ScriptsFacts(str(directory), on_path, install.is_virtual, names)
