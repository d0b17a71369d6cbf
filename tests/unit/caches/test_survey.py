"""What a quick look at the caches finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.caches.survey import survey
from poetry_plugin_safe_install.check.finding import Level
from poetry_plugin_safe_install.check.topics import CachesFacts
from poetry_plugin_safe_install.check.topics import judge_caches


if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str = "text") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_what_is_not_whole(tmp_path: Path) -> None:
    answers = tmp_path / "index" / "_http_" / "a" / "b"
    for name in (
        "whole",
        "whole.body",
        "whole.lock",
        ".poetry-safe-install-1",
        "tmp12",
    ):
        write(answers / name)
    write(tmp_path / "index" / "_http" / "a" / "of-one-file")
    write(tmp_path / "index" / "ab" / "release")
    broken = [
        write(answers / "without-body"),
        write(answers / "empty", ""),
        write(tmp_path / "index" / "ab" / "empty-release", ""),
    ]
    write(answers / "empty.body")
    found = survey(str(tmp_path), seconds=60)
    assert sorted(found.broken) == sorted(broken)
    assert found.complete


def test_there_is_no_cache_yet(tmp_path: Path) -> None:
    assert survey(str(tmp_path / "cache")) == (0, True, ())


def test_it_stops_in_time(tmp_path: Path) -> None:
    write(tmp_path / "a" / "file")
    write(tmp_path / "b" / "file")
    assert not survey(str(tmp_path), seconds=0).complete


def test_what_is_told() -> None:
    whole = CachesFacts("/cache", 7, True, (), "21.15.8", False)
    assert judge_caches(whole).level is Level.OK
    broken = CachesFacts("/cache", 7, True, ("/cache/entry",), "20.32.0", True)
    finding = judge_caches(broken)
    assert finding.level is Level.NOTE
    assert "1 entry is not whole" in finding.text
    assert "virtualenv 20.32.0" in finding.text
    assert finding.details == ("/cache/entry",)
