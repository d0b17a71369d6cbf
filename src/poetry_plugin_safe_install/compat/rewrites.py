"""How other plugins rewrite files of the project for the length of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Protocol

    class Rewriting(Protocol):
        """What is asked before a file is written."""

        def replacing(self, path: Path) -> AbstractContextManager[Path]:
            """Yields where to write what is going to be the content of a file."""


REWRITES = Internals("how other plugins rewrite the project")
"""poetry-dynamic-versioning 1.10: ``_apply_version``, ``_revert_version``."""

PYTHON = "Python 3.10 to 3.13"


@REWRITES.around("pathlib", "Path.write_bytes", seen_in=PYTHON)
@REWRITES.around("pathlib", "Path.write_text", seen_in=PYTHON)
def _write(
    rewriting: Rewriting,
    original: Callable[..., int],
    path: Path,
    *args: Any,
    **kwargs: Any,
) -> int:
    """Both empty the file, and then write."""
    with rewriting.replacing(path) as place:
        return original(place, *args, **kwargs)
