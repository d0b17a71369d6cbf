"""What an install would do, without doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals
from poetry_plugin_safe_install.compat.operations import INSTALLERS
from poetry_plugin_safe_install.compat.operations import TargetEnvironment


if TYPE_CHECKING:
    from collections.abc import Callable

    from poetry.console.commands.install import InstallCommand
    from poetry.installation.executor import Executor
    from poetry.installation.operations.operation import Operation
    from poetry.masonry.builders.editable import EditableBuilder


PLAN = Internals("the plan of an install")
"""Looked up only where Poetry would install into the environment it runs from."""


class PlannedInstall(TargetEnvironment):
    """The environment that ``install`` would change, if it were run with its options."""

    @PLAN.uses("cleo.commands.command", "Command._io")
    def __init__(self, command: InstallCommand, environment: Any) -> None:
        from copy import copy

        from cleo.events.console_command_event import ConsoleCommandEvent
        from cleo.io.buffered_io import BufferedIO

        self._said = BufferedIO(command.io.input)
        planning = copy(command)
        planning._io = self._said
        planning.set_env(environment)
        super().__init__(ConsoleCommandEvent(planning, self._said))

    @PLAN.uses("poetry.packages.locker", "Locker.is_locked", "Locker.lock_data")
    def operations(self) -> list[Operation]:
        """What would be executed. Nothing is, and nothing is written.

        ``InstallCommand.handle`` gives the installer its options, and ends when the
        executor fails: before it writes a lock file or builds the project. With a lock
        file nothing is asked of an index. Seen in ``ALL``.

        :raises NotKnownError: if there is no lock file.
        :raises SafeInstallError: in Poetry's own words, if an install would end so.
        """
        from poetry_plugin_safe_install.errors import NotKnownError
        from poetry_plugin_safe_install.errors import SafeInstallError

        for internals in (INSTALLERS, PLAN):
            if missing := internals.missing():
                raise NotKnownError(f"{', '.join(missing)} not found")
        self._configure()
        try:
            locker = self._command.poetry.locker
            is_locked = locker.is_locked() and bool(locker.lock_data)
        except Exception as error:
            text = f"poetry.lock cannot be read: {error}"
            raise SafeInstallError(text) from error
        if not is_locked:
            raise NotKnownError("there is no lock file yet")
        collected: list[list[Operation]] = []
        try:
            with PLAN.applied(collected):
                self._handle()
        except Exception as error:
            text = self._said.output.formatter.remove_format(str(error))
            raise SafeInstallError(text or type(error).__name__) from error
        if not collected:
            said = self._said.fetch_error() or self._said.fetch_output()
            raise SafeInstallError(said.strip() or "Poetry does not say why")
        return collected[0]

    def problem_of_root(self) -> str:
        """Why the project itself cannot be installed; empty if it can.

        ``EditableBuilder.build`` finds its modules after its build script, if there is
        one, and reads its readme files for the metadata. Seen in ``ALL``.

        :raises UnicodeEncodeError: if its path cannot be written in this locale.
        """
        if INSTALLERS.missing() or PLAN.missing() or self.root is None:
            return ""
        poetry = self._command.poetry
        for readme in poetry.package.readmes:
            if not readme.is_file():
                return f"its readme file {readme} is missing"
        from poetry.masonry.builders.editable import EditableBuilder

        builder = EditableBuilder(poetry, self._command.env, self._said)
        try:
            if not poetry.package.build_script:
                _try_path_file(builder)
            return _bad_script(builder)
        except UnicodeEncodeError:
            raise
        except (ValueError, RuntimeError) as error:
            return str(error)  # ModuleOrPackageNotFoundError is one

    @PLAN.uses(
        "poetry.console.application", "Application.configure_installer_for_command"
    )
    def _configure(self) -> None:
        from poetry.console.application import Application

        Application.configure_installer_for_command(self._command, self._said)

    @PLAN.uses("poetry.console.commands.install", "InstallCommand.handle")
    def _handle(self) -> None:
        from poetry.console.commands.install import InstallCommand

        assert isinstance(self._command, InstallCommand)
        InstallCommand.handle(self._command)


@PLAN.uses("poetry.masonry.builders.editable", "EditableBuilder._module")
@PLAN.uses("poetry.utils._compat", "getencoding")
def _try_path_file(builder: EditableBuilder) -> None:
    """What ``EditableBuilder._add_pth`` writes, in the encoding in which it does.

    :raises UnicodeEncodeError: if that is not possible.
    """
    from poetry.utils._compat import getencoding

    for include in builder._module.includes:
        str(include.base.resolve()).encode(getencoding())


@PLAN.uses("poetry.masonry.builders.editable", "EditableBuilder.convert_entry_points")
def _bad_script(builder: EditableBuilder) -> str:
    """The script that ``EditableBuilder._add_scripts`` does not understand, if any.

    Seen in ``ALL``.

    :raises ValueError: in poetry-core's own words.
    """
    entry_points = builder.convert_entry_points()
    for kind in ("console_scripts", "gui_scripts"):
        for script in entry_points.get(kind, []):
            name, _, target = script.partition(" = ")
            if " = " in target or target.partition("[")[0].count(":") != 1:
                return f'its script {name} is no "module:function": "{target}"'
    return ""


@PLAN.around("poetry.installation.executor", "Executor.execute")
def _collect(
    collected: list[list[Operation]],
    original: Callable[..., int],
    executor: Executor,
    operations: list[Operation],
) -> int:
    collected.append(operations)
    return 1


@PLAN.around("poetry.plugins.plugin_manager", "PluginManager.ensure_project_plugins")
def _ensure_project_plugins(*args: Any, **kwargs: Any) -> None:
    """Do nothing: plugins are not what the plan is about."""
