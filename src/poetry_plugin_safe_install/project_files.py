"""The files that a plugin of Poetry's may rewrite: the project's, and those of the path
dependencies, which poetry-dynamic-versioning rewrites too (1.10,
``_patch_dependency_versions``)."""

from __future__ import annotations

import os
import sys

from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.command_line import parse_toml
from poetry_plugin_safe_install.compat.command_line import real_path
from poetry_plugin_safe_install.locks.session import first_project_lock
from poetry_plugin_safe_install.locks.session import project_lock
from poetry_plugin_safe_install.store import find_store
from poetry_plugin_safe_install.store import make_store


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cleo.io.io import IO

    from poetry_plugin_safe_install.locks.lock import Lock
    from poetry_plugin_safe_install.store import Store

NAMES = ("pyproject.toml", "poetry.lock")
READ = (*NAMES, "poetry.toml")
"""What Poetry reads of a project."""


class ProjectFiles:
    """Those of one command: their locks, and whether they were rewritten."""

    def __init__(self, io: IO, pyproject: Path, store: Store, backend: str) -> None:
        """
        :param pyproject: with its real directory.
        :param backend: the setting ``lock-backend``.
        """
        self.io = io
        self.pyproject = pyproject
        self._store = store
        self._backend = backend
        self._locked = [pyproject.parent]
        self._stores = {pyproject.parent: store}
        self._before = fingerprint(pyproject.parent)
        self._seen: list[object] = []

    def locks(self, *, others: bool, alike: str = "") -> list[Lock]:
        """The locks of all that may be rewritten, in the order that all commands keep.

        :param others: whether there are other plugins.
        :param alike: see ``Lock.alike``.
        """
        root = self.pyproject.parent
        self._locked = with_path_dependencies(self.pyproject) if others else [root]
        found = []
        for directory in self._locked:
            store = self._store_of(directory)
            for lock_of in (project_lock, first_project_lock):
                if lock := lock_of(store, directory, self._backend):
                    lock.alike = alike
                    found.append(lock)
        return found

    @property
    def own_lock(self) -> Lock:
        """The lock of the command's own project."""
        return self.lock_of(self.pyproject.parent)

    def lock_of(self, directory: Path) -> Lock:
        return project_lock(self._store_of(directory), directory, self._backend)

    @property
    def journals(self) -> dict[Path, Path]:
        """Where ``rewrites`` keeps what was rewritten, by the directory of a project."""
        return {at: store.rewritten for at, store in self._stores.items()}

    @property
    def left_rewritten(self) -> list[Path]:
        """Projects with such a file: a command rewrites them, or it has died."""
        return [at for at, file in self.journals.items() if os.path.exists(file)]

    def _store_of(self, directory: Path) -> Store:
        if directory != self.pyproject.parent:
            from poetry_plugin_safe_install.compat.config import cache_directory

            store = find_store(directory, cache_directory)
            make_store(store)
            self._stores[directory] = store
            return store
        if not (self._store.path.is_dir() and self._store.locks.is_dir()):
            make_store(self._store)
            self._announce_store()
        return self._store

    def _announce_store(self) -> None:
        store, io = self._store, self.io
        if store.is_mistake or (store.why_elsewhere and io.is_verbose()):
            what, also = "locks and plugin sets", ""
            if store.locks != store.path:
                what, also = "plugin sets", f", its locks in {store.locks}"
            io.write_error_line(
                f"<warning>{store.why_elsewhere}: {what} of this project"
                f" are kept in {store.path}{also}.</warning>"
            )

    @property
    def are_others_now(self) -> bool:
        """Whether there are other path dependencies than those that were locked."""
        is_alone = len(self._locked) == 1
        return not is_alone and with_path_dependencies(self.pyproject) != self._locked

    @property
    def are_locked(self) -> bool:
        """Whether there is a lock file."""
        return os.path.exists(self.pyproject.with_name("poetry.lock"))

    def alike(self, command: str) -> str:
        """The same for all commands whose plugins do the same to this project."""
        seen = fingerprint(self.pyproject.parent)
        return f"{command} {os.path.realpath(sys.prefix)} {seen[0]}"

    @property
    def have_changed(self) -> bool:
        """Whether they may be others than when this was asked last: yes at first.

        The contents count too: a rewrite in place may come to the size that a file had,
        within what the clock of its file system can tell apart.
        """
        before, self._seen = self._seen, [*map(contents, self._locked)]
        return before != self._seen

    def remember(self) -> None:
        """Nobody else rewrites them from now on."""
        self._before = fingerprint(self.pyproject.parent)

    @property
    def were_rewritten(self) -> bool:
        return fingerprint(self.pyproject.parent) != self._before


def fingerprint(project: Path) -> list[object]:
    """What is compared to tell whether the files of a project were rewritten.

    :param project: the directory of pyproject.toml.
    """
    return [identity(project / name) for name in NAMES]


def identity(path: Path) -> tuple[int, int, int] | None:
    """The same as long as nobody writes the file; ``None`` where there is none."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


def contents(project: Path) -> list[object]:
    """The files of a project that Poetry reads, and how they came to be.

    :param project: the directory of pyproject.toml.
    """
    found: list[object] = []
    for name in READ:
        try:
            with (project / name).open("rb") as file:
                about = os.fstat(file.fileno())
                identity = (about.st_ino, about.st_mtime_ns, about.st_ctime_ns)
                found.append((identity, file.read()))
        except OSError:
            found.append(None)
    return found


def with_path_dependencies(pyproject: Path) -> list[Path]:
    """The directory of a project and those of all path dependencies, nearest or not.

    :param pyproject: with its real directory.
    :return: real directories, in the order in which everybody locks them. Those that
        cannot be written to are left out: nobody rewrites anything there.
    """
    found = {pyproject.parent}
    left = [pyproject]
    while left:
        for directory in _path_dependencies(left.pop()):
            file = directory / "pyproject.toml"
            if directory in found or not os.access(directory, os.W_OK | os.X_OK):
                continue
            if file.is_file():
                found.add(directory)
                left.append(file)
    return sorted(found)


def _path_dependencies(pyproject: Path) -> Iterator[Path]:
    try:
        content = parse_toml(pyproject.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    project, tool = content.get("project", {}), content.get("tool", {})
    poetry = tool.get("poetry", {}) if isinstance(tool, dict) else {}
    for named in (
        *_paths(poetry),
        *_urls(project),
        *_urls(content.get("dependency-groups")),
    ):
        directory = real_path(pyproject.parent / named)
        if directory.is_dir():
            yield directory


def _paths(value: Any) -> Iterator[str]:
    """``{path = "../lib"}``, wherever it is."""
    if isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str):
            yield path
    parts = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list)):
        for part in parts:
            yield from _paths(part)


def _urls(value: Any) -> Iterator[str]:
    """``"lib @ file:///srv/lib"``, wherever it is."""
    if isinstance(value, str) and "@" in value and "file:" in value:
        from urllib.parse import unquote
        from urllib.parse import urlsplit

        url = value.partition("@")[2].partition(";")[0].strip()
        yield unquote(urlsplit(url).path)
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _urls(part)
