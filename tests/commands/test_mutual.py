"""Commands that wait for each other: one of them says so, and gives up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.barriers import MEET
from tests.laboratory.barriers import Barrier
from tests.laboratory.cases import thorough_but


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

SCRIPT = """\
{meet}
meet("building")
import os, subprocess
environ = {{**os.environ, "VIRTUAL_ENV": {venv!r}}}
environ.pop("BARRIER_BUILDING", None)
line = [{poetry!r}, "install", "--no-root"]
subprocess.run(line, cwd={cwd!r}, env=environ, check=True)
"""


@pytest.mark.parametrize(
    "names",
    thorough_but([(("one", "two"),)], [(("one", "two"),), (("one", "two", "three"),)]),
    ids=len,
)
def test_projects_that_build_each_other(
    names: tuple[str, ...],
    new_project: Callable[..., Project],
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """Each one's build script installs the next, whose install runs that script."""
    script = '[tool.poetry.build]\nscript = "build.py"\n'
    projects = [new_project(name, name=name, tail=script) for name in names]
    venvs = [new_venv(name) for name in names]
    for at, project in enumerate(projects):
        project.lock()
        (project.path / "build.py").write_text(
            SCRIPT.format(
                meet=MEET,
                venv=str(venvs[at - 1]),
                poetry=str(home.executable),
                cwd=str(projects[at - 1].path),
            )
        )
    limit = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "100"}
    with Barrier("building") as building:
        environ = {**building.environment, **limit}
        running = [
            project.start(home, "install", venv=venv, environ=environ)
            for project, venv in zip(projects, venvs, strict=True)
        ]
        for arrival in [building.arrival() for _ in running]:
            arrival.let_go()
        results = [command.result() for command in running]
    texts = [" ".join(result.out.split()) for result in results]
    told = [text for text in texts if "wait for each other" in text]
    assert len(told) == 1, texts
    assert f"{len(names)} commands wait for each other" in told[0]
    assert sorted(result.code == 0 for result in results) == [
        False,
        *[True] * (len(names) - 1),
    ], texts
    for venv in venvs:
        assert f"waits for the environment {venv}" in told[0]
    assert any(f"(pid {command.pid} on" in told[0] for command in running)
