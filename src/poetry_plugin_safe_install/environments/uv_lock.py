"""uv's own lock of an environment, which this plugin holds while packages are written.

uv locks ``<environment>/.lock`` for the length of a command that changes packages
(``PythonEnvironment::lock``, uv 0.5 and later). A build script may run uv on the very
environment that is being installed. So while a build backend runs, this lock is taken
package by package; as long as none runs, it is kept. Whoever has it asks for no other
lock.
"""

from __future__ import annotations

import threading

from contextlib import contextmanager
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.locks.lock import Mode


if TYPE_CHECKING:
    from collections.abc import Iterator

    from poetry_plugin_safe_install.locks.lock import HeldLock
    from poetry_plugin_safe_install.locks.lock import Lock
    from poetry_plugin_safe_install.locks.session import Session


class UvLock:
    """That of the environment that one command changes; its threads share it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changed = threading.Condition()
        self._lock: Lock | None = None
        self._held: HeldLock | None = None
        self._is_wanted = False
        """Whether a thread is waiting for it."""
        self._writers = 0
        self._backends = 0
        self.was_released = False
        """Whether others may have changed packages since the command looked at them."""

    def guard(self, lock: Lock | None) -> None:
        """Hold it from now on.

        :param lock: ``None`` where uv has none.
        """
        self.release()
        self._lock = lock
        self.was_released = False
        with self.writing():
            pass

    def release(self) -> None:
        """Whoever writes a package takes it again."""
        with self._changed:
            self._drop()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A package is written or removed meanwhile, by a thread.

        :raises LockTimeoutError: naming the holder, if it is known.
        """
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self) -> None:
        """As ``writing``; ``end`` has to follow."""
        with self._changed:
            self._writers += 1
            self._changed.wait_for(lambda: not self._is_wanted)
            if self._held or self._lock is None:
                return
            self._is_wanted = True
        held = None
        try:
            held = self._take(self._lock)
        except BaseException:
            self._writers -= 1
            raise
        finally:
            with self._changed:
                self._held, self._is_wanted = held, False
                self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._writers -= 1
            self._release_if_idle()

    @contextmanager
    def backend(self) -> Iterator[None]:
        """A build backend runs meanwhile."""
        with self._changed:
            self._backends += 1
            self._release_if_idle()
        try:
            yield
        finally:
            with self._changed:
                self._backends -= 1

    def _take(self, lock: Lock) -> HeldLock | None:
        try:
            held = self._session.try_now(lock, Mode.EXCLUSIVE) or self._wait_for(lock)
        except LockUnavailableError:  # then uv has none either
            return None
        if not self._backends:  # otherwise it is not kept
            held.announce()
        return held

    def _wait_for(self, lock: Lock) -> HeldLock:
        return self._session.wait_for(lock, Mode.EXCLUSIVE, self._session.report())

    def _release_if_idle(self) -> None:
        if self._backends and not self._writers:
            self._drop()

    def _drop(self) -> None:
        if self._held:
            self._held.release()
            self._held = None
            self.was_released = True
