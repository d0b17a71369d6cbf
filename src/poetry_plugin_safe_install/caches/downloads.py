"""Downloads into the artifact cache: one for all commands that want the same file.

The lock only saves work. Poetry downloads beside the place and renames, so that nobody
sees half a file; where no lock can be taken, each command downloads for itself.
"""

from __future__ import annotations

import hashlib
import os

from contextlib import ExitStack
from contextlib import contextmanager
from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat import DISTRIBUTION
from poetry_plugin_safe_install.compat.config import cache_directory
from poetry_plugin_safe_install.errors import LockTimeoutError
from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.locks.clock import WaitClock
from poetry_plugin_safe_install.locks.line_report import LineReport
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import acquire
from poetry_plugin_safe_install.store import make_directory


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from cleo.io.io import IO

    from poetry_plugin_safe_install.locks.lock import HeldLock
    from poetry_plugin_safe_install.settings import Settings


class SharedDownloads:
    """The downloads of one command; its threads call this at once."""

    def __init__(self, command: str, io: IO, settings: Settings) -> None:
        """:param command: as the user typed it."""
        self._command = command
        self._io = io
        self._settings = settings

    @contextmanager
    def alone(
        self, destination: Path, tell: Callable[[str], bool] | None = None
    ) -> Iterator[None]:
        """Have nobody else download this file meanwhile, if that can be had."""
        lock = download_lock(destination, self._settings.lock_backend)
        with ExitStack() as stack:
            # Whoever waits too long downloads for itself.
            with suppress(OSError, LockTimeoutError, LockUnavailableError):
                stack.callback(_release, self._acquire(lock, tell))
            yield

    def again(self, file: Path) -> None:
        self._io.write_error_line(
            f"<warning>{DISTRIBUTION}: {file.name} in Poetry's cache is not the file that"
            " the lock file names; it is downloaded once more.</warning>"
        )

    def is_whole(self, wheel: Path) -> bool:
        from zipfile import BadZipFile
        from zipfile import ZipFile

        try:
            with ZipFile(wheel) as archive:  # its list of files comes last
                return bool(archive.namelist())
        except (OSError, BadZipFile):
            return False

    def _acquire(self, lock: Lock, tell: Callable[[str], bool] | None) -> HeldLock:
        make_directory(lock.path.parent)
        clock = WaitClock()
        held, _ = acquire(
            lock,
            Mode.EXCLUSIVE,
            self._command,
            timeout=self._settings.lock_timeout,
            report=LineReport(self._io, tell, clock),
            clock=clock,
        )
        return held


def download_lock(destination: Path, backend: str = "auto") -> Lock:
    """:param backend: the setting ``lock-backend``."""
    place = cache_directory() / "safe-install" / "downloads"
    key = hashlib.sha256(os.fsencode(os.path.realpath(destination))).hexdigest()
    path = place / f"{key[:32]}.lock"
    return Lock(path, f"the download of {destination.name}", place, backend)


def _release(held: HeldLock) -> None:
    """Remove the lock file too: whoever waits finds the file, and needs no lock then."""
    with suppress(OSError):
        held.lock.path.unlink()
    held.release()
    with suppress(OSError):
        held.lock.records.rmdir()
