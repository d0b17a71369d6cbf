"""Where Ctrl-C may cut an install short: not while the main thread has others work.

It could hit the main thread as it starts another one, or within a lock that the others
need: Python then waits indefinitely for a thread that nobody wakes.
"""

from __future__ import annotations

import threading

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Protocol

    from poetry.installation.executor import Executor
    from poetry.installation.operations.operation import Operation

    class Interrupts(Protocol):
        """The first Ctrl-C of a command."""

        def held_back(self) -> AbstractContextManager[None]:
            """Until then it is only noted; at the end, and by ``let_in``, it is raised."""

        def at_once(self) -> AbstractContextManager[None]:
            """Meanwhile it is raised where it comes."""

        def let_in(self, *, others_work: bool = False) -> None:
            """
            :raises KeyboardInterrupt: if there was one.
            """


INTERRUPTS = Internals("where Ctrl-C is taken")

LATENCY = 0.2
"""Seconds after which Ctrl-C is seen while others work."""


def _is_main() -> bool:
    """What is built with is installed by threads of an install; they see no signals."""
    return threading.current_thread() is threading.main_thread()


@INTERRUPTS.uses("poetry.installation.executor", "Executor._executor")
@INTERRUPTS.around("poetry.installation.executor", "Executor.execute")
def _execute(
    interrupts: Interrupts,
    original: Callable[..., int],
    executor: Executor,
    operations: list[Operation],
) -> int:
    """However it ends, no thread goes on with what is not protected any more."""
    if not _is_main():
        return original(executor, operations)
    with interrupts.held_back():
        try:
            return original(executor, operations)
        except BaseException:
            executor._executor.shutdown(wait=True, cancel_futures=True)
            raise


@INTERRUPTS.around("poetry.installation.executor", "wait")
def _wait(
    interrupts: Interrupts, original: Callable[..., Any], tasks: list[Any]
) -> Any:
    if not _is_main():
        return original(tasks)
    while True:
        states = original(tasks, timeout=LATENCY)
        interrupts.let_in(others_work=bool(states.not_done))
        if not states.not_done:
            return states


@INTERRUPTS.around("poetry.installation.executor", "Executor._execute_operation")
def _execute_operation(
    interrupts: Interrupts,
    original: Callable[..., None],
    executor: Executor,
    operation: Operation,
) -> None:
    """Where they are executed one after the other, the main thread does it, alone."""
    if not _is_main():
        original(executor, operation)
        return
    with interrupts.at_once():
        original(executor, operation)
