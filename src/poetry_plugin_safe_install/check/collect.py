"""Looking around for ``--check``. Nothing here changes anything on disk."""

from __future__ import annotations

import os
import sys
import time

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.check import topics
from poetry_plugin_safe_install.compat.environments import environment_to_be_used
from poetry_plugin_safe_install.compat.internals import DISTRIBUTION
from poetry_plugin_safe_install.compat.planned_install import LookedAtEnvironment
from poetry_plugin_safe_install.compat.plugins import application_plugin_packages
from poetry_plugin_safe_install.compat.plugins import generic_plugin_packages
from poetry_plugin_safe_install.compat.plugins import listening_packages
from poetry_plugin_safe_install.errors import SafeInstallError
from poetry_plugin_safe_install.settings import DEFAULT


if TYPE_CHECKING:
    from collections.abc import Mapping

    from poetry.console.application import Application
    from poetry.console.commands.install import InstallCommand

    from poetry_plugin_safe_install.locks.lock import Lock
    from poetry_plugin_safe_install.own_packages.judge import Verdict
    from poetry_plugin_safe_install.project_plugins.loading import ProjectPlugins
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.store import Store

DAY = 24 * 3600


@dataclass(frozen=True)
class Briefing:
    """What the protection tells ``safe-install`` when the command starts."""

    pyproject: Path
    requires_plugins: Mapping[str, Any]
    settings: Settings
    failure: Exception | None
    """Why an install would not even start: mostly a bad setting."""
    store: Store
    plugins: ProjectPlugins


@dataclass(frozen=True)
class EnvironmentPlaces:
    """Where things are in an environment that is there."""

    path: Path
    is_virtual: bool
    site_packages: tuple[Path, ...]
    scripts: Path
    standard_library: Path
    environment: Any
    """Poetry's own object for it."""


@dataclass(frozen=True)
class Target:
    """The environment to install into, or why there is none."""

    places: EnvironmentPlaces | None
    problem: str = ""

    @property
    def is_poetrys_own(self) -> bool:
        return self.places is not None and any(
            _is_same(place, own)
            for place in self.places.site_packages
            for own in _site_packages_of_poetry()
        )


def look_around(briefing: Briefing, command: InstallCommand) -> topics.Surroundings:
    """Find out all that ``--check`` judges.

    :param command: with the options of the install that is in question.
    :raises Exception: Poetry's own errors for a bad pyproject.toml.
    """
    application = command.get_application()
    target = _target(application)
    settings = briefing.settings
    return topics.Surroundings(
        settings=_settings(briefing),
        isolation=topics.IsolationFacts(
            sys.prefix,
            str(target.places.path) if target.places else None,
            target.is_poetrys_own,
            target.problem,
        ),
        own_packages=_own_packages(settings, command, target),
        plugin_sets=_plugin_sets(briefing),
        locks=_locks(briefing, target),
        lock_backend=_lock_backend(briefing),
        temp_directory=_temp_directory(settings),
        externally_managed=_externally_managed(settings, target),
        scripts=_scripts(application, target),
        rewriters=topics.RewritersFacts(
            settings.lock_scope,
            tuple(application_plugin_packages()),
            tuple(listening_packages(application)),
            tuple(generic_plugin_packages()),
        ),
    )


def _target(application: Application) -> Target:
    poetry = application.poetry
    try:
        return Target(environment_to_be_used(poetry))
    except Exception as error:  # whatever Poetry says to that would end the install
        return Target(None, _text(error))


def _text(error: Exception) -> str:
    text = error.text if isinstance(error, SafeInstallError) else str(error)
    return " ".join(text.split()) or type(error).__name__


def _settings(briefing: Briefing) -> topics.SettingsFacts:
    sources = briefing.settings.sources
    return topics.SettingsFacts(
        briefing.settings.enabled,
        sources["enabled"],
        tuple(key for key, source in sources.items() if source != DEFAULT),
        _text(briefing.failure) if briefing.failure else "",
    )


def _own_packages(
    settings: Settings, command: InstallCommand, target: Target
) -> topics.OwnPackagesFacts:
    """What the guard of an install would say to what Poetry would have it do."""
    setting = settings.on_self_change
    if target.places is None:
        return topics.OwnPackagesFacts(setting, concerned=False)
    from poetry_plugin_safe_install.environments.places import lives_from
    from poetry_plugin_safe_install.own_packages.guard import OwnPackagesGuard

    looked_at = LookedAtEnvironment(command, target.places.environment)
    if not lives_from(looked_at, sys.path):
        return topics.OwnPackagesFacts(setting, concerned=False)
    guard = OwnPackagesGuard(looked_at, setting, [])
    try:
        operations = looked_at.operations()
        verdicts = guard.verdicts(operations, None if settings.enabled else "allow")
        with_pin = guard.verdicts(operations, "pin")
    except Exception as error:  # whatever Poetry says to that would end the install
        return topics.OwnPackagesFacts(setting, concerned=True, unknown=_text(error))
    return topics.OwnPackagesFacts(
        setting,
        concerned=True,
        changes=tuple(map(_own_package_change, verdicts)),
        pin_helps=all(verdict.action.value != "stop" for verdict in with_pin),
    )


def _own_package_change(verdict: Verdict) -> topics.OwnPackageChange:
    from poetry_plugin_safe_install.own_packages.guard import said

    return topics.OwnPackageChange(
        verdict.package,
        verdict.installed,
        verdict.locked,
        verdict.action.value,
        verdict.reason,
        verdict.requirers,
        said(verdict),
    )


def _plugin_sets(briefing: Briefing) -> topics.PluginSetsFacts:
    sets = briefing.plugins.sets
    exact = briefing.plugins.exact_set(dict(briefing.requires_plugins))
    current = exact.path if exact else None
    now = time.time()
    return topics.PluginSetsFacts(
        tuple(briefing.requires_plugins),
        tuple(
            topics.PluginSetFacts(
                found.path.parent.name,
                found.path.name,
                max(0, int((now - found.last_used) // DAY)),
                found.path == current,
            )
            for found in sets.everything()
        ),
        briefing.plugins.cache_state.value,
        sets.staging.exists(),
    )


def _locks(briefing: Briefing, target: Target) -> topics.LocksFacts:
    from poetry_plugin_safe_install.builds.shared_trees import tree_lock
    from poetry_plugin_safe_install.environments.project_environment import (
        environment_lock,
    )
    from poetry_plugin_safe_install.locks.session import project_lock

    project, backend = briefing.pyproject.parent, briefing.settings.lock_backend
    locks = [project_lock(briefing.store, project, backend)]
    if target.places:
        environment = target.places.environment
        locks.append(environment_lock(environment, briefing.store, project, backend))
    build = tree_lock(briefing.store, briefing.pyproject.parent)
    if build.path.exists():
        locks.append(build)
    return topics.LocksFacts(
        str(briefing.store.path),
        briefing.store.why_elsewhere,
        briefing.settings.lock_timeout,
        tuple(_lock(lock) for lock in locks),
    )


def _lock(lock: Lock) -> topics.LockFacts:
    """Who holds a lock, as recorded: to try it would be to take it for a moment."""
    from poetry_plugin_safe_install.locks.holders import holders

    found = tuple(
        topics.HolderFacts(**vars(holder), shown=str(holder))
        for holder in holders(lock.records)
    )
    return topics.LockFacts(lock.guards, str(lock.path), found)


def _lock_backend(briefing: Briefing) -> topics.LockBackendFacts:
    """As ``lock_backends.choose`` decides, without recording it."""
    from poetry_plugin_safe_install.locks.backend import decide
    from poetry_plugin_safe_install.locks.backend import mount_of
    from poetry_plugin_safe_install.locks.backend import recorded_choice

    setting, store = briefing.settings.lock_backend, briefing.store.path
    existing = next(path for path in (store, *store.parents) if path.is_dir())
    choice = decide(setting, recorded_choice(store), *mount_of(existing))
    return topics.LockBackendFacts(setting, choice.backend.value, choice.why)


def _temp_directory(settings: Settings) -> topics.TempDirectoryFacts:
    directory = _temp_candidate()
    base = Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()
    try:
        same = directory.stat().st_dev == base.stat().st_dev
    except OSError:
        same = False
    return topics.TempDirectoryFacts(str(directory), same, settings.always_copy)


def _temp_candidate() -> Path:
    """As ``tempfile.gettempdir``, which writes a file into it to try it."""
    named = [
        os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if name in os.environ
    ]
    usual = ["/tmp", "/var/tmp", "/usr/tmp"] if os.name == "posix" else []
    for candidate in [*filter(None, named), *usual]:
        if os.path.isdir(candidate) and os.access(candidate, os.W_OK | os.X_OK):
            return Path(candidate).absolute()
    return Path.cwd()


def _externally_managed(
    settings: Settings, target: Target
) -> topics.ExternallyManagedFacts:
    marker = None
    if target.places and not target.places.is_virtual:
        file = target.places.standard_library / "EXTERNALLY-MANAGED"
        marker = str(file) if file.is_file() else None
    return topics.ExternallyManagedFacts(settings.externally_managed, marker)


def _scripts(application: Application, target: Target) -> topics.ScriptsFacts:
    data = application.poetry.pyproject.data
    scripts: Any = data.get("project", {}).get("scripts", {})
    names = tuple(sorted(map(str, scripts)))
    if target.places is None:
        return topics.ScriptsFacts(None, False, True, names)
    directory = target.places.scripts
    on_path = any(
        _is_same(Path(entry), directory)
        for entry in os.environ.get("PATH", "").split(os.pathsep)
        if entry
    )
    return topics.ScriptsFacts(str(directory), on_path, target.places.is_virtual, names)


def _site_packages_of_poetry() -> set[Path]:
    """Where Poetry and this plugin are installed."""
    from importlib import metadata

    found = set()
    for name in ("poetry", DISTRIBUTION):
        for distribution in metadata.distributions(name=name):
            found.add(Path(str(distribution.locate_file(""))))
    return found


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
