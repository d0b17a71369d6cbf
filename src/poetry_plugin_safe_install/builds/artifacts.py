"""Wheels and downloads on their way into the artifact cache.

A wheel that belongs into the artifact cache is built in a private directory beside its
place and then renamed, so that nobody ever sees half of it; for that no lock is needed.
"""

from __future__ import annotations

import os
import shutil
import time

from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import try_acquire
from poetry_plugin_safe_install.private_files import PREFIX
from poetry_plugin_safe_install.private_files import private_in
from poetry_plugin_safe_install.store import make_directory


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from poetry_plugin_safe_install.locks.lock import HeldLock

ABANDONED_AFTER = 24 * 3600
"""Seconds after which a private directory counts as left behind, locked or not."""


class Artifacts:
    """What one command puts into the cache; several threads call it at once."""

    def __init__(self, command: str) -> None:
        """:param command: as the user typed it."""
        self._command = command

    def wheel(self, place: Path, build: Callable[[Path], Path]) -> Path:
        """Build out of sight, then put the wheel in its place atomically."""
        try:
            private, hold = self._private_directory(place)
        except OSError:
            return build(place)  # let Poetry say in its own words what is wrong there
        try:
            built = build(private)
            target = place / built.name
            try:
                os.replace(built, target)
            except PermissionError:
                # On Windows a file that is being read cannot be replaced; what is
                # there was put there in the same way, and is as good.
                if not target.exists():
                    raise
            return target
        finally:
            # The lock goes first: where it is still held, Windows removes nothing.
            if hold:
                hold.release()
            shutil.rmtree(private, ignore_errors=True)

    def download(
        self, fetch: Callable[[str, Path], None]
    ) -> Callable[[str, Path], None]:
        """Poetry downloads beside the place and renames, but tidies up too much.

        ``ArtifactCache.get_cached_archive_for_link`` removes what is in the place when
        a download fails. That can only be what another command has put there.
        """

        @wraps(fetch)
        def download(url: str, destination: Path) -> None:
            try:
                fetch(url, destination)
            except Exception:
                if not destination.exists():
                    raise

        return download

    def _private_directory(self, place: Path) -> tuple[Path, HeldLock | None]:
        """A directory beside the final place of a wheel, for this build alone."""
        make_directory(place)
        remove_abandoned(place)
        while True:
            private = private_in(place)
            private.mkdir()
            try:
                hold = try_acquire(_lock_of(private), Mode.EXCLUSIVE, self._command)
            except LockUnavailableError:
                return private, None
            if hold and private.is_dir():
                return private, hold
            # Somebody took it for abandoned in the moment before it was locked.
            if hold:
                hold.release()


def is_abandoned(locked: bool | None, age: float) -> bool:
    """Whether nobody is building in a private directory any more.

    :param locked: whether somebody holds its lock; ``None`` where that cannot be known.
    :param age: seconds since it was made.
    """
    return age > ABANDONED_AFTER if locked is None else not locked


def remove_abandoned(place: Path) -> None:
    """Remove what builds that were cut off have left beside the place of a wheel."""
    for private in place.glob(f"{PREFIX}*"):
        hold = None
        locked: bool | None = None
        with suppress(LockUnavailableError):
            hold = try_acquire(_lock_of(private), Mode.EXCLUSIVE, "clean-up")
            locked = hold is None
        with suppress(OSError):
            if is_abandoned(locked, time.time() - private.stat().st_mtime):
                shutil.rmtree(private, ignore_errors=True)
        if hold:
            hold.release()


def _lock_of(private: Path) -> Lock:
    return Lock(private / ".lock", f"the build in {private}")
