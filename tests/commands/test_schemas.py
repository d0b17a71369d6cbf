"""What Poetry compiles of its schemas is kept, and run only if it is whole and ours."""

from __future__ import annotations

import os
import subprocess

from typing import TYPE_CHECKING

import pytest

from tests.laboratory import preloaded
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import OLDEST
from tests.laboratory.poetries import poetry_home


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

CHECK = ("check", "--no-interaction")

FORGED = "this comes from the cache"

FORGE = f"""\
import hashlib, marshal, pathlib, sys
for path in map(pathlib.Path, sys.argv[1:]):
    name, _ = marshal.loads(path.read_bytes()[32:])
    text = (
        "from fastjsonschema import JsonSchemaValueException\\n"
        f"def {{name}}(*_, **__): raise JsonSchemaValueException('{FORGED}')"
    )
    body = marshal.dumps((name, compile(text, "forged", "exec")))
    path.write_bytes(hashlib.sha256(body).digest() + body)
"""
"""Has every schema that is kept refuse all that there is."""


@pytest.fixture(autouse=True)
def executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forked commands have everything compiled beforehand."""
    monkeypatch.setattr(preloaded, "CAN_FORK", False)


@pytest.fixture
def project(new_project: Callable[..., Project], tmp_path: Path) -> Project:
    project = new_project()
    project.lock()
    environ = {**project.environ, "POETRY_CACHE_DIR": str(tmp_path / "cache")}
    return type(project)(project.path, environ)


@pytest.fixture
def kept(tmp_path: Path) -> Callable[[], list[Path]]:
    return lambda: [*(tmp_path / "cache" / "safe-install" / "schemas").glob("*")]


@pytest.fixture
def forged(
    project: Project, home: PoetryHome, kept: Callable[[], list[Path]]
) -> list[Path]:
    project.poetry(home, *CHECK).succeeded()
    subprocess.run([home.python, "-c", FORGE, *kept()], check=True)
    assert kept()
    return kept()


def test_what_is_kept_is_used(
    project: Project, home: PoetryHome, plain_home: PoetryHome, forged: list[Path]
) -> None:
    project.poetry(home, *CHECK).failed(FORGED)
    project.poetry(plain_home, *CHECK).succeeded()
    for path in forged:
        path.unlink()
    project.poetry(home, *CHECK).succeeded()


@pytest.mark.parametrize("version", dict.fromkeys((OLDEST, NEWEST)))
def test_the_same_is_said(
    project: Project, version: str, kept: Callable[[], list[Path]]
) -> None:
    """When it is compiled, when it was, and by Poetry alone."""
    text = project.pyproject.read_text()
    home = poetry_home(version)
    plain = poetry_home(version, protected=False)
    for wrong in (
        text.replace('name = "demo"', "name = 3"),
        f"{text}\n[tool.poetry]\nunknown = 1\n",
        f"{text}\n[tool.poetry]\nsource = [{{}}]\n",
        f'{text}\n[tool.poetry]\nrequires-poetry = "*"\npackages = "none"\n',
    ):
        project.pyproject.write_text(wrong)
        told = project.poetry_apart(plain, *CHECK)
        assert told.returncode
        for _ in range(2):
            found = project.poetry_apart(home, *CHECK)
            assert (found.returncode, found.stdout, found.stderr) == (
                told.returncode,
                told.stdout,
                told.stderr,
            )
        assert kept()


def test_a_file_that_is_cut_off(
    project: Project, home: PoetryHome, forged: list[Path]
) -> None:
    for path in forged:
        os.truncate(path, path.stat().st_size - 1)
    project.poetry(home, *CHECK).succeeded()
    assert [path for path in forged if path.read_bytes().count(FORGED.encode())] == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_file_that_everybody_may_write(
    project: Project, home: PoetryHome, forged: list[Path]
) -> None:
    for path in forged:
        path.chmod(0o666)
    project.poetry(home, *CHECK).succeeded()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_directory_that_others_may_write_into(
    project: Project, home: PoetryHome, forged: list[Path]
) -> None:
    forged[0].parent.chmod(0o770)
    project.poetry(home, *CHECK).succeeded()


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() != 0, reason="only root can give files away"
)
@pytest.mark.parametrize("place", ["file", "directory"])
def test_what_is_another_users(
    place: str, project: Project, home: PoetryHome, forged: list[Path]
) -> None:
    for path in forged if place == "file" else [forged[0].parent]:
        os.chown(path, 65534, 65534)
    project.poetry(home, *CHECK).succeeded()


def test_where_nothing_can_be_kept(
    project: Project, home: PoetryHome, tmp_path: Path
) -> None:
    place = tmp_path / "cache" / "safe-install" / "schemas"
    place.parent.mkdir(parents=True)
    place.touch()
    project.poetry(home, *CHECK).succeeded()
    assert place.is_file()


@pytest.mark.parametrize(
    "environ",
    [{"PYTHONDONTWRITEBYTECODE": "1"}, {"POETRY_SAFE_INSTALL_ENABLED": "false"}],
    ids=["no byte code", "switched off"],
)
def test_where_nothing_shall_be_kept(
    environ: dict[str, str],
    project: Project,
    home: PoetryHome,
    kept: Callable[[], list[Path]],
) -> None:
    project.poetry(home, *CHECK, environ=environ).succeeded()
    assert kept() == []


def test_switched_off_in_the_project(
    project: Project, home: PoetryHome, kept: Callable[[], list[Path]]
) -> None:
    with project.pyproject.open("a") as file:
        file.write("[tool.poetry-plugin-safe-install]\nenabled = false\n")
    project.poetry(home, *CHECK)
    assert kept() == []


def test_many_at_once(
    project: Project, home: PoetryHome, kept: Callable[[], list[Path]]
) -> None:
    started = [project.start(home, *CHECK) for _ in range(6)]
    for one in started:
        one.result().succeeded()
    once = {path.name for path in kept()}
    project.poetry(home, *CHECK).succeeded()
    assert {path.name for path in kept()} == once
    assert len(once) <= 3


def test_old_ones_go(
    project: Project, home: PoetryHome, forged: list[Path], tmp_path: Path
) -> None:
    """When another one is kept."""
    old, *others = forged
    for path in others:
        path.unlink()
    os.utime(old, (0, 0))
    left = old.with_name("0" * 32)
    left.touch()
    os.utime(left, (0, 0))
    project.poetry(home, *CHECK)
    assert not left.exists()
