"""Entries of the HTTP cache: two files of one generation."""

from __future__ import annotations

import errno
import itertools
import os

from typing import TYPE_CHECKING

import pytest

from poetry_plugin_safe_install.caches import http
from poetry_plugin_safe_install.private_files import PREFIX


if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("length", "digest", "content_length", "older", "plausible"),
    [
        (10, None, 10, False, True),
        (10, None, 10, True, True),  # after a 304 of unprotected Poetry
        (9, None, 10, False, False),
        (0, None, 0, True, True),
        (10, None, None, False, True),
        (10, None, None, True, False),
        (10, "digest", None, True, True),  # after a 304
    ],
)
def test_what_is_plausible(
    length: int,
    digest: str | None,
    content_length: int | None,
    older: bool,
    plausible: bool,
) -> None:
    assert plausible is http.is_plausible(
        length, digest=digest, content_length=content_length, is_older=lambda: older
    )


@pytest.mark.parametrize("size", [0, 10, http.IN_MEMORY + 1])
def test_a_body_and_its_digest(size: int, tmp_path: Path) -> None:
    path, body = tmp_path / "a" / "entry", os.urandom(size)
    http.write_entry(path, b"metadata", memoryview(body), 0o600)
    digest = http.digest_of(body)

    found = http.open_body(path, digest, None)

    assert found
    assert (found[0].read(), found[1]) == (body, digest)
    found[0].close()
    assert http.open_body(path, http.digest_of(b"other"), None) is None
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    assert path.read_bytes() == b"metadata"


def test_metadata_that_somebody_else_has_replaced_stays(tmp_path: Path) -> None:
    path = tmp_path / "entry"
    path.write_bytes(b"theirs")
    http.write_metadata(path, b"ours", b"before", 0o600)
    assert path.read_bytes() == b"theirs"
    http.write_metadata(path, b"ours", b"theirs", 0o600)
    assert path.read_bytes() == b"ours"
    path.unlink()
    http.write_metadata(path, b"ours", b"theirs", 0o600)
    assert not path.exists()


def test_a_failure_leaves_the_old_entry_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, at each of the steps."""
    path = tmp_path / "entry"
    for step in range(3):
        http.write_entry(path, b"metadata", b"body", 0o600)
        fails_at(monkeypatch, "replace" if step else "open", max(step, 1))
        with pytest.raises(OSError, match="full"):
            http.write_entry(path, b"other metadata", b"other body", 0o600)
        monkeypatch.undo()
        metadata = path.read_bytes() if path.exists() else None
        body = http.body_path(path).read_bytes()
        assert metadata is None or (metadata, body) == (b"metadata", b"body")
        assert not list(tmp_path.glob(f"{PREFIX}*"))


def fails_at(monkeypatch: pytest.MonkeyPatch, name: str, call: int) -> None:
    """Have a function of ``os`` fail when it is called for the N-th time."""
    calls, function = itertools.count(1), getattr(os, name)

    def fail(*args: object, **kw: object) -> object:
        if next(calls) == call:
            raise OSError(errno.ENOSPC, "full")
        return function(*args, **kw)

    monkeypatch.setattr(os, name, fail)
