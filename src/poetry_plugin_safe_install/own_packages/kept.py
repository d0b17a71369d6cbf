"""Copies of Poetry's own packages, which outlive the command that made them.

They lie in site-packages until Poetry has been tried out. Where it does not start any
more, ``python -m poetry_plugin_safe_install.own_packages.kept`` puts them back. So
nothing but the standard library is imported here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping

DIRECTORY = ".poetry-safe-install-kept"
MANIFEST = "kept.json"
FICLONE = 0x40049409
"""``linux/fs.h``."""


class Kept:
    """The copies that one command has made.

    They share no file with the originals: a hard link would change with them, as
    Poetry opens existing files for writing.
    """

    def __init__(self, place: Path) -> None:
        """
        :param place: the directory of that command in ``DIRECTORY``.
        """
        self._place = place
        self._copies: dict[str, dict[str, str]] = {}
        """Each copy by its original, for each package."""
        self.proof: dict[str, Any] = {}
        """What there was to be said of Poetry before anything was changed."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            told = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
            self._copies, self.proof = told["copies"], told["proof"]

    @property
    def packages(self) -> list[str]:
        return sorted(self._copies)

    def keep(self, originals: Mapping[str, Iterable[Path]], proof: Any) -> None:
        """Copy the files of packages that are about to be changed.

        :raises OSError: if there is no room for them.
        """
        for name, files in originals.items():
            copies: dict[str, str] = {}
            for original in files:
                copy = self._place / name / str(len(copies))
                copy.parent.mkdir(parents=True, exist_ok=True)
                _copy(original, copy)
                copies[str(original)] = str(copy)
            self._copies[name] = copies
        self.proof = proof
        new = self._place / f"{MANIFEST}.new"
        told = {"copies": self._copies, "proof": proof}
        new.write_text(json.dumps(told), encoding="utf-8")
        new.replace(self._place / MANIFEST)

    def put_back(self) -> None:
        for name, copies in self._copies.items():
            _remove(name, {Path(path).parent for path in copies})
            for original, copy in copies.items():
                _replace(Path(original), Path(copy))

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            (self._place / MANIFEST).unlink()
        shutil.rmtree(self._place, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._place.parent.rmdir()  # unless there are others


def left_in(sites: Iterable[str | Path]) -> list[Kept]:
    """What is there of commands that died, if nobody changes the environment now."""
    return [
        Kept(place)
        for site in dict.fromkeys(map(str, sites))
        for place in sorted(Path(site, DIRECTORY).glob("*"))
    ]


def _copy(original: Path, copy: Path) -> None:
    """Copy a file with its mode and times, sharing its blocks where that is possible."""
    with original.open("rb") as source, copy.open("wb") as target:
        if not _reflink(source.fileno(), target.fileno()):
            shutil.copyfileobj(source, target)
    shutil.copystat(original, copy)


def _reflink(source: int, target: int) -> bool:
    """The request FICLONE: ioctl_ficlonerange(2)."""
    if sys.platform != "linux":
        return False
    from fcntl import ioctl

    try:
        ioctl(target, FICLONE, source)
    except OSError:
        return False
    return True


def _remove(name: str, directories: Iterable[Path]) -> None:
    """Remove what has come in the place of a distribution.

    :param directories: where the distribution had its files.
    """
    places = {str(directory) for path in directories for directory in path.parents}
    places |= {str(directory) for directory in directories}
    for distribution in metadata.distributions(
        path=[path for path in sys.path if os.path.abspath(path) in places]
    ):
        found = distribution.metadata["Name"] or ""
        if re.sub(r"[-_.]+", "-", found).lower() != name:  # PEP 503
            continue
        for file in distribution.files or []:
            path = Path(str(file.locate()))
            with contextlib.suppress(OSError):
                path.unlink()
            with contextlib.suppress(OSError):
                path.parent.rmdir()  # if that was the last one


def _replace(original: Path, copy: Path) -> None:
    """Put a file in its place in one step, so that nobody reads half of it."""
    original.parent.mkdir(parents=True, exist_ok=True)
    beside = original.with_name(f".{original.name}.{os.getpid()}")
    _copy(copy, beside)
    os.replace(beside, original)


if __name__ == "__main__":
    for kept in left_in(sys.path):
        kept.put_back()
        print("put back:", ", ".join(kept.packages))
        kept.discard()
