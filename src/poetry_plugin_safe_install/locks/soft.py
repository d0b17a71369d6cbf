"""Marker files with a heartbeat, where the kernel's locks do not hold."""

from __future__ import annotations

import os
import time

from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.store import make_directory


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEARTBEAT = 10.0
"""Seconds between two signs of life of a soft lock's holder."""

STALE_AFTER = 60.0
"""Seconds without a sign of life after which a soft lock's holder counts as dead.

sshfs shows the signs up to 20 s late, NFS up to 60 s where a file is not opened again.
All hosts have to agree: filelock refuses a marker that was made with another number.
"""

POLL_INTERVAL = 0.1
"""Seconds between two tries, which go over a network."""


class SoftAttempt:
    """The wish to have a marker file; nobody shares it.

    filelock's reader/writer lock would allow that, but it relies on hard links, and those
    of sshfs do not show that they are links: it never gets the lock there (filelock 4.2).
    """

    def __init__(self, path: Path) -> None:
        make_directory(path.parent)
        self._lock = soft_lock(path)
        self._marker = StaleMarker(self._lock)

    def once(self, gives_up: Callable[[], bool]) -> Any:
        """Try until the caller gives up, so that the holder's heartbeat is seen or missed.

        :return: what releases the lock; ``None`` if somebody else has it.
        """
        from filelock import Timeout

        def look() -> bool:
            self._marker.break_if_dead()
            return gives_up()

        try:
            self._lock.acquire(poll_interval=POLL_INTERVAL, cancel_check=look)
        except Timeout:
            return None
        return self._lock


def soft_lock(path: Path) -> Any:
    """filelock's marker file with a heartbeat for a lock file.

    :raises LockUnavailableError: if this filelock is too old.
    """
    import filelock

    lock_class = getattr(filelock, "SoftFileLease", None)
    if lock_class is None:
        raise LockUnavailableError(
            f"Locks between hosts need filelock 3.30 or newer, but Poetry's environment"
            f" holds {filelock.__version__}: `poetry self add filelock@latest`."
        )
    return lock_class(
        soft_path(path),
        lease_duration=STALE_AFTER,
        heartbeat_interval=HEARTBEAT,
        thread_local=False,
    )


def soft_path(path: Path) -> Path:
    """The marker file that stands for a lock file."""
    return path.with_name(f"{path.name}.soft")


class StaleMarker:
    """The marker of a holder, as seen by a command that waits for it.

    filelock takes over the marker of a holder that gives no sign of life, but only where
    two names can be exchanged atomically, and hardly any network filesystem does that
    (``break_lock_file`` of filelock 4.2). Elsewhere it leaves breaking to those who wait.
    """

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._sign: tuple[bytes, int] | None = None
        self._since = 0.0

    def break_if_dead(self) -> None:
        """Break the lock if its holder was silent for ``STALE_AFTER``; call this often."""
        sign = self._last_sign()
        now = time.monotonic()
        if sign != self._sign:
            self._sign, self._since = sign, now
        elif sign and now - self._since >= STALE_AFTER:
            self._break(sign)

    def _last_sign(self) -> tuple[bytes, int] | None:
        """What the next holder changes, and every heartbeat; ``None`` without a holder."""
        try:
            with open(self._lock.lock_file, "rb") as file:  # NFS asks its server then
                return file.read(), os.fstat(file.fileno()).st_mtime_ns
        except OSError:
            return None

    def _break(self, sign: tuple[bytes, int]) -> None:
        """One waiter alone, so that nobody breaks what another waiter has just taken."""
        from filelock import SoftFileLock
        from filelock import Timeout

        alone = SoftFileLock(f"{self._lock.lock_file}.break", blocking=False)
        with suppress(OSError, Timeout), alone:
            if self._last_sign() == sign:
                self._lock.force_break()
