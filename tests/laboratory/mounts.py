"""Temporary directories on file systems of their own, each seen by one command only.

The command runs in a mount namespace of its own, so that tests side by side do not see
each other's file systems, and nothing stays mounted when it ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.laboratory import without_links


if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

PLACE = next(
    (
        path
        for path in (Path("/media"), Path("/srv"), Path("/mnt"), Path("/opt"))
        if path.is_dir() and not any(path.iterdir())
    ),
    Path("/mnt"),
)
"""Where they are mounted: at the top, because Landlock allows what is named."""

MOUNT = """\
mount -t "$1" -o "$2" "$3" "$4" || exit 125
place=$4 left=$5
shift 5
"$@"
code=$?
find "$place" -mindepth 1 > "$left"
umount "$place"
exit $code
"""


@dataclass(frozen=True)
class Mount:
    """A file system for temporary files."""

    options: str = "rw"
    """``mount -o``."""
    links: bool = True
    """Whether the kernel allows symbolic links there."""
    kind: str = "tmpfs"
    source: str = "none"

    def around(self, left: Path = Path(os.devnull)) -> tuple[str, ...]:
        """What to put before a command so that it has this file system at ``PLACE``.

        :param left: a file for the names of all that the command leaves there.
        """
        prefix = [*_unshare(), "sh", "-c", MOUNT, "sh"]
        prefix += [self.kind, self.options, self.source, str(PLACE), str(left)]
        if not self.links:
            prefix += [sys.executable, str(without_links.__file__), str(PLACE)]
        return tuple(prefix)

    @cache  # noqa: B019 (there are a handful of them)
    def why_not(self) -> str:
        """Why there cannot be such a file system on this machine, if so."""
        if not shutil.which("unshare"):
            return "install unshare (util-linux)"
        result = subprocess.run(
            [*self.around(), "true"], capture_output=True, text=True
        )
        if not result.returncode:
            return ""
        why = result.stderr.strip().splitlines()[-1:] or [f"{result.returncode}"]
        return f"needs root or user namespaces, and Landlock to refuse links: {why[0]}"


@dataclass(frozen=True)
class Layers:
    """A directory as in a container: a layer of its image, and one for all changes.

    ``with`` has it mounted.
    """

    directory: Path
    above: Path
    """Where the changes go."""

    def restore(self) -> None:
        """Have the directory again as it is in the image."""
        self._unmount()
        shutil.rmtree(self.above, ignore_errors=True)
        upper, work = self.above / "upper", self.above / "work"
        upper.mkdir(parents=True)
        work.mkdir()
        layers = f"lowerdir={self.directory},upperdir={upper},workdir={work}"
        _output("mount", "-t", "overlay", "-o", layers, "overlay", self.directory)

    def __enter__(self) -> Self:
        try:
            self.restore()
        except (OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", "") or error
            pytest.skip(f"overlayfs cannot be mounted here: {why}")
        return self

    def __exit__(self, *exc: object) -> None:
        self._unmount()

    def _unmount(self) -> None:
        if os.path.ismount(self.directory):
            _output("umount", "--lazy", self.directory)


@contextmanager
def fat(image: Path) -> Iterator[Mount | None]:
    """A file system that knows no links, if this machine can have one."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    for mkfs, kind in (
        ("mkfs.vfat", "vfat"),
        ("mkfs.exfat", "exfat"),
        ("mkfs.exfat", "exfat-fuse"),
    ):
        program = shutil.which(mkfs, path=path)
        if not program or os.getuid() != 0:
            continue
        image.unlink(missing_ok=True)
        image.touch()
        os.truncate(image, 1024**3)
        _output(program, image)
        device = _output("losetup", "--find", "--show", image).strip()
        try:
            mount = Mount(kind=kind, source=device)
            if not mount.why_not():
                yield mount
                return
        finally:
            _output("losetup", "--detach", device)
    yield None


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _unshare() -> list[str]:
    alone = ["unshare", "--mount", "--propagation", "private"]
    return alone if os.getuid() == 0 else [*alone, "--user", "--map-root-user"]
