from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cleo.io.buffered_io import BufferedIO

from poetry_plugin_safe_install.pairs import Pair
from poetry_plugin_safe_install.pairs import asked_for
from poetry_plugin_safe_install.store import Store


if TYPE_CHECKING:
    from pathlib import Path

BEFORE = b"""\
[project]
name = "demo"
version = "9.9.9"
dependencies = ["bud"]

[dependency-groups]
dev = ["leaf"]
"""
REVERTED = BEFORE.replace(b'version = "9.9.9"\n', b'dynamic = ["version"]\n')
"""As a plugin puts it back that puts the version in for the length of a command."""

OTHERS = [
    BEFORE.replace(b'["bud"]', b'["bud", "leaf"]'),
    BEFORE.replace(b'["leaf"]', b"[]"),
    BEFORE.replace(b"[dependency-groups]", b"[tool.poetry.group.dev.dependencies]"),
    b"project = 1\n",
    b"tool = [1]\n",
    b"no TOML",
    b"\xff",
]


def test_what_is_asked_for() -> None:
    assert asked_for(REVERTED) == asked_for(BEFORE) is not None
    assert all(asked_for(other) != asked_for(BEFORE) for other in OTHERS)
    assert [asked_for(other) for other in OTHERS[-4:]] == [None] * 4


@pytest.mark.parametrize("locked", [b"old", None])
@pytest.mark.parametrize(
    ("pyproject", "is_put_back"),
    [(BEFORE, True), (REVERTED, True), *((other, False) for other in OTHERS)],
)
def test_lock_file_is_put_back(
    pyproject: bytes, is_put_back: bool, locked: bytes | None, tmp_path: Path
) -> None:
    path, lock = tmp_path / "pyproject.toml", tmp_path / "poetry.lock"
    path.write_bytes(BEFORE)
    if locked:
        lock.write_bytes(locked)
    new = tmp_path / "new"
    new.write_bytes(b"new")
    Pair(path, Store(tmp_path), BufferedIO()).begin(new)
    new.rename(lock)
    path.write_bytes(pyproject)

    Pair(path, Store(tmp_path), BufferedIO()).put_back()

    content = lock.read_bytes() if lock.exists() else None
    assert content == (locked if is_put_back else b"new")
    assert not Store(tmp_path).pair.exists()


def test_what_a_plugin_makes_of_it_counts_too(tmp_path: Path) -> None:
    path, lock = tmp_path / "pyproject.toml", tmp_path / "poetry.lock"
    path.write_bytes(OTHERS[0])
    (new := tmp_path / "new").write_bytes(b"new")
    Pair(path, Store(tmp_path), BufferedIO()).begin(new, BEFORE)
    new.rename(lock)
    path.write_bytes(REVERTED)

    Pair(path, Store(tmp_path), BufferedIO()).put_back()

    assert not lock.exists()
