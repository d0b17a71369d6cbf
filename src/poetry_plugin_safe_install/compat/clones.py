"""Git repositories that Poetry clones: when a working tree is being changed."""

from __future__ import annotations

import threading

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from typing import Protocol

    class Clones(Protocol):
        """What is told of clones; each is locked meanwhile."""

        def begun(self, place: Path) -> None:
            """The working tree of this clone is not whole from now on."""

        def finished(self, place: Path) -> None:
            """It is again, with its submodules."""


CLONES = Internals("git clones")


class _Now(threading.local):
    """The clone that a thread makes; those of its submodules are part of it."""

    place: Path | None = None

    @contextmanager
    def making(self, place: Path) -> Iterator[None]:
        self.place = place
        try:
            yield
        finally:
            self.place = None


_now = _Now()


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

    if _now.place:
        return clone()
    root = source_root or Git.get_default_source_root()
    place = Path(root) / (name or Git.get_name_from_source_url(url))
    with _now.making(place):
        repository = clone()
    clones.finished(place)
    return repository


@CLONES.around("poetry.vcs.git", "Git._fetch_remote_refs")
def _fetch_remote_refs(
    clones: Clones, original: Callable[..., Any], cls: type, *args: Any, **kwargs: Any
) -> Any:
    """Until all is fetched nothing is changed that Poetry relies on."""
    fetched = original(cls, *args, **kwargs)
    if _now.place:
        clones.begun(_now.place)
    return fetched


@CLONES.around("poetry.vcs.git", "Git._clone_legacy")
def _clone_legacy(
    clones: Clones, original: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """It removes the directory, then has git make it again."""
    if _now.place:
        clones.begun(_now.place)
    return original(*args, **kwargs)
