"""Operations that pass a guard before they are executed, and wheels that do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Protocol

    from cleo.io.io import IO
    from poetry.console.commands.installer_command import InstallerCommand
    from poetry.installation.executor import Executor
    from poetry.installation.operations.operation import Operation
    from poetry.installation.wheel_installer import WheelInstaller

    from poetry_plugin_safe_install.compat.written_files import WrittenFile

GUARD = Internals("operations")


if TYPE_CHECKING:

    class OperationsGuard(Protocol):
        """Sees every list of operations before it is executed."""

        io: IO

        def pass_on(
            self, operations: list[Operation]
        ) -> tuple[list[Operation], Exception | None]:
            """What is to be executed instead, and why it must not be if it must not."""

        def writes(self, name: str, files: Iterable[WrittenFile]) -> None:
            """A wheel of this name is about to be written; raises if it must not be."""

        def executed(self) -> None:
            """All operations are over; raises if the command must fail."""


ATTRIBUTE = "_safe_install"
"""Of an ``Executor`` and its ``WheelInstaller``: what guards it."""


class Guarded:
    """What stands between an executor and the operations that it is given."""

    def __init__(
        self,
        command: InstallerCommand,
        guard: OperationsGuard,
        scheme: Mapping[str, str],
    ) -> None:
        self.command = command
        self.guard = guard
        self.scheme = scheme


@GUARD.uses("poetry.installation.installer", "Installer.is_dry_run")
@GUARD.around("poetry.installation.executor", "Executor.execute")
def _execute(
    _: None,
    original: Callable[..., int],
    executor: Executor,
    operations: list[Operation],
) -> int:
    guarded: Guarded | None = vars(executor).get(ATTRIBUTE)
    if guarded is None:
        return original(executor, operations)
    operations, refusal = guarded.guard.pass_on(operations)
    if refusal and not guarded.command.installer.is_dry_run():
        raise refusal
    try:
        status = original(executor, operations)
    finally:
        guarded.guard.executed()
    if refusal:
        raise refusal
    return status


@GUARD.around("poetry.installation.wheel_installer", "WheelInstaller.install")
def _write_wheel(
    _: None,
    original: Callable[..., None],
    installer: WheelInstaller,
    wheel: Path,
) -> None:
    """Show the guard what is in a wheel before any of it is written."""
    from poetry_plugin_safe_install.compat.written_files import files_of_wheel

    guarded: Guarded | None = vars(installer).get(ATTRIBUTE)
    if guarded:
        name = canonicalize_name(wheel.name.partition("-")[0])
        guarded.guard.writes(name, files_of_wheel(wheel, guarded.scheme))
    original(installer, wheel)


@GUARD.uses("poetry.installation.operations.operation", "Operation.skip")
def skip_operation(operation: Operation, reason: str) -> None:
    operation.skip(reason)


@GUARD.uses(
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
