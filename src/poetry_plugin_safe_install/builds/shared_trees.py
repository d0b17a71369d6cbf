"""Builds that share a source tree or the artifact cache with other commands.

A directory that a build backend runs in is locked while it does, for one process of
the backend only and never while another lock is asked for: so builds of two projects
that depend on each other cannot wait for each other. A wheel that belongs into the
artifact cache is built in a private directory beside its place and then renamed, so
that nobody ever sees half of it; for that no lock is needed.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid

from contextlib import contextmanager
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.config import cache_directory
from poetry_plugin_safe_install.compat.internals import DISTRIBUTION
from poetry_plugin_safe_install.errors import LockUnavailableError
from poetry_plugin_safe_install.locks.backend import choose
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import acquire
from poetry_plugin_safe_install.locks.lock import try_acquire
from poetry_plugin_safe_install.store import find_store
from poetry_plugin_safe_install.store import make_directory
from poetry_plugin_safe_install.store import make_store


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from cleo.io.io import IO

    from poetry_plugin_safe_install.compat.command_line import StartingCommand
    from poetry_plugin_safe_install.locks.lock import Hold
    from poetry_plugin_safe_install.locks.lock import Holder
    from poetry_plugin_safe_install.settings import Settings
    from poetry_plugin_safe_install.store import Store

PRIVATE = ".safe-install-"
"""How private directories are called: no name that Poetry looks for in its cache."""

ABANDONED_AFTER = 24 * 3600
"""Seconds after which a private directory counts as left behind, locked or not."""


def share_builds(command: StartingCommand, settings: Settings) -> None:
    """From now on this process builds without harm to others that do so too."""
    builds = SharedBuilds(
        command.line, settings.lock_timeout, command.io, settings.lock_backend
    )
    from poetry_plugin_safe_install.compat.builds import BUILDS
    from poetry_plugin_safe_install.compat.builds import BuildWatch

    command.patch(BUILDS, BuildWatch(builds))


def tree_lock(store: Store, tree: Path) -> Lock:
    return Lock(store.path / "build.lock", f"the source tree {tree}")


class SharedBuilds:
    """The builds of one command; its methods are called by several threads at once."""

    def __init__(
        self, command: str, timeout: float | None, io: IO, backend: str = "auto"
    ) -> None:
        """
        :param timeout: seconds to wait for another's build; ``None`` for ever.
        :param backend: the setting ``lock-backend``.
        """
        self._command = command
        self._timeout = timeout
        self._io = io
        self._backend = backend

    @contextmanager
    def tree(
        self, directory: Path, tell: Callable[[str], bool] | None = None
    ) -> Iterator[None]:
        """Keep a source tree to oneself while a build backend runs in it."""
        tree = Path(os.path.realpath(directory))
        hold = None
        # In a tree that cannot be written to, a build cannot disturb another either.
        if os.access(tree, os.W_OK | os.X_OK):
            store = find_store(tree, cache_directory)
            lock = tree_lock(store, tree)
            hold = self._hold(lock, lambda: make_store(store), tell)
        try:
            yield
        finally:
            if hold:
                hold.release()

    @contextmanager
    def checkout(self, place: Path) -> Iterator[None]:
        """Keep a git checkout to oneself, from cloning to the end of its use.

        The lock lies beside the checkout, which git wants to make itself. It is asked
        for before that of the source tree, never the other way round.
        """
        path = place.parent / ".safe-install" / f"{place.name}.lock"
        lock = Lock(path, f"the git checkout {place}")
        hold = self._hold(lock, lambda: make_directory(path.parent), None)
        try:
            yield
        finally:
            if hold:
                hold.release()

    def wheel(self, place: Path, build: Callable[[Path], Path]) -> Path:
        """Build out of sight, then put the wheel in its place at one stroke."""
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

    def _hold(
        self,
        lock: Lock,
        make_place: Callable[[], None],
        tell: Callable[[str], bool] | None,
    ) -> Hold | None:
        report = _Report(self._io, tell)
        try:
            make_place()
            choice = choose(lock.path.parent, self._backend)
            return acquire(
                lock._replace(backend=choice.backend),
                Mode.EXCLUSIVE,
                self._command,
                timeout=self._timeout,
                report=report,
            )[0]
        except (OSError, LockUnavailableError) as error:
            if self._io.is_verbose():
                self._io.write_error_line(
                    f"{DISTRIBUTION}: {lock.guards} is used without a lock: {error}"
                )
            return None

    def _private_directory(self, place: Path) -> tuple[Path, Hold | None]:
        """A directory beside the final place of a wheel, for this build alone."""
        make_directory(place)
        remove_abandoned(place)
        while True:
            private = place / f"{PRIVATE}{uuid.uuid4().hex}"
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


class _Report:
    """What a waiting build says.

    Other threads write to the terminal meanwhile, so nothing is updated in place but
    by Poetry itself.
    """

    def __init__(self, io: IO, tell: Callable[[str], bool] | None) -> None:
        self._io = io
        self._tell = tell
        self._next = 0.0

    def __call__(
        self, lock: Lock, holders: list[Holder], waited: float, timeout: float | None
    ) -> None:
        from poetry_plugin_safe_install.locks.waiting import REPEAT
        from poetry_plugin_safe_install.locks.waiting import waiting_text

        text = waiting_text(lock, holders, waited, timeout)
        if self._tell and self._tell(text):
            return
        if waited >= self._next:
            self._next = int(waited) + REPEAT
            self._io.write_error_line(text)


def is_abandoned(locked: bool | None, age: float) -> bool:
    """Whether nobody is building in a private directory any more.

    :param locked: whether somebody holds its lock; ``None`` where that cannot be known.
    :param age: seconds since it was made.
    """
    return age > ABANDONED_AFTER if locked is None else not locked


def remove_abandoned(place: Path) -> None:
    """Remove what builds that were cut off have left beside the place of a wheel."""
    for private in place.glob(f"{PRIVATE}*"):
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
