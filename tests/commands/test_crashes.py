"""Commands that are killed: the next one works, and nothing is left behind."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.cases import thorough_but
from tests.laboratory.pausing import Pause
from tests.laboratory.plugins import marker_plugin


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

SETS = "poetry_plugin_safe_install.project_plugins.sets"
STOCK = "poetry_plugin_safe_install.project_plugins.stock_cache"
STEPS = [
    "poetry.installation.wheel_installer:WheelInstaller.install:before",
    "poetry.installation.wheel_installer:WheelInstaller.install:after",
    f"{SETS}:_compile:before",
    f"{SETS}:_describe:before",
    f"{SETS}:_put_in_place:before",
    f"{SETS}:_put_in_place:after",
    f"{STOCK}:StockPluginCache.retire:before",
    f"{STOCK}:StockPluginCache.retire:after",
]


@pytest.mark.parametrize(
    ("step", "following"),
    thorough_but(
        [
            *((step, "run") for step in STEPS[1::2]),  # an install comes after that
            (f"{SETS}:_put_in_place:before", "install"),
        ],
        product(STEPS, ("run", "install")),
    ),
)
def test_writer_killed_in_the_middle_of_publication(
    step: str,
    following: str,
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    plain_home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    marker_plugin("published", "1.0").wheel(own_folder)
    project = new_project(requires_plugins='published = "*"')
    venv = new_venv("environment")
    project.lock()
    if "retire" in step:  # there must be something to retire
        project.poetry(plain_home, "install", venv=venv).succeeded()

    with Pause(step) as pause:
        writer = project.start(home, "install", venv=venv, environ=pause.environment)
        arrival = pause.arrival()
        assert arrival.pid == writer.pid
        writer.kill()

    arguments = (following,) if following == "install" else (following, "true")
    result = project.poetry(home, *arguments, venv=venv).succeeded()
    assert not (project.store / "staging").exists()
    if following == "install" or step.endswith("_put_in_place:after"):
        assert "published 1.0 is active" in result.out
    assert (
        "published 1.0 is active"
        in project.poetry(home, "install", venv=venv).succeeded().out
    )
    assert not (project.store / "staging").exists()
