"""The caches of the machine during one command, whether it has a project or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.caches import http
from poetry_plugin_safe_install.caches import seeds
from poetry_plugin_safe_install.caches.downloads import SharedDownloads
from poetry_plugin_safe_install.caches.files import remove_tree
from poetry_plugin_safe_install.caches.files import replacing
from poetry_plugin_safe_install.compat.artifacts import ARTIFACTS
from poetry_plugin_safe_install.compat.caches import HTTP_CACHE
from poetry_plugin_safe_install.compat.caches import RELEASE_CACHE
from poetry_plugin_safe_install.compat.command_events import Protection
from poetry_plugin_safe_install.compat.config import cache_directory
from poetry_plugin_safe_install.compat.seeds import MAKING
from poetry_plugin_safe_install.compat.seeds import SeedsWatch
from poetry_plugin_safe_install.settings import settings_or_default


if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from poetry_plugin_safe_install.compat.command_line import StartingCommand


def protect_caches(
    command: StartingCommand, protection: Protection | None
) -> Protection | None:
    """Protect the caches until the command ends, unless the user does not want that.

    :param protection: that of the command's project, if it has one.
    :return: what protects the command.
    """
    settings = settings_or_default(command)
    if protection is None and not settings.enabled:
        return None
    command.patch(HTTP_CACHE, http)
    command.patch(RELEASE_CACHE, ReleaseFiles())
    command.patch(ARTIFACTS, SharedDownloads(command.line, command.io, settings))
    protect_seeds(command)
    return protection or Protection()


def protect_seeds(command: StartingCommand) -> None:
    """Have pip whole in the environments that this command makes."""
    watch = SeedsWatch(seeds)
    command.patch(MAKING, watch)
    command.at_end(watch.undo)


class ReleaseFiles:
    """The files that Poetry keeps what it knows of releases in."""

    def replacing(self, path: Path) -> AbstractContextManager[Path]:
        return replacing(path)

    def remove_all(self, directory: Path) -> None:
        remove_tree(directory, cache_directory() / "safe-install" / "trash")
