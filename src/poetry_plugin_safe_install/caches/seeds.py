"""Whether virtualenv's images of seed packages are whole.

virtualenv unpacks pip once and copies it into each new environment. Before 21.15.2 it
unpacks in place, and takes an image for whole as soon as there is a file in it.
"""

from __future__ import annotations

import os

from typing import TYPE_CHECKING
from zipfile import ZipFile


if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def is_whole(wheel: Path, image: Path) -> bool:
    """Whether the image has all files of the wheel, and virtualenv's own as well.

    :raises OSError: if the wheel cannot be read.
    """
    with ZipFile(wheel) as archive:
        sizes = {
            info.filename: info.file_size
            for info in archive.infolist()
            if not info.is_dir()
        }
    record = next(name for name in sizes if name.endswith(".dist-info/RECORD"))
    del sizes[record]
    return _has_files(image, sizes.items()) and _is_finished(image / record)


def _has_files(image: Path, sizes: Iterable[tuple[str, int]]) -> bool:
    try:
        return all(os.stat(image / name).st_size == size for name, size in sizes)
    except OSError:
        return False


def _is_finished(record: Path) -> bool:
    """``PipInstall._fix_records`` comes last, and names what it has generated."""
    try:
        return f"{record.parent.stem}.virtualenv" in record.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
