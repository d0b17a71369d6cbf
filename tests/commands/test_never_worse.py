"""An install that works without the plugin works with it, whatever cannot be had."""

from __future__ import annotations

import os

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.cases import thorough_but
from tests.laboratory.plugins import marker_plugin


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

ACTIVE = "marker 1.0 is active"
NOT_ACTIVE = "the plugins that the project requires are not active"

READ_ONLY = (
    "unshare",
    "-m",
    "sh",
    "-c",
    'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"',
)


@pytest.fixture
def project(new_project: Callable[..., Project], own_folder: Path) -> Project:
    marker_plugin("marker", "1.0").wheel(own_folder)
    return new_project(requires_plugins='marker = "*"')


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="needs root, to mount"
)
@pytest.mark.parametrize(
    "place", thorough_but([(".poetry",)], [(".poetry/plugins",), (".poetry",)])
)
def test_read_only(
    place: str,
    project: Project,
    home: PoetryHome,
    plain_home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """F24: what unprotected Poetry has made there cannot be removed, nor anything made."""
    venv = new_venv("environment")
    project.poetry(plain_home, "install", venv=venv).succeeded()
    around = (*READ_ONLY, str(project.path / place))
    plain = project.poetry(plain_home, "install", venv=venv, around=around)
    assert ACTIVE in plain.succeeded().out
    for _ in range(2):
        result = project.poetry(home, "install", venv=venv, around=around)
        assert ACTIVE in result.succeeded().out


def test_lock_that_cannot_be_had(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    """F25: a set that is there is used; where there is none, a line says so."""
    venv = new_venv("environment")
    lock = project.store / "project.lock"
    lock.parent.mkdir(parents=True)
    lock.symlink_to(lock)  # ELOOP
    first = project.poetry(home, "install", venv=venv).succeeded()
    assert NOT_ACTIVE in " ".join(first.out.split())
    lock.unlink()
    project.poetry(home, "install", venv=venv).succeeded()
    lock.unlink()
    lock.symlink_to(lock)
    third = project.poetry(home, "install", venv=venv).succeeded()
    assert ACTIVE in third.out
    assert NOT_ACTIVE not in " ".join(third.out.split())
