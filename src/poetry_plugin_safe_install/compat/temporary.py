"""How temporary directories come to be that are removed when the process ends."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from tempfile import TemporaryDirectory

TEMPORARY = Internals("temporary directories")


@TEMPORARY.around(
    "tempfile", "TemporaryDirectory.__init__", seen_in="Python 3.10 to 3.13"
)
def _make(
    making: AbstractContextManager[object],
    original: Callable[..., None],
    made: TemporaryDirectory[str],
    *args: Any,
    **kwargs: Any,
) -> None:
    """It makes the directory, and then has it removed at the end of the process."""
    with making:
        original(made, *args, **kwargs)
