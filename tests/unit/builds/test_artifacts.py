"""Wheels on their way into the cache."""

from __future__ import annotations

import zipfile

from typing import TYPE_CHECKING

import pytest

from filelock import FileLock
from poetry.core.packages.utils.link import Link
from poetry.utils.cache import ArtifactCache

from poetry_plugin_safe_install.builds.artifacts import ABANDONED_AFTER
from poetry_plugin_safe_install.builds.artifacts import Artifacts
from poetry_plugin_safe_install.builds.artifacts import is_abandoned
from poetry_plugin_safe_install.builds.artifacts import remove_abandoned
from poetry_plugin_safe_install.private_files import PREFIX


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


WHEEL = "slow-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("locked", "age", "abandoned"),
    [
        (True, 0, False),
        (True, 10 * ABANDONED_AFTER, False),
        (False, 0, True),
        (False, 10 * ABANDONED_AFTER, True),
        (None, 0, False),
        (None, ABANDONED_AFTER + 1, True),
    ],
)
def test_what_is_abandoned(locked: bool | None, age: float, abandoned: bool) -> None:
    assert is_abandoned(locked, age) is abandoned


def test_only_what_is_abandoned_is_removed(tmp_path: Path) -> None:
    for name in (f"{PREFIX}dead", f"{PREFIX}alive", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / WHEEL).write_bytes(b"half a wh")
    with FileLock(tmp_path / f"{PREFIX}alive" / ".lock"):
        remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"{PREFIX}alive", "other"}


def test_the_second_replaces_the_first_while_that_is_read(tmp_path: Path) -> None:
    def build(text: str) -> Callable[[Path], Path]:
        def build_it(directory: Path) -> Path:
            assert not list(directory.parent.glob("*.whl")) or text == "second"
            with zipfile.ZipFile(directory / WHEEL, "w") as archive:
                archive.writestr("which", text)
            return directory / WHEEL

        return build_it

    builds = Artifacts("poetry test")
    place = tmp_path / "not" / "yet"
    wheel = builds.wheel(place, build("first"))
    with zipfile.ZipFile(wheel) as reader:
        assert builds.wheel(place, build("second")) == wheel == place / WHEEL
        assert reader.read("which") == b"first"
    with zipfile.ZipFile(wheel) as reader:
        assert reader.read("which") == b"second"
    assert [path.name for path in place.iterdir()] == [WHEEL]


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(directory: Path) -> Path:
        (directory / WHEEL).write_bytes(b"half a wh")
        raise RuntimeError("no compiler")

    builds = Artifacts("poetry test")
    with pytest.raises(RuntimeError, match="no compiler"):
        builds.wheel(tmp_path, fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other_was_faster", [True, False])
def test_a_failed_download_takes_nothing_from_others(
    other_was_faster: bool, tmp_path: Path
) -> None:
    def fail(url: str, destination: Path) -> None:
        if other_was_faster:
            destination.write_bytes(b"theirs")
        raise ConnectionError("reset")

    builds = Artifacts("poetry test")
    cache = ArtifactCache(cache_dir=tmp_path)
    link = Link("https://example.org/slow-1.0.tar.gz")

    def get() -> Path:
        return cache.get_cached_archive_for_link(
            link, strict=True, download_func=builds.download(fail)
        )

    if other_was_faster:
        assert get().read_bytes() == b"theirs"
    else:
        with pytest.raises(ConnectionError):
            get()
