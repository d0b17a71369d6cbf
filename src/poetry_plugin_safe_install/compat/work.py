"""Where the work of an install begins: before, nothing is fetched, built or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from poetry.installation.executor import Executor
    from poetry.installation.operations.operation import Operation
    from poetry.masonry.builders.editable import EditableBuilder
    from poetry.puzzle.solver import Solver

    Waiting: TypeAlias = list[Callable[[], object]]
    """What is called before any work is done; called once."""


WORK = Internals("where work begins")


@WORK.around("poetry.installation.executor", "Executor.execute")
def _execute(
    waiting: Waiting,
    original: Callable[..., int],
    executor: Executor,
    operations: list[Operation],
) -> int:
    """``Installer`` calls it too where there is nothing to do."""
    if not waiting or all(operation.skipped for operation in operations):
        return original(executor, operations)
    _begin(waiting)
    return executor.execute(operations)  # which may be another by now


@WORK.around("poetry.puzzle.solver", "Solver.solve")
def _solve(
    waiting: Waiting,
    original: Callable[..., Any],
    solver: Solver,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """It asks indexes, fetches archives, clones, and builds what has no metadata."""
    _begin(waiting)
    return original(solver, *args, **kwargs)


@WORK.around("poetry.masonry.builders.editable", "EditableBuilder.build")
def _build(
    waiting: Waiting,
    original: Callable[..., Any],
    builder: EditableBuilder,
    *args: Any,
    **kwargs: Any,
) -> Any:
    if not waiting:
        return original(builder, *args, **kwargs)
    _begin(waiting)
    return builder.build(*args, **kwargs)  # as above


def _begin(waiting: Waiting) -> None:
    while waiting:
        waiting.pop(0)()
