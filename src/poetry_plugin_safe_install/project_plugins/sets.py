"""Plugin sets: the project's own Poetry plugins, one immutable set per interpreter.

A set is installed into a staging directory and published by renaming it into place;
from then on it is never written again, so a reader needs no lock: it sees the whole
of a set or none of it. ::

    .poetry/safe-install/
        plugins/<interpreter>/<set>/lib     what goes on sys.path
        plugins/<interpreter>/<set>/bin     console scripts, and so on
        plugins/<interpreter>/<set>.used    the mark: last use, and who uses it now
        set-locks/<interpreter>-<set>.lock  who makes it
        staging/…                           sets being made or being removed
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import sysconfig
import time
import uuid

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.locks.flock import HAS_FLOCK
from poetry_plugin_safe_install.locks.flock import lock_descriptor
from poetry_plugin_safe_install.project_plugins.trees import make_read_only
from poetry_plugin_safe_install.store import FILE_MODE
from poetry_plugin_safe_install.store import make_directory
from poetry_plugin_safe_install.store import not_for_everyone


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Iterator
    from pathlib import Path

    from poetry_plugin_safe_install.store import Store

UNUSED_AFTER = 30 * 24 * 3600
"""Seconds without use after which a set is removed."""

ABOUT = "set.json"
"""The file in a set that says what it is."""

MARK_INTERVAL = 24 * 3600
"""Seconds between two touches of a set's mark."""


def interpreter_name(poetry_version: str) -> str:
    """The directory name for what decides whether a set can be loaded.

    Python's version, implementation, ABI and platform, and Poetry's version.
    """
    implementation = sys.implementation
    version = ".".join(str(part) for part in sys.version_info[:3])
    abi = f"{implementation.cache_tag}{getattr(sys, 'abiflags', '')}"
    platform = getattr(implementation, "_multiarch", "") or sysconfig.get_platform()
    return f"{implementation.name}-{version}-{abi}-{platform}-poetry-{poetry_version}"


def set_name(requires_plugins: dict[str, Any], installed: Iterable[str]) -> str:
    """The name of the set that satisfies these requirements beside these packages.

    :param requires_plugins: the section ``[tool.poetry.requires-plugins]``.
    :param installed: what is installed in Poetry's own environment, as its
        ``name-version.dist-info`` directories are called: it decides what must be
        added.
    """
    wanted = json.dumps([requires_plugins, sorted(installed)], sort_keys=True)
    return hashlib.sha256(wanted.encode()).hexdigest()[:16]


def installed_names(paths: Iterable[str]) -> set[str]:
    """The metadata directories under these entries of ``sys.path``.

    Their names hold all that is wanted, so nothing is opened:
    ``importlib.metadata`` would read a file per package.
    """
    found: set[str] = set()
    for path in paths:
        with contextlib.suppress(OSError), os.scandir(path or ".") as entries:
            found.update(
                entry.name
                for entry in entries
                if entry.name.endswith((".dist-info", ".egg-info"))
            )
    return found


class PluginSet:
    """A published set."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def lib(self) -> Path:
        return self.path / "lib"

    @property
    def mark(self) -> Path:
        return self.path.with_name(self.path.name + ".used")

    @property
    def is_whole(self) -> bool:
        """Whether no file is missing.

        A set is never changed, so that a directory that has fewer entries than it had
        at first has lost some: somebody has removed them.
        """
        try:
            told = json.loads((self.path / ABOUT).read_text(encoding="utf-8"))
            return all(
                len(os.listdir(self.path / directory)) >= entries
                for directory, entries in told.get("entries", {}).items()
            )
        except (OSError, ValueError):
            return False

    @property
    def last_used(self) -> float:
        """Seconds since the epoch, as precise as a day."""
        for witness in (self.mark, self.path):
            with contextlib.suppress(OSError):
                return witness.stat().st_mtime
        return 0.0

    def use(self) -> bool:
        """Mark the set as in use by this process, until the process ends.

        :return: whether it may be used: not if it is being removed this moment.
        """
        with contextlib.suppress(OSError):
            if time.time() - self.mark.stat().st_mtime > MARK_INTERVAL:
                os.utime(self.mark)
        return self.keep()

    def keep(self) -> bool:
        """Keep the set from being removed until the process ends, and change nothing.

        :return: as ``use``.
        """
        return _hold_mark(self.mark, shared=True) is not False and self.path.is_dir()


class PluginSets:
    """The plugin sets of one project, as one interpreter sees them."""

    def __init__(self, store: Store, interpreter: str) -> None:
        self.staging = store.staging
        self.all_interpreters = store.plugin_sets
        self._locks = store.set_locks
        self.interpreter = interpreter
        self._own = store.plugin_sets / interpreter
        self._store = store

    def exact(self, name: str) -> PluginSet | None:
        """The set of this name, if it has been published for this interpreter."""
        found = PluginSet(self._own / name)
        return found if found.path.is_dir() and self._is_usable(found) else None

    def newest(self) -> PluginSet | None:
        """The newest set of this interpreter, whatever it was made for."""
        return max(
            (found for found in _sets_in(self._own) if self._is_usable(found)),
            key=lambda found: found.path.stat().st_mtime,
            default=None,
        )

    def _is_usable(self, found: PluginSet) -> bool:
        return found.is_whole and self._store.is_trusted

    def everything(self) -> list[PluginSet]:
        """Every set of the project, of all interpreters."""
        with contextlib.suppress(OSError):
            return [
                found
                for directory in sorted(self.all_interpreters.iterdir())
                for found in _sets_in(directory)
            ]
        return []

    def publish(
        self, name: str, fill: Callable[[Path], None], about: dict[str, Any]
    ) -> PluginSet:
        """Make a set and publish it. The caller shares the project, and has its lock.

        :param fill: installs what belongs into the set into the directory it is
            given, which does not exist yet. If it raises, nothing is left behind.
        :param about: recorded in the set, for people.
        """
        target = self._own / name
        with self._staged() as staged:
            with not_for_everyone():
                fill(staged)
                _compile(staged, target)
                _describe(staged, {**about, "entries": _entries(staged)})
            make_read_only(staged)
            self._put_in_place(staged, target)
        return PluginSet(target)

    def take(self, name: str, put_together: Callable[[Path], bool]) -> bool:
        """Publish what was made elsewhere; the caller holds what it does for ``publish``.

        :param put_together: puts it into the directory it is given, which does not exist
            yet.
        :return: whether it has.
        """
        with self._staged() as staged:
            with not_for_everyone():
                if not put_together(staged):
                    return False
            self._put_in_place(staged, self._own / name)
        return True

    def _put_in_place(self, staged: Path, target: Path) -> None:
        if target.is_dir() and not PluginSet(target).is_whole:
            with self._staged() as broken:
                os.replace(target, broken)
        _put_in_place(staged, target)

    def lock_path(self, name: str) -> Path:
        """The lock of a set that is being made."""
        return self._lock_path(self._own / name)

    def _lock_path(self, path: Path) -> Path:
        return self._locks / f"{path.parent.name}-{path.name}.lock"

    def remove_locks(self) -> None:
        """The caller holds the project exclusively."""
        shutil.rmtree(self._locks, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what is staged. The caller holds the project exclusively.

        Nobody else can be making a set then, so all that is there is left by a
        command that was killed.
        """
        shutil.rmtree(self.staging, ignore_errors=True)

    def unused(self, now: float) -> list[PluginSet]:
        return [
            found for found in self.everything() if now - found.last_used > UNUSED_AFTER
        ]

    def remove(self, sets: Iterable[PluginSet]) -> None:
        """Remove sets that nobody uses this moment, each atomically.

        The caller holds the project exclusively. A set in use stays for a later call.
        """
        for found in sets:
            hold = _hold_mark(found.mark, shared=False)
            if hold is False:
                continue
            with contextlib.suppress(OSError), self._staged() as removed:
                os.replace(found.path, removed)
                found.mark.unlink(missing_ok=True)
                self._lock_path(found.path).unlink(missing_ok=True)
            if hold is not None:
                os.close(hold)
            for directory in (found.path.parent, self.all_interpreters):
                with contextlib.suppress(OSError):
                    directory.rmdir()

    @contextlib.contextmanager
    def _staged(self) -> Iterator[Path]:
        """A place out of sight; what is still there at the end is removed."""
        with staged_in(self.staging) as place:
            yield place


@contextlib.contextmanager
def staged_in(staging: Path) -> Iterator[Path]:
    """A place out of sight; what is still there at the end is removed.

    :param staging: is there only as long as something is in it.
    """
    make_directory(staging)
    place = staging / uuid.uuid4().hex
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):
            staging.rmdir()


def _sets_in(directory: Path) -> Iterator[PluginSet]:
    with contextlib.suppress(OSError):
        for path in sorted(directory.iterdir()):
            if path.is_dir():
                yield PluginSet(path)


def _compile(staged: Path, target: Path) -> None:
    """Compile now what readers would otherwise write into the published set."""
    import compileall

    compileall.compile_dir(
        staged / "lib",
        quiet=2,
        stripdir=str(staged),
        prependdir=str(target),
    )


def _describe(staged: Path, about: dict[str, Any]) -> None:
    (staged / ABOUT).write_text(json.dumps(about, indent=2), encoding="utf-8")


def _entries(staged: Path) -> dict[str, int]:
    """How many entries each directory of a set has."""
    return {
        os.path.relpath(directory, staged): len(directories) + len(files)
        for directory, directories, files in os.walk(staged)
    }


def _put_in_place(staged: Path, target: Path) -> None:
    make_directory(target.parent)
    fd = os.open(PluginSet(target).mark, os.O_RDWR | os.O_CREAT, FILE_MODE)
    os.utime(PluginSet(target).mark)
    os.close(fd)
    try:
        os.replace(staged, target)
    except OSError:
        if not target.is_dir():  # somebody else was faster, and theirs is as good
            raise


def _hold_mark(mark: Path, *, shared: bool) -> int | bool | None:
    """Lock a set's mark without waiting.

    :return: the descriptor that holds it; ``None`` where such a lock cannot be had at
        all, so that only the age of the mark counts; ``False`` if somebody is in the way.
    """
    if sys.platform == "win32" or not HAS_FLOCK:
        return None
    try:
        fd = os.open(mark, os.O_RDWR)
    except FileNotFoundError:
        return None
    except OSError:  # a reader without permission to write
        try:
            fd = os.open(mark, os.O_RDONLY)
        except OSError:
            return None
    try:
        return fd if lock_descriptor(fd, shared=shared) else False
    except OSError:
        return None
