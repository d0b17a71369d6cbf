"""What is being changed in an environment, so that it is known after any death.

Every package that is installed or removed has a directory of its own in site-packages,
``.poetry-safe-install/<operation>/``, from before the first change until after the last:
``journal.json`` says what is under way, and beside it lies the package's dist-info
while it is out of sight. A removed environment takes them along.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time

from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.environments.places import JOURNALS


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator
    from collections.abc import Sequence

FILE = "journal.json"
_NUMBERS = itertools.count(1)


class Change:
    """A package that is being installed or removed.

    No dataclass: every install would pay for making it.
    """

    def __init__(
        self,
        place: str,
        package: str,
        job: str,
        pid: int,
        since: float,
        removes: bool = False,
        files: Sequence[str] = (),
        replaces: Sequence[str] = (),
        trees: Sequence[str] = (),
        stays: str = "",
    ) -> None:
        """
        :param place: the operation's own directory.
        :param job: what the user asked for: ``install``, ``update`` or ``uninstall``.
        :param since: seconds since the epoch.
        :param files: what is going to be written and was not there before, relative to
            site-packages; empty for a removal.
        :param replaces: directories, relative to site-packages, in which existing files
            are replaced.
        :param trees: directories that go with a removed package, relative to
            site-packages; those of a dist-info that pip makes for an installed one.
        :param stays: the name of a dist-info that cannot be moved and is removed where
            it is; then its RECORD is in ``place``.
        """
        self.place = place
        self.package = package
        self.job = job
        self.pid = pid
        self.since = since
        self.removes = removes
        self.files = files
        self.replaces = replaces
        self.trees = trees
        self.stays = stays

    @property
    def key(self) -> str:
        """Distinguishes what is being done at the same time."""
        return os.path.basename(self.place)

    @property
    def site(self) -> str:
        """The site-packages that is being changed."""
        return os.path.dirname(os.path.dirname(self.place))

    @property
    def temporary(self) -> str:
        """The name under which a file is written before it replaces another one."""
        return f"{JOURNALS}-{self.key}"

    @property
    def dist_info(self) -> str | None:
        """The dist-info that is out of sight, if there is one."""
        with suppress(OSError):
            for name in os.listdir(self.place):
                if name.endswith(".dist-info"):
                    return os.path.join(self.place, name)
        return None


def begin(site: str, package: str, job: str) -> Change:
    """Make room for the journal of an operation.

    :raises OSError: if nothing can be written there.
    """
    parent = os.path.join(site, JOURNALS)
    while True:
        place = os.path.join(parent, f"{os.getpid()}-{next(_NUMBERS)}")
        try:
            os.mkdir(place)
        except FileExistsError:
            continue
        except FileNotFoundError:
            os.makedirs(parent, exist_ok=True)
            continue
        return in_place(place, package, job)


def in_place(place: str, package: str, job: str) -> Change:
    """An operation in the directory of one that is over, which is empty."""
    return Change(place, package, job, os.getpid(), time.time())


def write(change: Change) -> None:
    """Write the journal, or write it again: it is always whole."""
    told = {name: value for name, value in vars(change).items() if name != "place"}
    text = json.dumps(told)
    new = os.path.join(change.place, f"{FILE}.new")
    try:
        _write(new, text)
    except FileNotFoundError:  # a descendant has swept before anything was under way
        os.makedirs(change.place, exist_ok=True)
        _write(new, text)
    os.replace(new, os.path.join(change.place, FILE))


def _write(file: str, text: str) -> None:
    with open(file, "w", encoding="utf-8") as opened:
        opened.write(text)


def end(change: Change) -> None:
    """The operation is over, and its directory empty: it is there for another one."""
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(change.place, FILE))


def close(change: Change) -> None:
    """The operation is over: nothing is left to be done."""
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(change.place, FILE))
    try:
        os.rmdir(change.place)
    except OSError:
        shutil.rmtree(change.place, ignore_errors=True)


def changes_in(site: str) -> Iterator[Change]:
    """What is under way, or was when a process died.

    A directory without a journal is left from an operation that has not begun or is
    over; it is not told of.
    """
    parent = os.path.join(site, JOURNALS)
    for name in _listed(parent):
        place = os.path.join(parent, name)
        with suppress(OSError, ValueError, TypeError):
            with open(os.path.join(place, FILE), encoding="utf-8") as file:
                told = json.load(file)
            yield Change(place, **told)


def sweep(sites: Iterable[str]) -> None:
    """Remove what is left of operations that are over."""
    for site in sites:
        parent = os.path.join(site, JOURNALS)
        told = {change.key for change in changes_in(site)}
        for name in _listed(parent):
            if name not in told:
                shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
        with suppress(OSError):
            os.rmdir(parent)


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
