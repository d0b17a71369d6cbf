"""What Poetry keeps of releases: files of JSON that several commands write and read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

from poetry.utils.cache import FileCache

from poetry_plugin_safe_install.caches.protection import ReleaseFiles
from poetry_plugin_safe_install.compat.caches import RELEASE_CACHE


if TYPE_CHECKING:
    from collections.abc import Iterator

    Releases = FileCache[dict[str, Any]]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Releases]:
    with RELEASE_CACHE.applied(ReleaseFiles()):
        yield FileCache(tmp_path / "releases")


def test_what_is_put_is_found(cache: Releases) -> None:
    cache.put("key", {"name": "one"})
    assert cache.get("key") == {"name": "one"}
    assert cache.remember("key", {"name": "two"}) == {"name": "one"}
    cache.put("old", {"name": "three"}, minutes=-1)
    assert cache.get("old") is None
    cache.forget("key")
    assert cache.get("key") is None
    cache.forget("key")


def test_a_reader_sees_the_old_one_or_the_new_one(
    cache: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``FileCache.put`` has the file open for writing while it serialises."""
    cache.put("key", {"name": "old"})
    seen: list[dict[str, Any] | None] = []
    serialize = FileCache._serialize

    def look(self: Releases, payload: Any) -> bytes:
        seen.append(FileCache(cache.path).get("key"))
        return serialize(self, payload)

    monkeypatch.setattr(FileCache, "_serialize", look)
    cache.put("key", {"name": "new"})
    assert seen == [{"name": "old"}]
    assert cache.get("key") == {"name": "new"}
    assert len([path for path in cache.path.rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize(
    "text", [b"", b"99", b"9999999999", b'9999999999{"name', b"\xff"]
)
def test_what_cannot_be_read_is_not_removed(cache: Releases, text: bytes) -> None:
    """It may be another command's, newer than what was read."""
    path = cache._path("key")
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    assert cache.get("key") is None
    assert path.read_bytes() == text
    assert cache.remember("key", {"name": "one"}) == {"name": "one"}
    assert cache.get("key") == {"name": "one"}


@pytest.mark.parametrize("method", ["get", "forget"])
def test_a_file_that_goes_while_it_is_looked_for(
    method: str, cache: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.put("key", {"name": "one"})
    exists = Path.exists

    def exists_no_more(path: Path, **kw: Any) -> bool:
        found = exists(path, **kw)
        path.unlink(missing_ok=True)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Path, "exists", exists_no_more)
        assert getattr(cache, method)("key") is None


def test_a_cache_that_cannot_be_written_is_no_error(cache: Releases) -> None:
    cache.path.write_text("a file where Poetry keeps a directory")
    assert cache.remember("key", lambda: {"name": "one"}) == {"name": "one"}


def test_all_is_as_before_when_the_command_has_ended(tmp_path: Path) -> None:
    before = dict(vars(FileCache))
    with RELEASE_CACHE.applied(ReleaseFiles()):
        assert dict(vars(FileCache)) != before
    assert dict(vars(FileCache)) == before
