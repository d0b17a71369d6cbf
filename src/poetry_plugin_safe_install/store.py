"""Where the locks and plugin sets of a project are kept."""

from __future__ import annotations

import hashlib
import os
import stat
import sys

from contextlib import contextmanager
from contextlib import suppress
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

DIRECTORY_MODE = 0o775
FILE_MODE = 0o664
"""Before the user's umask; never writable for everyone, whatever the umask."""

DIRECTORY = ".poetry"
NAME = "safe-install"


class Store:
    """A directory for the locks and plugin sets of one project."""

    def __init__(
        self,
        path: Path,
        why_elsewhere: str = "",
        *,
        is_mistake: bool = False,
        locks: Path | None = None,
        records: Path | None = None,
    ) -> None:
        """
        :param why_elsewhere: why it is not in the project, where it cannot be.
        :param is_mistake: whether that is something the user did not intend, and should
            be told.
        :param locks: the directory of the locks, if it is not ``path``. It is in the
            project wherever it can be: where a lock lies must not depend on what may
            differ between two commands on one project.
        :param records: where holders are recorded, if not beside the locks.
        """
        self.path = path
        self.why_elsewhere = why_elsewhere
        self.is_mistake = is_mistake
        self.locks = locks or path
        self.records = records or self.locks

    @property
    def project_lock(self) -> Path:
        return self.locks / "project.lock"

    @property
    def build_lock(self) -> Path:
        return self.locks / "build.lock"

    @property
    def plugin_sets(self) -> Path:
        return self.path / "plugins"

    @property
    def set_locks(self) -> Path:
        """Beside the sets that they guard, wherever these are."""
        return self.path / "set-locks"

    @property
    def pair(self) -> Path:
        """What ``pairs`` keeps while ``add`` or ``remove`` writes its two files."""
        return self.locks / "pair.json"

    @property
    def rewritten(self) -> Path:
        """What ``rewrites`` keeps while a plugin has files of the project rewritten."""
        return self.locks / "rewritten.json"

    @property
    def is_trusted(self) -> bool:
        """Whether nobody but who may change the project has put its plugin sets there."""
        places = (self.path.parent, self.path) if self.why_elsewhere else ()
        return all(map(is_trusted, places))

    @property
    def is_used(self) -> bool:
        """Whether it has plugin sets, or leftovers of one."""
        return self.plugin_sets.exists() or self.staging.exists()

    @property
    def staging(self) -> Path:
        """Where plugin sets are made or removed; there only meanwhile."""
        return self.path / "staging"


def find_store(project: Path, cache_directory: Callable[[], Path]) -> Store:
    """The store that exists, or the one that would be created. Creates nothing.

    :param project: the directory of pyproject.toml.
    :param cache_directory: Poetry's; called only where the project cannot hold it.
    """
    inside = project / DIRECTORY / NAME
    obstacle = _obstacle(inside)
    packed = "" if obstacle else _why_packed(project)
    if not obstacle and not packed and _is_writable(inside):
        return Store(inside)
    key = hashlib.sha256(os.fsencode(os.path.realpath(project))).hexdigest()[:16]
    elsewhere = _own_place(cache_directory(), key)
    if obstacle:
        beside = project / f"{DIRECTORY}-{NAME}"
        locks = beside if _is_writable(beside) else None
        return Store(elsewhere, obstacle, is_mistake=True, locks=locks)
    if packed and _is_writable(inside):
        return Store(elsewhere, packed, locks=inside, records=elsewhere)
    # All that a command can change then is in the cache directory, its locks included.
    # Whoever can read the lock of those who can write shares it.
    why = f"{inside.parent} cannot be written"
    readable = os.access(inside / "project.lock", os.R_OK)
    return Store(elsewhere, why, locks=inside if readable else None)


def _own_place(cache: Path, key: str) -> Path:
    """In a cache that users share, not where another one may put plugins."""
    place = cache / NAME / key
    if is_trusted(place.parent) and is_trusted(place):
        return place
    return cache / f"{NAME}-{os.geteuid()}" / key


def make_store(store: Store) -> None:
    """Create the store and the directory of its locks; git ignores both."""
    make_directory(store.path)
    make_directory(store.locks)
    hidden = store.locks.parent
    if hidden.name != DIRECTORY:
        hidden = store.locks
    ignore = hidden / ".gitignore"
    if hidden.name.startswith(DIRECTORY) and not ignore.exists():
        with suppress(OSError), not_for_everyone():
            ignore.write_text("*", encoding="utf-8")
            let_read(ignore)


@contextmanager
def not_for_everyone() -> Iterator[None]:
    """Whatever is made meanwhile is not writable for everyone, whatever the umask."""
    umask = os.umask(0o077)
    os.umask(umask | 0o002)
    try:
        yield
    finally:
        os.umask(umask)


def make_directory(path: Path) -> None:
    """Make a directory and its parents, never writable for everyone."""
    for missing in reversed([p for p in (path, *path.parents) if not p.exists()]):
        missing.mkdir(DIRECTORY_MODE, exist_ok=True)
        let_read(missing)


def let_read(new: Path) -> None:
    """Have what is new in ``.poetry`` read by whoever can read the project.

    Poetry itself looks into that directory: with a strict umask root would lock the
    project's owner out of every command.
    """
    names = (DIRECTORY, f"{DIRECTORY}-{NAME}")
    inside = [place for place in (new, *new.parents) if place.name in names]
    if not inside or sys.platform == "win32":
        return
    with suppress(OSError):
        mode = stat.S_IMODE(new.lstat().st_mode)
        readers = inside[-1].parent.stat().st_mode & (0o055 if new.is_dir() else 0o044)
        if readers & ~mode:
            new.chmod(mode | readers)


def is_trusted(directory: Path) -> bool:
    """Whether nobody but this user and root can put anything there.

    One that is not there will be this user's.
    """
    if sys.platform == "win32":
        return True
    trusted = (0, os.geteuid())
    try:
        link, about = directory.lstat(), directory.stat()
    except FileNotFoundError:
        return not directory.is_symlink()
    except OSError:
        return False
    return (
        link.st_uid in trusted
        and about.st_uid in trusted
        and stat.S_ISDIR(about.st_mode)
        and not about.st_mode & stat.S_IWOTH
    )


def _obstacle(inside: Path) -> str:
    """What is in the way of the directory, if anything is."""
    for place in (inside.parent, inside):
        if place.is_symlink() and not place.exists():
            return f"{place} is a link that leads nowhere"
        if place.exists() and not place.is_dir():
            return f"{place} is a file, where Poetry keeps a directory"
    return ""


def _is_writable(inside: Path) -> bool:
    nearest = next(place for place in (inside, *inside.parents) if place.exists())
    return os.access(nearest, os.W_OK | os.X_OK)


def _why_packed(project: Path) -> str:
    """Hatchling packs into an sdist what the nearest .gitignore does not exclude.

    It does not read .gitignore files further down, and leaves out no directory of
    Poetry's by its name (``hatchling.builders``, 1.33). No other backend is known to.
    """
    try:
        if b"hatchling" not in (project / "pyproject.toml").read_bytes():
            return ""
    except OSError:
        return ""
    for directory in (project, *project.parents):
        with suppress(OSError, UnicodeDecodeError):
            lines = (directory / ".gitignore").read_text(encoding="utf-8").splitlines()
            if any(line.strip().strip("/") == DIRECTORY for line in lines):
                return ""
            break
        if (directory / ".git").exists():
            break
    return f"hatchling would pack it, for no .gitignore above it names {DIRECTORY}"
