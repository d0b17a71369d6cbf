"""Packages that are installed and removed as a whole, on real files."""

from __future__ import annotations

import errno
import os

from pathlib import Path
from typing import Any

import pytest

from poetry_plugin_safe_install.compat.installs import PROJECT
from poetry_plugin_safe_install.environments import journal
from poetry_plugin_safe_install.environments.commit_point import CommitPoint
from poetry_plugin_safe_install.environments.places import JOURNALS
from poetry_plugin_safe_install.environments.places import place_aside
from poetry_plugin_safe_install.environments.removal import Places
from poetry_plugin_safe_install.environments.repair import repair
from poetry_plugin_safe_install.environments.set_aside import set_aside
from poetry_plugin_safe_install.environments.set_aside import sweep
from poetry_plugin_safe_install.environments.uv_lock import UvLock
from tests.laboratory.wheels import Distribution


class Death(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "lib" / "site-packages"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def places(tmp_path: Path, site: Path) -> Places:
    return Places(str(tmp_path), [str(site)], [str(tmp_path / "bin")], is_managed=False)


def install(site: Path, name: str, files: dict[str, str]) -> Path:
    wheels = site.parents[1] / "wheels"
    Distribution(name, "1.0", files).unpack(wheels)
    for path in wheels.rglob("*"):
        target = site / path.relative_to(wheels)
        if path.is_file() and path.suffix != ".whl":
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    return site / f"{name}-1.0.dist-info"


def names(site: Path) -> set[str]:
    return {str(path.relative_to(site)) for path in site.rglob("*")}


def test_package_from_a_lower_layer_of_overlayfs(
    site: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There a directory cannot be renamed. The process dies at each of its changes."""

    def refuse(*paths: str) -> None:
        if str(paths[0]).endswith(".dist-info"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(*paths)

    rename = os.rename
    monkeypatch.setattr(os, "rename", refuse)
    for count in range(1, 9):
        dist_info = install(site, "one", {"one/__init__.py": "", "one/a.py": ""})
        monkeypatch.setattr(os, "unlink", dying_at(count, os.unlink))
        with pytest.raises(Death):
            commit_point(places).remove(str(dist_info), "one", "update", ())
        monkeypatch.setattr(os, "unlink", os.unlink.__wrapped__)  # type: ignore[attr-defined]

        was_installed = (dist_info / "METADATA").exists()
        repair(places, lambda line: None)

        assert names(site) == (names_of_one() if was_installed else set()), count
        commit_point(places).remove(str(dist_info), "one", "update", ())
        assert names(site) - {JOURNALS} == set()


def commit_point(places: Places) -> CommitPoint:
    """In an environment where uv has no lock."""
    session: Any = None
    return CommitPoint(places, UvLock(session))


def names_of_one() -> set[str]:
    info = "one-1.0.dist-info"
    files = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL")}
    return {info, "one", "one/__init__.py", "one/a.py", *files}


def dying_at(count: int, original: object) -> object:
    calls = 0

    def call(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls >= count:
            raise Death
        return original(*args, **kwargs)  # type: ignore[operator]

    call.__wrapped__ = original  # type: ignore[attr-defined]
    return call


def test_what_is_another_ones_stays(site: Path, places: Places) -> None:
    one = install(site, "one", {"shared/__init__.py": "", "shared/one.py": ""})
    install(site, "two", {"shared/__init__.py": "", "shared/two.py": ""})
    (site / "shared" / "users-own.py").touch()

    assert commit_point(places).remove(str(one), "one", "uninstall", ())

    left = {path.name for path in (site / "shared").iterdir()}
    assert left == {"__init__.py", "two.py", "users-own.py"}


@pytest.mark.parametrize(
    "spoil", ["no RECORD", "managed", "outside", "no permission", "egg-info"]
)
def test_left_to_poetry(
    spoil: str, site: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    dist_info = install(site, "one", {"one.py": ""})
    if spoil == "no RECORD":
        (dist_info / "RECORD").unlink()
    elif spoil == "managed":
        places.is_managed = True
    elif spoil == "outside":
        places.prefix = str(site.parents[1] / "elsewhere")
    elif spoil == "egg-info":
        dist_info = dist_info.rename(site / "one.egg-info")
    else:
        monkeypatch.setattr(os, "access", lambda *args: False)
    before = names(site)

    assert not commit_point(places).remove(str(dist_info), "one", "uninstall", ())

    assert names(site) == before


def test_two_that_write_the_same_file_at_once(site: Path, places: Places) -> None:
    """The one that fails leaves what the other one is writing."""
    changes = commit_point(places)
    shared = str(site / "shared.py")
    one = changes.install(str(site), "one", "install", [shared])
    two = changes.install(str(site), "two", "install", [shared])
    Path(shared).touch()

    one.undo()
    assert Path(shared).exists()

    two.undo()
    assert not Path(shared).exists()


def test_file_that_was_there_is_not_removed(site: Path, places: Places) -> None:
    mine = site / "mine.py"
    mine.write_text("mine")
    written = str(site / "new.py")
    started = commit_point(places).install(
        str(site), "one", "install", [str(mine), written]
    )
    Path(written).touch()
    (site / started.temporary).write_text("half")

    repair(places, lambda line: None)

    assert names(site) == {"mine.py"}


@pytest.mark.parametrize("text", ["", "{", '{"package": 1}', "[]"])
def test_journal_that_was_not_finished(site: Path, places: Places, text: str) -> None:
    change = journal.begin(str(site), "one", PROJECT)
    Path(change.place, journal.FILE).write_text(text)

    repair(places, lambda line: pytest.fail(line))

    assert names(site) == set()


def test_environment_that_is_being_removed(tmp_path: Path) -> None:
    environment = tmp_path / ".venv"
    (environment / "lib").mkdir(parents=True)
    moved = set_aside(environment)

    assert not environment.exists()
    assert (moved / "lib").is_dir()
    sweep(environment)
    assert moved.exists(), "this process is still removing it"

    moved.rename(moved.with_name(".venv-4194304"))
    assert place_aside(environment).exists()
    sweep(environment)
    assert not place_aside(environment).exists()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_environment_beside_those_being_removed(tmp_path: Path) -> None:
    """Where ``.poetry`` is a file, the locks of the project are in this directory."""
    place = place_aside(tmp_path / ".venv")
    records = place / "project.lock.holders"
    records.mkdir(parents=True)
    sweep(tmp_path / ".venv")
    assert records.exists()
