"""A Poetry whose internals have changed: it works, unprotected, with one warning."""

from __future__ import annotations

import re
import shutil

from typing import TYPE_CHECKING

import pytest

from poetry_plugin_safe_install.compat.activation import INTERNALS
from poetry_plugin_safe_install.compat.activation import ON_INSTANCES


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

NAMES = sorted(
    {internal.name.rpartition(".")[2] for internal in INTERNALS}
    | {name for names in ON_INSTANCES.values() for name in names}
)


@pytest.fixture
def changed_poetry(plain_home: PoetryHome, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of Poetry's own source in which a name has been changed throughout."""

    def change(name: str) -> Path:
        overlay = tmp_path / "overlay"
        ignore = shutil.ignore_patterns("__pycache__")
        word = re.compile(rf"^(?!\s*(?:import|from) )(.*)\b{name}\b(?!['\"])", re.M)
        for package in ("poetry", "cleo"):
            source = plain_home.site_packages / package
            shutil.copytree(source, overlay / package, ignore=ignore)
        for path in overlay.rglob("*.py"):
            if "_vendor" in path.parts:
                continue
            text = path.read_text(encoding="utf-8")
            if name in text:
                while word.search(text):
                    text = word.sub(rf"\g<1>{name}_changed", text)
                path.write_text(text, encoding="utf-8")
        return overlay

    return change


@pytest.mark.parametrize("name", NAMES)
def test_internal_that_is_gone(
    name: str,
    changed_poetry: Callable[[str], Path],
    new_project: Callable[..., Project],
    home: PoetryHome,
    plain_home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    project = new_project()
    venv = new_venv("environment")
    overlay = {"PYTHONPATH": str(changed_poetry(name))}
    project.poetry(plain_home, "lock").succeeded()
    project.poetry(plain_home, "install", venv=venv, environ=overlay).succeeded()

    result = project.poetry(home, "install", venv=venv, environ=overlay).succeeded()

    flat = " ".join(result.out.split())
    assert flat.count("poetry-plugin-safe-install does not know this Poetry") == 1, flat
    assert name in flat
    assert "Installing the current project: demo" in flat
