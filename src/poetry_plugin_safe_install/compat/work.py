"""Where the work of an install begins: before, nothing is fetched, built or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable

    from poetry.installation.executor import Executor
    from poetry.installation.operations.operation import Operation
    from poetry.masonry.builders.editable import EditableBuilder
    from poetry.puzzle.solver import Solver

    from poetry_plugin_safe_install.compat.command_line import StartingCommand


WORK = Internals("where work begins")


@WORK.around("poetry.installation.executor", "Executor.execute")
def _execute(
    command: StartingCommand,
    original: Callable[..., int],
    executor: Executor,
    operations: list[Operation],
) -> int:
    """``Installer`` calls it too where there is nothing to do."""
    if command.is_prepared or all(operation.skipped for operation in operations):
        return original(executor, operations)
    command.prepare_for_work()
    return executor.execute(operations)  # which may be another by now


@WORK.around("poetry.puzzle.solver", "Solver.solve")
def _solve(
    command: StartingCommand,
    original: Callable[..., Any],
    solver: Solver,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """It asks indexes, fetches archives, clones, and builds what has no metadata."""
    command.prepare_for_work()
    return original(solver, *args, **kwargs)


@WORK.around("poetry.masonry.builders.editable", "EditableBuilder.build")
def _build(
    command: StartingCommand,
    original: Callable[..., Any],
    builder: EditableBuilder,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Of the project itself; what that is built with is installed by an ``Executor``."""
    if command.prepare_for_work(fetches=False):
        return builder.build(*args, **kwargs)  # as above
    return original(builder, *args, **kwargs)
