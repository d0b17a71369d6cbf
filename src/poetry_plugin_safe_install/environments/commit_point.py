"""A package counts as installed only when it is.

Its dist-info is made out of sight, in the directory of its journal, and renamed into
site-packages after every other file; when the package is removed, it is renamed out
before any other file. So whoever looks (Poetry, pip, uv, ``importlib.metadata``) sees
either the whole package or none, whenever a process is killed.
"""

from __future__ import annotations

import csv
import errno
import os
import shutil

from contextlib import contextmanager
from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.installs import PROJECT
from poetry_plugin_safe_install.environments import journal
from poetry_plugin_safe_install.environments.places import JOURNALS
from poetry_plugin_safe_install.environments.removal import committed
from poetry_plugin_safe_install.environments.removal import named_in
from poetry_plugin_safe_install.environments.removal import remove
from poetry_plugin_safe_install.environments.removal import remove_tree
from poetry_plugin_safe_install.environments.targets import Targets
from poetry_plugin_safe_install.errors import EnvironmentChangeError


if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Iterable
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from poetry_plugin_safe_install.environments.journal import Change
    from poetry_plugin_safe_install.environments.removal import Places
    from poetry_plugin_safe_install.environments.removal import RealPaths
    from poetry_plugin_safe_install.environments.uv_lock import UvLock


class CommitPoint:
    """How packages are installed and removed in one environment."""

    def __init__(self, places: Places, uv: UvLock) -> None:
        self._places = places
        self._uv = uv
        self.targets = Targets()
        self._free: dict[str, list[str]] = {}
        """By site-packages, empty directories of operations that are over."""

    def writing(self) -> AbstractContextManager[None]:
        """Keep uv away meanwhile."""
        return self._uv.writing()

    def ended(self) -> None:
        """What ``install`` has begun is over, in whichever way."""
        self._uv.end()

    @property
    def may_be_outdated(self) -> bool:
        """Whether others may have changed packages since Poetry has looked at them."""
        return self._uv.was_released

    def concerns(self, site: str) -> bool:
        """Whether a site-packages is one of the environment's."""
        return self._places.real.directory(site) in self._places.sites

    def install(
        self,
        site: str,
        package: str,
        job: str,
        files: Collection[str],
        pip_makes: str = "",
    ) -> Installation:
        """Begin to install a package; ``ended`` has to follow.

        :param files: the paths that are going to be written, without its dist-info.
        :param pip_makes: the name of its dist-info, if pip makes it where it stays.
        :raises EnvironmentChangeError: if its journal cannot be written.
        """
        self._uv.begin()
        try:
            change = self._begin(site, package, job)
            if pip_makes:
                change.trees = [pip_makes, put_aside_by_pip(pip_makes)]
            return Installation(self, change, files, self._places.real)
        except OSError as error:
            self._uv.end()
            raise EnvironmentChangeError(f"{package}: {error}") from error

    def remove(
        self, dist_info: str, package: str, job: str, trees: Collection[str]
    ) -> bool:
        """Remove an installed package, its dist-info first.

        :param trees: directories that go with it.
        :return: whether it was done; it is not where something else than this plugin
            has to decide what is removed.
        :raises EnvironmentChangeError: if something cannot be removed.
        """
        dist_info = os.path.abspath(dist_info)
        if not self._can_remove(dist_info):
            return False
        site = os.path.dirname(dist_info)
        try:
            change = journal.begin(site, package, job)
            change.removes = True
            change.trees = [os.path.relpath(tree, site) for tree in trees]
            journal.write(change)
        except OSError:
            return False
        try:
            _take_out(change, dist_info)
        except OSError:
            journal.close(change)
            return False
        with _told(change):
            if job == PROJECT:  # it shares no file with others: no RECORD is read
                finish_removal(change, self._places, frozenset())
            else:
                files = removed_by(change, self._places)
                with self._removing(change, files) as kept:
                    finish_removal(change, self._places, kept, files)
        return True

    def _begin(self, site: str, package: str, job: str) -> Change:
        with suppress(IndexError):
            free = self._free.setdefault(site, [])
            return journal.in_place(free.pop(), package, job)
        return journal.begin(site, package, job)

    def over(self, change: Change) -> None:
        """What was installed is, and left its directory empty."""
        journal.end(change)
        self._free.setdefault(change.site, []).append(change.place)

    def close(self) -> None:
        """Leave nothing behind that says nothing."""
        journal.sweep(self._places.sites)

    def _can_remove(self, dist_info: str) -> bool:
        """Whether there is a RECORD, and every directory it names can be written."""
        site = os.path.dirname(dist_info)
        real = self._places.real
        if self._places.is_managed or not dist_info.endswith(".dist-info"):
            return False
        if not real(dist_info, "").startswith(self._places.prefix + os.sep):
            return False
        try:
            names = list(named_in(os.path.join(dist_info, "RECORD")))
        except (OSError, ValueError):
            return False
        directories = {os.path.dirname(real(site, name)) for name in names}
        return bool(names) and all(
            os.access(directory, os.W_OK | os.X_OK) or not os.path.isdir(directory)
            for directory in directories
            if self._places.hold(directory + os.sep)
        )

    def undo(self, change: Change) -> None:
        files = {self._places.real(change.site, name) for name in change.files}
        with self._removing(change, files) as kept:
            undo_installation(change, self._places, kept)
        self.targets.end(change.key)

    @contextmanager
    def _removing(self, change: Change, files: set[str]) -> Iterator[set[str]]:
        """Yields the files of what is installed, and of what other threads install."""
        with self.targets.removing(change.key, files) as others:
            yield belongs_to_others(change, self._places) | others


class Installation:
    """One package that is being written."""

    def __init__(
        self,
        changes: CommitPoint,
        change: Change,
        paths: Collection[str],
        real: RealPaths,
    ) -> None:
        self._changes = changes
        self._change = change
        self._real = real
        self._paths = set(paths)
        self._dist_info = ""
        self.site = change.site
        self.staging = f"{JOURNALS}/{change.key}"
        """Where the dist-info is made, relative to site-packages."""
        self.temporary = change.temporary
        """The name under which a file is written that replaces another one."""
        self._write_journal()

    def stage(self, dist_info: str) -> str:
        """Where it is made, relative to site-packages."""
        self._dist_info = dist_info
        return self.staging

    @property
    def dist_info(self) -> str | None:
        """The dist-info that is being made, if it has been begun."""
        if not self._dist_info:
            return None
        return os.path.join(self._change.place, self._dist_info)

    def writes(self, path: str) -> bool:
        """A file is about to be written; the journal names it, if it does not yet.

        :return: whether it was not there, and nobody else is about to write it.
        """
        if path not in self._paths:
            self._paths.add(path)
            with _told(self._change):
                self._write_journal()
        return path in self._new and not self._changes.targets.is_contested

    def replace(self, temporary: str, path: str) -> None:
        with _told(self._change):
            os.replace(temporary, path)

    def commit(self) -> None:
        """Have the package installed from now on.

        What lies in the way is a dist-info that Poetry did not take for one.
        """
        made = self.dist_info
        is_in_the_way = False
        if made is not None:
            place = os.path.join(self.site, self._dist_info)
            with _told(self._change):
                try:
                    os.rename(made, place)
                except OSError:
                    is_in_the_way = os.path.lexists(place)
                    if not is_in_the_way:
                        raise
                    _clear(place, os.path.join(self._change.place, "old"))
                    os.rename(made, place)
        self._changes.targets.end(self._change.key)
        if is_in_the_way:
            journal.close(self._change)
        else:
            self._changes.over(self._change)

    def undo(self) -> None:
        """Remove what has been written; what cannot be now is left to the next."""
        with suppress(OSError):
            self._changes.undo(self._change)

    def _write_journal(self) -> None:
        """Name what is not there yet, or is there because another thread writes it."""
        was_new = set(self._change.files)
        targets, key = self._changes.targets, self._change.key
        waited = True
        while waited:  # then some of them are gone
            files = list(_look(self._paths, self.site, self._real))
            others, waited = targets.start(key, {file[1] for file in files})
        self._new = {path for path, _, _, is_there in files if not is_there}
        new = {
            name
            for _, real, name, is_there in files
            if not is_there or real in others or name in was_new
        }
        replaced = {os.path.dirname(file[2]) for file in files if file[2] not in new}
        self._change.files = list(new)
        self._change.replaces = list(replaced)
        journal.write(self._change)


def _look(
    paths: Iterable[str], site: str, real: RealPaths
) -> Iterator[tuple[str, str, str, bool]]:
    """Each path, the real one, that relative to a directory, and whether it is there.

    Where a directory is not there, none of its files is looked for.
    """
    by_directory: dict[str, list[str]] = {}
    for path in paths:
        directory, _, name = path.rpartition(os.sep)
        by_directory.setdefault(directory, []).append(name)
    for directory, names in by_directory.items():
        is_directory = os.path.isdir(directory)
        start = f"{directory}{os.sep}"
        relative = _relative(real.directory(directory), site)
        for name, path in zip(names, real.each(directory, names), strict=True):
            is_there = is_directory and os.path.lexists(path)
            yield start + name, path, relative + os.path.normcase(name), is_there


def _relative(directory: str, site: str) -> str:
    """What precedes the names of the files of a directory, relative to another one."""
    directory = os.path.normcase(directory)
    if directory == site:
        return ""
    if not directory.startswith(site + os.sep):
        with suppress(ValueError):  # another drive
            return os.path.join(os.path.relpath(directory, site), "")
    return os.path.join(directory.removeprefix(site + os.sep), "")


@contextmanager
def _told(change: Change) -> Iterator[None]:
    """Have what the system refuses told as the failure of this package."""
    try:
        yield
    except OSError as error:
        raise EnvironmentChangeError(f"{change.package}: {error}") from error


def _take_out(change: Change, dist_info: str) -> None:
    """Move a dist-info out of sight: from then on the package is not installed.

    :raises OSError: if that cannot be done; nothing is changed then.
    """
    name = os.path.basename(dist_info)
    try:
        os.rename(dist_info, os.path.join(change.place, name))
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    # A directory from a lower layer of overlayfs, as in a container's image.
    shutil.copy(os.path.join(dist_info, "RECORD"), change.place)
    change.stays = name
    journal.write(change)
    os.unlink(os.path.join(dist_info, "METADATA"))


def _clear(place: str, elsewhere: str) -> None:
    try:
        os.rename(place, elsewhere)
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(place, "METADATA"))
        shutil.rmtree(place)


def undo_installation(change: Change, places: Places, kept: Collection[str]) -> None:
    """Remove what was written for a package that is not installed.

    :param kept: what belongs to others; where the package is installed after all, it
        is its own.
    """
    real = places.real
    files = {real(change.site, name) for name in change.files}
    directories = {os.path.dirname(file) for file in files}
    directories.update(os.path.join(change.site, name) for name in change.replaces)
    for directory in directories:
        with suppress(OSError):
            os.unlink(os.path.join(directory, change.temporary))
    remove(files.difference(kept), places)
    for name in left_by_pip(change):
        remove_tree(os.path.join(change.site, name), places)
    journal.close(change)


def put_aside_by_pip(dist_info: str) -> str:
    """The name that pip gives what it is about to remove.

    As in ``pip._internal.utils.temp_dir.AdjacentTempDirectory``.
    """
    return f"~{dist_info[1:]}"


def left_by_pip(change: Change) -> list[str]:
    """What is not whole of the dist-info of an installation, relative to site-packages.

    pip writes the RECORD of the wheel like every other file. The last one names what pip
    has added, too.
    """
    return [
        name
        for name in change.trees
        if os.path.isdir(os.path.join(change.site, name))
        and (name.startswith("~") or not _names_installer(change.site, name))
    ]


def _names_installer(site: str, dist_info: str) -> bool:
    with suppress(OSError, csv.Error):
        record = os.path.join(site, dist_info, "RECORD")
        return any(name.endswith("/INSTALLER") for name in named_in(record))
    return False


def belongs_to_others(change: Change, places: Places) -> set[str]:
    """The files of what is installed, but for what the change has left."""
    return committed(places, {change.stays, *left_by_pip(change)})


def finish_removal(
    change: Change,
    places: Places,
    kept: Collection[str],
    files: set[str] | None = None,
) -> None:
    """Remove the files of a package whose dist-info is gone from site-packages.

    Where it is still there, the removal has not begun.

    :param files: see ``removed_by``, where that is known.
    """
    if has_begun(change):
        for tree in change.trees:
            remove_tree(os.path.join(change.site, tree), places)
        files = files or removed_by(change, places)
        if change.stays:
            _remove_where_it_is(os.path.join(change.site, change.stays))
        remove(files.difference(kept), places)
    journal.close(change)


def removed_by(change: Change, places: Places) -> set[str]:
    """The files of a package whose dist-info is gone from site-packages."""
    real = places.real
    directory = change.dist_info or change.place
    named = named_in(os.path.join(directory, "RECORD"))
    out_of_sight = real(change.site, os.path.basename(directory)) + os.sep
    paths = (real(change.site, name) for name in named)
    return {path for path in paths if not path.startswith(out_of_sight)}


def has_begun(change: Change) -> bool:
    """Whether the package of a removal is no longer installed."""
    if not change.stays:
        return change.dist_info is not None
    metadata = os.path.join(change.site, change.stays, "METADATA")
    return not os.path.exists(metadata)


def _remove_where_it_is(dist_info: str) -> None:
    """Without METADATA it is no package for Poetry, without entry points no plugin."""
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(dist_info, "entry_points.txt"))
    shutil.rmtree(dist_info, ignore_errors=True)
