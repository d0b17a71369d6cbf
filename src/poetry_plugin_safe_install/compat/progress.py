"""The lines in which the threads of an install tell of their operations."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable

    from poetry.installation.executor import Executor


PROGRESS = Internals("the progress of operations")


@PROGRESS.uses(
    "poetry.installation.executor",
    "Executor._shutdown",
    "Executor._write",
    "Executor.get_operation_message",
    "Executor.supports_fancy_output",
)
def teller(executor: Executor, operation: Any) -> Callable[[str], bool]:
    """What shows a text in the line of an operation, and returns whether there is one.

    It raises ``KeyboardInterrupt`` once Ctrl-C was pressed: the main thread is told of
    that, and waits for the others to end.
    """

    def tell(text: str) -> bool:
        if executor._shutdown:
            raise KeyboardInterrupt
        message = executor.get_operation_message(operation)
        line = f"  <fg=blue;options=bold>-</> {message}: <comment>{text}</comment>"
        executor._write(operation, line)
        return executor.supports_fancy_output()

    return tell
