"""Files of a cache that others read and replace at the same time."""

from __future__ import annotations

import os

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.caches import files


if TYPE_CHECKING:
    from pathlib import Path


def test_what_killed_commands_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / f"{files.PRIVATE}old", tmp_path / f"{files.PRIVATE}new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    files.write_whole(tmp_path / "file", b"whole")
    assert sorted(tmp_path.iterdir()) == [new, tmp_path / "file"]
