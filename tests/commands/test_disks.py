"""Environments on a disk that is full, or read-only."""

from __future__ import annotations

import os
import shutil
import subprocess

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.killing import faults
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

both = pytest.mark.parametrize(
    "protected",
    [pytest.param(False, marks=pytest.mark.thorough, id="plain"), True],
)
"""What Poetry alone does does not change with this plugin."""

LARGE = 200_000
"""Bytes of a file, of which half fits."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own for environments."""
    place = tmp_path / "environments"
    place.mkdir()
    try:
        mount("-t", "tmpfs", "none", str(place))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs root, to mount a disk: {error}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


@both
def test_full_disk(
    protected: bool,
    disk: Path,
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    own_folder: Path,
    home: PoetryHome,
    plain_home: PoetryHome,
) -> None:
    """What does not fit is not there, and what is there stays whole."""
    for version in ("1.0", "2.0"):
        extra = LARGE if version == "2.0" else 10
        files = {"large/__init__.py": "", "large/data.txt": "x" * extra}
        Distribution("large", version, files).wheel(own_folder)
    project = new_project(dependencies=("large==1.0",))
    venv = new_venv("environment")
    run = home if protected else plain_home
    project.poetry(home, "lock").succeeded()
    project.poetry(run, "install", venv=venv).succeeded()
    project.pyproject.write_text(project.pyproject.read_text().replace("1.0", "2.0"))
    project.poetry(home, "lock").succeeded()
    left = os.statvfs(disk)
    used = (left.f_blocks - left.f_bfree) * left.f_frsize
    mount("-o", f"remount,size={used + LARGE // 2}", str(disk))

    project.poetry(run, "install", venv=venv).failed("No space left on device")

    mount("-o", f"remount,size={used + LARGE * 4}", str(disk))
    again = project.poetry(run, "install", venv=venv).succeeded()
    assert not protected or "Installing large (2.0)" in again.out
    assert faults(venv) == []


@both
def test_read_only(
    protected: bool,
    disk: Path,
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    own_folder: Path,
    home: PoetryHome,
    plain_home: PoetryHome,
) -> None:
    """It does where there is nothing to do, and fails as without the plugin."""
    for name in ("there", "missing"):
        Distribution(name, "1.0", {f"{name}.py": ""}).wheel(own_folder)
    project = new_project(dependencies=("there", "missing"))
    venv = new_venv("environment")
    run = home if protected else plain_home
    project.poetry(home, "lock").succeeded()
    project.poetry(run, "install", "--no-root", venv=venv).succeeded()
    mount("-o", "remount,ro", str(disk))

    project.poetry(run, "install", "--no-root", venv=venv).succeeded()
    project.poetry(run, "run", "true", venv=venv).succeeded()
    mount("-o", "remount,rw", str(disk))
    for path in venv.glob("lib/python3*/site-packages/missing*"):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    mount("-o", "remount,ro", str(disk))

    project.poetry(run, "install", "--no-root", venv=venv).failed(
        "Read-only file system"
    )

    mount("-o", "remount,rw", str(disk))
    project.poetry(run, "install", "--no-root", venv=venv).succeeded()
    assert faults(venv) == []
