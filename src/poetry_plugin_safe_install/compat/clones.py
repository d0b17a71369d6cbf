"""Git repositories that Poetry clones: when a working tree is being changed."""

from __future__ import annotations

import threading

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Clones(Protocol):
        """What is told of clones; each is locked meanwhile."""

        def begun(self, place: Path) -> None:
            """The working tree of this clone is not whole from now on."""

        def finished(self, place: Path) -> None:
            """It is again, with its submodules."""


CLONES = Internals("git clones")

_now = threading.local()
"""``place``: the clone that this thread makes; those of its submodules are part of it."""


@CLONES.uses(
    "poetry.vcs.git", "Git.get_name_from_source_url", "Git.get_default_source_root"
)
@CLONES.around("poetry.vcs.git", "Git.clone")
def _clone(
    clones: Clones,
    original: Callable[..., Any],
    cls: type,
    url: str,
    name: str | None = None,
    *args: Any,
    source_root: Path | None = None,
    **kwargs: Any,
) -> Any:
    """A clone that is at the wanted commit is used as it is, whatever its files are like.

    So Poetry does not see where a command was killed between ``HEAD`` and the files.
    """
    from poetry.vcs.git import Git

    def clone() -> Any:
        return original(cls, url, name, *args, source_root=source_root, **kwargs)

    if getattr(_now, "place", None):
        return clone()
    root = source_root or Git.get_default_source_root()
    _now.place = Path(root) / (name or Git.get_name_from_source_url(url))
    try:
        repository = clone()
        clones.finished(_now.place)
        return repository
    finally:
        _now.place = None


@CLONES.around("poetry.vcs.git", "Git._fetch_remote_refs")
def _fetch_remote_refs(
    clones: Clones, original: Callable[..., Any], cls: type, *args: Any, **kwargs: Any
) -> Any:
    """Until all is fetched nothing is changed that Poetry relies on."""
    fetched = original(cls, *args, **kwargs)
    if place := getattr(_now, "place", None):
        clones.begun(place)
    return fetched


@CLONES.around("poetry.vcs.git", "Git._clone_legacy")
def _clone_legacy(
    clones: Clones, original: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """It removes the directory, then has git make it again."""
    if place := getattr(_now, "place", None):
        clones.begun(place)
    return original(*args, **kwargs)
