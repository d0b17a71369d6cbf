"""Files of a cache that others read and replace at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poetry_plugin_safe_install import private_files
from poetry_plugin_safe_install.caches import files
from poetry_plugin_safe_install.private_files import PREFIX


if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_killed_commands_left_is_removed_after_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (f"{PREFIX}half", "other"):
        (tmp_path / name).write_bytes(b"half")
    files.write_whole(tmp_path / "file", b"whole")
    assert len([*tmp_path.iterdir()]) == 3

    monkeypatch.setattr(private_files, "ABANDONED_AFTER", -60)  # seconds in the past
    files.write_whole(tmp_path / "file", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "other"}
