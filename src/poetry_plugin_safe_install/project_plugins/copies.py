"""Copies of plugin sets in the user's cache, for every project and worktree here.

What a fresh clone requires has mostly been installed on this machine before. Then its set
is put together from the copy, without an index and without an installation; nothing is
ever imported from the cache, so that whatever is removed there disturbs nobody. ::

    <Poetry's cache directory>/safe-install/plugin-copies/
        <key>/copy.json         size and hash of every file; its time is the last use
        <key>/set/…             the files
        locks/<key>.lock        who makes the set that is missing
        staging/…               copies being made or being removed

A copy is published by renaming it, and never changed. It serves its owner only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import sys
import time

from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.command_line import parse_toml
from poetry_plugin_safe_install.compat.config import cache_directory
from poetry_plugin_safe_install.compat.config import configuration_file
from poetry_plugin_safe_install.project_plugins.sets import ABOUT
from poetry_plugin_safe_install.project_plugins.sets import MARK_INTERVAL
from poetry_plugin_safe_install.project_plugins.sets import UNUSED_AFTER
from poetry_plugin_safe_install.project_plugins.sets import staged_in
from poetry_plugin_safe_install.project_plugins.trees import DamagedError
from poetry_plugin_safe_install.project_plugins.trees import File
from poetry_plugin_safe_install.project_plugins.trees import SecondPlace
from poetry_plugin_safe_install.project_plugins.trees import check_file
from poetry_plugin_safe_install.project_plugins.trees import files_in
from poetry_plugin_safe_install.project_plugins.trees import is_own
from poetry_plugin_safe_install.settings import read_project_file


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1
"""Part of the key: another format is another copy."""

MANIFEST = "copy.json"

READ_WHOLE = 1 << 24
"""Bytes of a copy that is read wholly whenever it is used: hardly any is larger."""

SAMPLE = 16
"""Of a larger one of so many files one is read; the sizes of all are looked at."""

ABANDONED_AFTER = 24 * 3600
"""Seconds after which what is staged counts as left behind by a killed process."""

IRRELEVANT = {"parallel", "max-workers", "builtin-uninstall"}
"""Settings of Poetry's that do not decide what is installed."""


def key_of(**decides: Any) -> str:
    """The name of the copy of what is installed for these reasons."""
    interpreter = (sys.executable, os.path.realpath(sys.executable), sys.version)
    text = json.dumps([FORMAT, *interpreter, decides], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def relevant_settings(
    files: Iterable[Mapping[str, Any]], environ: Mapping[str, str]
) -> list[Any]:
    """What Poetry is told that decides what it installs: which wheels, how old, how built.

    :param files: Poetry's configuration files, as parsed.
    """
    found: list[Any] = []
    for content in files:
        for section in ("installer", "solver"):
            given = content.get(section, {})
            known = given.items() if isinstance(given, dict) else ()
            found.append({key: value for key, value in known if key not in IRRELEVANT})
    names = re.compile(r"POETRY_(INSTALLER|SOLVER)_(.*)|POETRY_PYPI_MIRROR_URL")
    for name in sorted(environ):
        told = names.fullmatch(name)
        if told and (told[2] or "").lower().replace("_", "-") not in IRRELEVANT:
            found.append([name, environ[name]])
    return found


def is_fixed(requires_plugins: Mapping[str, Any]) -> bool:
    """Whether each requirement stands for the same files wherever it is.

    A path is another one in each clone, and a branch or an address without a hash is
    another one tomorrow.
    """
    return all(
        _is_fixed(constraint)
        for given in requires_plugins.values()
        for constraint in (given if isinstance(given, list) else [given])
    )


def _is_fixed(constraint: Any) -> bool:
    if not isinstance(constraint, dict):
        return True
    if "path" in constraint or "file" in constraint:
        return False
    if "git" in constraint:
        return re.fullmatch("[0-9a-f]{40}", str(constraint.get("rev"))) is not None
    return "url" not in constraint or "#sha256=" in str(constraint["url"])


def is_installed_from_fixed(direct_url: Mapping[str, Any]) -> bool:
    """The same of what was installed, which a requirement of a requirement may name.

    :param direct_url: https://packaging.python.org/en/latest/specifications/direct-url/
    """
    if vcs := direct_url.get("vcs_info"):
        return bool(vcs.get("requested_revision") == vcs.get("commit_id"))
    return "archive_info" in direct_url and "#sha256=" in str(direct_url.get("url"))


class Copy:
    """A copy that is complete."""

    def __init__(self, path: Path) -> None:
        """
        :raises FileNotFoundError: if there is none.
        :raises DamagedError: if it cannot be read.
        """
        self.path = path
        self.manifest = path / MANIFEST
        self.tree = path / "set"
        try:
            told = json.loads(self.manifest.read_bytes())
            entries = told["entries"].items()
            self.entries = {_within(path): int(count) for path, count in entries}
            self.requires = [*map(str, told["requires"])]
            self.files = [
                File(_within(path), int(size), str(digest), bool(executable))
                for path, size, digest, executable in told["files"]
            ]
        except FileNotFoundError:
            raise
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise DamagedError(f"{self.manifest}: {error}") from error

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.size for file in self.files)

    @property
    def last_used(self) -> float:
        """Seconds since the epoch, as precise as a day."""
        return self.manifest.stat().st_mtime

    def sample(self) -> set[str]:
        """What is read whenever it is used.

        Of a large copy other files each time, and always those that tell Poetry of plugins.
        """
        if self.size <= READ_WHOLE:
            return {file.path for file in self.files}
        start = os.urandom(1)[0] % SAMPLE
        chosen = {file.path for file in self.files[start::SAMPLE]}
        return chosen | {
            file.path for file in self.files if file.path.endswith("entry_points.txt")
        }

    def check_all(self) -> None:
        """
        :raises DamagedError: if a file is not what it was.
        """
        for file in self.files:
            check_file(self.tree, file, thoroughly=True)

    def mark_used(self) -> None:
        with suppress(OSError):
            if time.time() - self.last_used > MARK_INTERVAL:
                os.utime(self.manifest)


def _within(path: str) -> str:
    """
    :raises ValueError: if it leads out of the set.
    """
    if os.path.isabs(path) or ".." in path.split("/"):
        raise ValueError(path)
    return path


class PluginCopies:
    """The copies of one user."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staging = root / "staging"

    def lock_path(self, key: str) -> Path:
        return self.root / "locks" / f"{key}.lock"

    def prepare(self) -> bool:
        """Make the directory of the copies.

        :return: whether it can be had, and is this user's alone.
        """
        with suppress(OSError):
            self.root.parent.mkdir(parents=True, exist_ok=True)
            self.root.mkdir(0o700, exist_ok=True)
            self.lock_path("").parent.mkdir(0o700, exist_ok=True)
            return self._is_private
        return False

    @property
    def _is_private(self) -> bool:
        about = self.root.lstat()
        nobody_else = os.name == "nt" or not about.st_mode & stat.S_IWGRP
        return stat.S_ISDIR(about.st_mode) and is_own(about) and nobody_else

    def take(self, key: str, staged: Path, about: Mapping[str, Any]) -> bool:
        """Put a set together from its copy; a copy that is damaged is removed.

        :param staged: where; it does not exist yet.
        :param about: recorded in the set, for people.
        :return: whether there was a copy that is whole.
        """
        path = self.root / key
        try:
            copy = Copy(path)
            _put_together(copy, staged, about)
        except OSError:  # there is none, it is being removed, or the project is full
            return False
        except DamagedError:
            self.remove(path)
            return False
        copy.mark_used()
        return True

    def put(self, key: str, plugin_set: Path, requires: Iterable[str]) -> bool:
        """Keep a copy of a set, unless something in it is another one elsewhere.

        The caller has the lock of the copy, where it can be had. What cannot be written is no error: the set itself is there.

        :return: whether there is one now.
        """
        try:
            if not all(map(is_installed_from_fixed, _direct_urls(plugin_set))):
                return False
            files = files_in(plugin_set, besides=ABOUT)
            entries = json.loads((plugin_set / ABOUT).read_bytes())["entries"]
            told = {
                "requires": [*requires],
                "entries": entries,
                "files": [file.row for file in files],
            }
            with staged_in(self._staging) as staged:
                for directory in (staged, staged / "set"):
                    directory.mkdir(0o700)
                _write_read_only(staged / MANIFEST, told)
                place = SecondPlace(staged / "set", staged / MANIFEST)
                for file in files:
                    source = check_file(plugin_set, file, thoroughly=False)
                    place.put(plugin_set / file.path, file, source)
                if (self.root / key).exists():
                    self.remove(self.root / key)
                os.replace(staged, self.root / key)
        except (OSError, ValueError, KeyError, DamagedError):
            return (self.root / key / MANIFEST).exists()
        finally:
            self._remove_unused(time.time())
        return True

    def everything(self) -> Iterator[tuple[Path, Copy | None]]:
        """Every copy with its directory; ``None`` for one that cannot be read."""
        with suppress(OSError):
            for path in sorted(self.root.iterdir()):
                if path.name in ("locks", "staging"):
                    continue
                with suppress(FileNotFoundError):
                    try:
                        yield path, Copy(path)
                    except DamagedError:
                        yield path, None

    def _remove_unused(self, now: float) -> None:
        with suppress(OSError):
            for path in [*self.root.iterdir()]:
                if path.name not in ("locks", "staging"):
                    with suppress(OSError):
                        if now - (path / MANIFEST).stat().st_mtime > UNUSED_AFTER:
                            self.remove(path)
            for left in [*self._staging.iterdir()]:
                with suppress(OSError):
                    if now - left.lstat().st_mtime > ABANDONED_AFTER:
                        shutil.rmtree(left, ignore_errors=True)

    def remove(self, path: Path) -> None:
        """Remove a copy atomically; nothing is read from it while a command runs."""
        with suppress(OSError), staged_in(self._staging) as removed:
            os.replace(path, removed)
        with suppress(OSError):
            self.lock_path(path.name).unlink()
            self.lock_path(path.name).with_suffix(".lock.holders").rmdir()


class SetCopy:
    """The copy of one set, whether or not there is one yet."""

    def __init__(self, copies: PluginCopies, key: str) -> None:
        self._copies = copies
        self._key = key
        self.path = copies.root / key
        self.lock_path = copies.lock_path(key)

    def take(self, staged: Path, about: Mapping[str, Any]) -> bool:
        return self._copies.take(self._key, staged, about)

    def put(self, plugin_set: Path, requires: Iterable[str]) -> bool:
        return self._copies.put(self._key, plugin_set, requires)


def copy_of(
    pyproject: Path, requires: Mapping[str, Any], interpreter: str, installed: set[str]
) -> SetCopy | None:
    """The copy of what a project requires; ``None`` where there must not be one.

    :param interpreter: see ``sets.interpreter_name``.
    :param installed: what is installed in Poetry's own environment: see
        ``sets.set_name``.
    """
    copies = PluginCopies(copies_directory())
    if not is_fixed(requires) or not copies.prepare():
        return None
    places = (configuration_file(), pyproject.with_name("poetry.toml"))
    key = key_of(
        interpreter=interpreter,
        requires=requires,
        installed=sorted(installed),
        sources=read_project_file(pyproject).sources,
        settings=relevant_settings(map(_parsed, places), os.environ),
    )
    return SetCopy(copies, key)


def copies_directory() -> Path:
    return cache_directory() / "safe-install" / "plugin-copies"


def _parsed(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return parse_toml(path.read_text(encoding="utf-8"))
    return {}


def _put_together(copy: Copy, staged: Path, about: Mapping[str, Any]) -> None:
    thoroughly = copy.sample()
    staged.mkdir(0o775)
    _write_read_only(staged / ABOUT, {**about, "entries": copy.entries})
    place = SecondPlace(staged, staged / ABOUT)
    for directory in copy.entries:  # also those without files
        (staged / directory).mkdir(0o775, parents=True, exist_ok=True)
    for file in copy.files:
        source = check_file(copy.tree, file, thoroughly=file.path in thoroughly)
        place.put(copy.tree / file.path, file, source)


def _write_read_only(path: Path, content: Any) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)


def _direct_urls(plugin_set: Path) -> Iterator[dict[str, Any]]:
    for path in plugin_set.glob("lib/*.dist-info/direct_url.json"):
        yield json.loads(path.read_bytes())
