"""virtualenv's images of pip, which it copies into each new environment."""

from __future__ import annotations

import threading

from contextlib import ExitStack
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Protocol

    from virtualenv.seed.embed.via_app_data.pip_install.base import PipInstall

    class Seeds(Protocol):
        """What is asked before an image is used."""

        def is_whole(self, wheel: Path, image: Path) -> bool:
            """Whether all of the wheel is in the image, and what comes with it."""


WHOLE_SINCE = "21.15.2"
"""The virtualenv that first builds images out of sight; seen in its source."""

VIRTUALENV = "virtualenv 20.32.0 to 21.15.8"

GROUPS = tuple(
    f"virtualenv.{name}" for name in ("activate", "create", "discovery", "seed")
)

MAKING = Internals("new environments")
SEEDS = Internals("virtualenv's images")

_importing = threading.Lock()


@MAKING.around("virtualenv", "cli_run", seen_in=VIRTUALENV)
def _cli_run(
    seeds: SeedsWatch, original: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Threads that build distributions come here at once.

    The first imports what all of them need: threads that import the same modules in
    different orders may wait for each other.
    """
    with _importing:
        seeds.prepare()
    return original(*args, **kwargs)


class SeedsWatch:
    """The context of ``MAKING``: has ``seeds`` asked when an environment is made."""

    def __init__(self, seeds: Seeds) -> None:
        self._seeds = seeds
        self._undo = ExitStack()
        self._is_prepared = False

    def prepare(self) -> None:
        if self._is_prepared:
            return
        self._is_prepared = True
        _import_plugins()
        if not SEEDS.missing():
            self._undo.enter_context(SEEDS.applied(self._seeds))

    def undo(self) -> None:
        self._undo.close()


@MAKING.uses(
    "virtualenv.run.plugin.base", "PluginLoader.entry_points_for", seen_in=VIRTUALENV
)
def _import_plugins() -> None:
    from virtualenv.run.plugin.base import PluginLoader

    for group in GROUPS:
        PluginLoader.entry_points_for(group)


_BASE = "virtualenv.seed.embed.via_app_data.pip_install.base"


@SEEDS.uses(
    _BASE,
    "PipInstall._image_dir",
    "PipInstall._wheel",
    "PipInstall.clear",
    seen_in=VIRTUALENV,
)
@SEEDS.around(_BASE, "PipInstall.has_image", seen_in=VIRTUALENV)
def _has_image(
    seeds: Seeds, original: Callable[..., bool], installer: PipInstall
) -> bool:
    """Asked under virtualenv's lock of the image; if there is none it is built."""
    if not original(installer):
        return False
    if seeds.is_whole(installer._wheel, installer._image_dir):
        return True
    installer.clear()
    return False


def virtualenv_version() -> str:
    from virtualenv.version import __version__

    return __version__
