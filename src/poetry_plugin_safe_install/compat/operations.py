"""The environment that a command changes, and the operations on it."""

from __future__ import annotations

import os

from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.internals import Internals
from poetry_plugin_safe_install.compat.internals import warn


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Mapping
    from typing import Protocol

    from cleo.events.console_command_event import ConsoleCommandEvent
    from cleo.io.io import IO
    from poetry.console.commands.installer_command import InstallerCommand
    from poetry.core.packages.dependency import Dependency
    from poetry.core.packages.package import Package
    from poetry.installation.executor import Executor
    from poetry.installation.operations.operation import Operation

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.releases import Change
    from poetry_plugin_safe_install.releases import Release
    from poetry_plugin_safe_install.releases import Requires


INSTALLERS = Internals("installers")
"""Looked up only where Poetry has its installer ready, since they take long to import."""


GUARD = Internals("operations")


def guard_environment(
    event: ConsoleCommandEvent, guard: Callable[[TargetEnvironment], None]
) -> None:
    """Call ``guard`` with the environment that the command is about to change.

    ``poetry self ...`` works on Poetry's environment, and on purpose: it is not called.

    :raises SafeInstallError: what ``guard`` raises to end the command.
    """
    from poetry.console.commands.installer_command import InstallerCommand
    from poetry.console.commands.self.self_command import SelfCommand

    from poetry_plugin_safe_install.compat.faults import explain
    from poetry_plugin_safe_install.compat.faults import is_own_fault

    command = event.command
    if not isinstance(command, InstallerCommand) or isinstance(command, SelfCommand):
        return
    try:
        INSTALLERS.check()
        guard(TargetEnvironment(event))
    except Exception as error:
        if not is_own_fault(error):
            raise
        warn(event.io, explain(error))


@INSTALLERS.uses("poetry.utils.env", "Env.paths", "Env.fallbacks", "Env.script_dirs")
class TargetEnvironment:
    """The environment that a command is about to change, and what is to come into it."""

    def __init__(self, event: ConsoleCommandEvent) -> None:
        self.io = event.io
        self._command: InstallerCommand = event.command  # type: ignore[assignment]

    @property
    def path(self) -> Path:
        return Path(self._command.env.path)

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
    def project_name(self) -> str:
        return self._command.poetry.package.name

    @property
    def changes_nothing(self) -> bool:
        """Whether the options say that nothing is to be installed."""
        return self.io.input.has_parameter_option(["--dry-run", "--lock"], True)

    @INSTALLERS.uses(
        "poetry.installation.installer", "Installer.executor", "Installer.is_dry_run"
    )
    def guard(self, command: StartingCommand, guard: OperationsGuard) -> None:
        """Have every list of operations pass the guard before it is executed."""
        executor = self._command.installer.executor
        setattr(executor, ATTRIBUTE, _Guarded(self._command, guard))
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
                changes[package.name] = Change(package.name, target, over=is_new)
        requirements = [
            requires for release in releases.values() for requires in release.requires
        ]
        return changes, [*self.requirements_of_project(), *requirements]

    def requirements_of_project(self) -> list[Requires]:
        project = self._command.poetry.package
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


def _acceptance(dependency: Dependency) -> Callable[[str], bool]:
    """Which versions a dependency accepts; none where it names a source by itself."""
    from poetry.core.constraints.version import Version

    if dependency.is_direct_origin():
        return lambda version: False
    return lambda version: dependency.constraint.allows(Version.parse(version))


if TYPE_CHECKING:

    class OperationsGuard(Protocol):
        """Sees every list of operations before it is executed."""

        io: IO

        def pass_on(
            self, operations: list[Operation]
        ) -> tuple[list[Operation], Exception | None]:
            """What is to be executed instead, and why it must not be if it must not."""


ATTRIBUTE = "_safe_install"
"""Of an ``Executor``: what guards it."""


class _Guarded:
    """What stands between an executor and the operations that it is given."""

    def __init__(self, command: InstallerCommand, guard: OperationsGuard) -> None:
        self.command = command
        self.guard = guard


@GUARD.around("poetry.installation.executor", "Executor.execute")
def _execute(
    _: None,
    original: Callable[..., int],
    executor: Executor,
    operations: list[Operation],
) -> int:
    guarded: _Guarded | None = vars(executor).get(ATTRIBUTE)
    if guarded is None:
        return original(executor, operations)
    operations, refusal = guarded.guard.pass_on(operations)
    if refusal and not guarded.command.installer.is_dry_run():
        raise refusal
    status = original(executor, operations)
    if refusal:
        raise refusal
    return status


@INSTALLERS.uses("poetry.installation.operations.operation", "Operation.skip")
def skip_operation(operation: Operation, reason: str) -> None:
    operation.skip(reason)


@INSTALLERS.uses(
    "poetry.installation.operations.operation",
    "Operation.priority",
    "Operation._priority",
)
def one_by_one_at_the_end(
    operations: list[Operation], last: list[Operation]
) -> list[Operation]:
    """The operations with some of them after all others, one at a time.

    ``Executor.execute`` executes neighbours of one priority side by side, and waits for
    them before it goes on to those of the next. Seen in ``ALL``.
    """
    lowest = min((operation.priority for operation in operations), default=0)
    for steps, operation in enumerate(last, start=1):
        operation._priority = lowest - steps
    return [operation for operation in operations if operation not in last] + last
