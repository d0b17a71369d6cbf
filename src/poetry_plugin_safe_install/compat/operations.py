"""The environment that a command changes, and the operations on it."""

from __future__ import annotations

import os

from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.guarded_operations import ATTRIBUTE
from poetry_plugin_safe_install.compat.guarded_operations import GUARD
from poetry_plugin_safe_install.compat.guarded_operations import Guarded
from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Mapping
    from typing import Any

    from cleo.events.console_command_event import ConsoleCommandEvent
    from poetry.console.commands.installer_command import InstallerCommand
    from poetry.core.packages.dependency import Dependency
    from poetry.core.packages.package import Package
    from poetry.installation.operations.operation import Operation

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.compat.guarded_operations import OperationsGuard
    from poetry_plugin_safe_install.releases import Change
    from poetry_plugin_safe_install.releases import Release
    from poetry_plugin_safe_install.releases import Requires
    from poetry_plugin_safe_install.releases import Root


INSTALLERS = Internals("installers")
"""Looked up only where Poetry has its installer ready, since they take long to import."""


def guard_environment(
    starting: StartingCommand,
    event: ConsoleCommandEvent,
    guard: Callable[[TargetEnvironment], None],
) -> None:
    """Call ``guard`` with the environment that the command is about to change.

    ``poetry self ...`` works on Poetry's environment, and on purpose: it is not called.

    :raises SafeInstallError: what ``guard`` raises to end the command.
    """
    from poetry.console.commands.installer_command import InstallerCommand
    from poetry.console.commands.self.self_command import SelfCommand

    command = event.command
    if not isinstance(command, InstallerCommand) or isinstance(command, SelfCommand):
        return
    try:
        INSTALLERS.check()
        guard(TargetEnvironment(event))
    except Exception as error:
        from poetry_plugin_safe_install.compat.faults import is_own_fault

        if not is_own_fault(error):
            raise
        starting.explain(error)


@INSTALLERS.uses("poetry.utils.env", "Env.paths", "Env.fallbacks", "Env.script_dirs")
@INSTALLERS.uses(
    "poetry.utils.env",
    "Env.scheme_dict",
    seen_in="2.1.4, 2.2.1, 2.3.4, 2.4.3, 2.5.1",
    instead="python_manager",  # of Poetry 2.0 alone, which installs into ``Env.paths``
)
class TargetEnvironment:
    """The environment that a command is about to change, and what is to come into it."""

    def __init__(self, event: ConsoleCommandEvent) -> None:
        self.io = event.io
        self._command: InstallerCommand = event.command  # type: ignore[assignment]

    @property
    def path(self) -> Path:
        return Path(self._command.env.path)

    @property
    def project(self) -> Path:
        return self._command.poetry.pyproject_path.parent

    @property
    def is_virtual(self) -> bool:
        return (self.path / "pyvenv.cfg").exists()

    @property
    def directories(self) -> list[Path]:
        """Where packages are installed.

        ``Env.scheme_dict`` (Poetry 2.1) goes to the user's directories where those of
        the system cannot be written to.
        """
        env = self._command.env
        found = [Path(path) for path in (env.purelib, env.platlib, *env.fallbacks)]
        userbase, scripts = env.paths.get("userbase"), env.paths.get("scripts")
        if userbase and scripts and not self.is_virtual:
            purelib = str(env.purelib)
            if not all(os.access(path, os.W_OK) for path in (purelib, scripts)):
                prefix = os.path.commonpath([scripts, purelib])
                found.append(Path(purelib.replace(prefix, userbase)))
        return found

    @property
    def script_directories(self) -> list[Path]:
        return [Path(path) for path in self._command.env.script_dirs]

    @property
    def standard_library(self) -> Path:
        return Path(self._command.env.paths["stdlib"])

    @property
    def root(self) -> Root | None:
        """The project, if the command installs it too: ``InstallCommand.handle``."""
        from poetry.console.commands.install import InstallCommand

        poetry = self._command.poetry
        if (
            not isinstance(self._command, InstallCommand)
            or self._command.option("no-root")
            or not poetry.is_package_mode
        ):
            return None
        from poetry_plugin_safe_install.compat.written_files import scripts_of_project
        from poetry_plugin_safe_install.releases import Root

        return Root(
            poetry.package.name,
            poetry.pyproject_path.parent.absolute().as_uri(),
            _is_plugin(poetry.pyproject.data),
            tuple(
                os.path.join(self.scheme["scripts"], name)
                for name in scripts_of_project(poetry.pyproject.data)
            ),
            tuple(self.requirements_of_project()),
        )

    @property
    def scheme(self) -> Mapping[str, str]:
        """Where each kind of file is installed.

        Poetry 2.0, which is known by its ``python_manager``, has no ``scheme_dict``.
        """
        env: Any = self._command.env
        scheme: dict[str, str] = getattr(env, "scheme_dict", env.paths)
        return scheme

    @property
    def changes_nothing(self) -> bool:
        """Whether the options say that nothing is to be installed."""
        return self.io.input.has_parameter_option(["--dry-run", "--lock"], True)

    @INSTALLERS.uses("poetry.installation.installer", "Installer.executor")
    @INSTALLERS.uses("poetry.installation.executor", "Executor._wheel_installer")
    def guard(self, command: StartingCommand, guard: OperationsGuard) -> None:
        """Have every list of operations pass the guard before it is executed."""
        executor = self._command.installer.executor
        guarded = Guarded(self._command, guard, self.scheme)
        setattr(executor, ATTRIBUTE, guarded)
        setattr(executor._wheel_installer, ATTRIBUTE, guarded)
        command.patch(GUARD, None)

    def changes_and_requirements(
        self,
        operations: list[Operation],
        own: Iterable[Requires],
        installed: Mapping[str, str],
    ) -> tuple[dict[str, Change], list[Requires]]:
        """What the operations would do, by package, and what must be accepted then.

        That is what the project requires, and all that is installed as it is locked.

        :param own: what is required among Poetry's own packages.
        :param installed: the version of each package that is installed there.
        """
        from poetry_plugin_safe_install.releases import Change

        packages = self._packages_after(operations, installed)
        dependencies = self._dependencies_of(packages)
        extras = self._wanted_extras(dependencies, own)
        releases = {
            package.name: self._release(package, requires, extras)
            for package, requires in zip(packages, dependencies, strict=True)
        }
        changes: dict[str, Change] = {}
        for operation in operations:
            package = operation.package
            removed = operation.job_type == "uninstall"
            if not operation.skipped:
                target = None if removed else releases[package.name]
                is_new = operation.job_type == "install"
                changes[package.name] = Change(
                    package.name, target, over=is_new, source=_other_source(operation)
                )
        requirements = [
            requires for release in releases.values() for requires in release.requires
        ]
        return changes, [*self.requirements_of_project(), *requirements]

    @INSTALLERS.uses("poetry.installation.installer", "Installer._groups")
    def requirements_of_project(self) -> list[Requires]:
        """What it requires with the groups that are installed.

        ``Installer._do_install`` chooses them in the same way. Seen in ``ALL``.
        """
        package = self._command.poetry.package
        groups = self._command.installer._groups
        if groups is None:
            project = package.without_optional_dependency_groups()
        else:
            project = package.with_dependency_groups(list(groups), only=True)
        return self._requires(
            f"the project {project.name}",
            project.all_requires,
            frozenset(project.extras),
        )

    def _packages_after(
        self, operations: list[Operation], installed: Mapping[str, str]
    ) -> list[Package]:
        """What the operations install, and what is installed as it was locked."""
        touched = {operation.package.name for operation in operations}
        return [
            *(
                operation.package
                for operation in operations
                if operation.job_type != "uninstall"
                and (not operation.skipped or operation.package.name in installed)
            ),
            *(
                package
                for package in self._locked_packages
                if package.name not in touched
                and installed.get(package.name) == str(package.version)
            ),
        ]

    @property
    def _locked_packages(self) -> list[Package]:
        locker = self._command.poetry.locker
        return locker.locked_repository().packages if locker.is_locked() else []

    def _dependencies_of(self, packages: list[Package]) -> list[list[Dependency]]:
        """What each package requires.

        ``Locker.locked_packages`` leaves it out, since what is locked needs no solving.
        """
        locked = {(one.name, one.version): one for one in self._locked_packages}
        return [
            package.requires
            or locked.get((package.name, package.version), package).requires
            for package in packages
        ]

    def _wanted_extras(
        self, dependencies: list[list[Dependency]], own: Iterable[Requires]
    ) -> dict[str, frozenset[str]]:
        """The extras of each package that any other, or the project, asks for."""
        wanted: dict[str, frozenset[str]] = {}
        for requires in own:
            asked = wanted.get(requires.package, frozenset())
            wanted[requires.package] = asked | requires.extras
        project = self._command.poetry.package
        for required in (project.all_requires, *dependencies):
            for dependency in required:
                asked = wanted.get(dependency.name, frozenset())
                wanted[dependency.name] = asked | dependency.extras
        return wanted

    def _release(
        self,
        package: Package,
        dependencies: list[Dependency],
        extras: Mapping[str, frozenset[str]],
    ) -> Release:
        from poetry_plugin_safe_install.releases import Release

        version = str(package.version)
        return Release(
            package.name,
            version,
            tuple(
                self._requires(
                    f"{package.name} {version}",
                    dependencies,
                    extras.get(package.name, frozenset()),
                )
            ),
        )

    def _requires(
        self,
        requirer: str,
        dependencies: Iterable[Dependency],
        extras: frozenset[str],
    ) -> list[Requires]:
        from poetry_plugin_safe_install.releases import Requires

        here = {**self._command.env.marker_env, "extra": set(extras)}
        return [
            Requires(
                requirer,
                dependency.name,
                f"{dependency.pretty_name} ({dependency.pretty_constraint})",
                _acceptance(dependency),
                frozenset(dependency.extras),
            )
            for dependency in dependencies
            if dependency.marker.validate(here)
            and (not dependency.in_extras or extras & {*dependency.in_extras})
        ]

    @INSTALLERS.uses("poetry.utils.env", "Env.pip_embedded", "Env._embedded_pip_path")
    def keep_embedded_pip(self, directory: Path) -> None:
        """Have what uninstalls packages in a directory where nothing uninstalls it.

        Where the environment has no pip of its own, ``Env.get_pip_command`` runs the
        one in the package virtualenv, out of its wheel. Seen in ``ALL``.
        """
        import shutil

        env = self._command.env
        if env.pip == env.pip_embedded:
            wheel = shutil.copy(env.pip_embedded.parent, directory)
            env._embedded_pip_path = Path(wheel) / "pip"


def _is_plugin(pyproject: Mapping[str, Any]) -> bool:
    """Whether the project is a plugin of Poetry's, or Poetry."""
    from poetry_plugin_safe_install.releases import PLUGIN_GROUPS

    project = pyproject.get("project", {})
    older = pyproject.get("tool", {}).get("poetry", {})
    groups = {*project.get("entry-points", {}), *older.get("plugins", {})}
    scripts = {**older.get("scripts", {}), **project.get("scripts", {})}
    return not groups.isdisjoint(PLUGIN_GROUPS) or (
        scripts.get("poetry") == "poetry.console.application:main"
    )


@INSTALLERS.uses("poetry.installation.operations.update", "Update.initial_package")
def _other_source(operation: Operation) -> str:
    """Where a package comes from, if the installed one does not come from there.

    The index and other sources are told apart, one index and another are not.
    """
    package = operation.package
    before = getattr(operation, "initial_package", None)
    is_direct = package.is_direct_origin()
    if operation.job_type == "uninstall" or (
        not is_direct and (before is None or not before.is_direct_origin())
    ):
        return ""
    if before is not None and package.is_same_source_as(before):
        return ""
    return f"{package.source_type} {package.source_url}" if is_direct else "the index"


def _acceptance(dependency: Dependency) -> Callable[[str], bool]:
    """Which versions a dependency accepts; none where it names a source by itself."""
    from poetry.core.constraints.version import Version

    if dependency.is_direct_origin():
        return lambda version: False
    return lambda version: dependency.constraint.allows(Version.parse(version))
