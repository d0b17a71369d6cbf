"""``env use`` and ``env remove``: the file that all projects share, Poetry's own home."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.cases import thorough_but
from tests.laboratory.pausing import Pause


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

MAKING = "poetry.utils.env:EnvManager.create_venv:before"


@pytest.mark.parametrize(
    "protected",
    thorough_but([(True,)], [(False,), (True,)]),
    ids=["plain", "protected"],
)
def test_activations_of_two_projects(
    protected: bool,
    new_project: Callable[..., Project],
    home: PoetryHome,
    plain_home: PoetryHome,
    tmp_path: Path,
) -> None:
    """F33: the second is active when the first, which has read before, writes."""
    home = home if protected else plain_home
    venvs = tmp_path / "shared-venvs"
    environ = {"POETRY_VIRTUALENVS_PATH": str(venvs)}
    first, second, third = (
        new_project(name, name=name) for name in ("first", "second", "third")
    )
    python = str(home.python.resolve())
    third.poetry(home, "env", "use", python, environ=environ).succeeded()
    with Pause(MAKING) as pause:
        slow = first.start(
            home, "env", "use", python, environ={**environ, **pause.environment}
        )
        arrival = pause.arrival()
        second.poetry(home, "env", "use", python, environ=environ).succeeded()
        arrival.let_go()
        slow.result().succeeded()
    text = (venvs / "envs.toml").read_text()
    found = {name for name in ("first", "second", "third") if f"[{name}-" in text}
    lost = set() if protected else {"second"}
    assert found == {"first", "second", "third"} - lost


def test_the_environment_of_this_poetry_is_not_removed(
    new_project: Callable[..., Project],
    home: PoetryHome,
) -> None:
    project = new_project()
    inside = home.clone(project.path / ".venv")
    environ = {"POETRY_VIRTUALENVS_IN_PROJECT": "true"}
    project.poetry(inside, "env", "remove", "--all", environ=environ).failed(
        f"This Poetry runs from the environment {inside.path}, which is not removed"
    )
    assert inside.executable.exists()
    project.poetry(inside, "--version").succeeded()
