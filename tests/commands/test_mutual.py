"""Two commands that wait for each other: one of them says so, and gives up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.laboratory.barriers import MEET
from tests.laboratory.barriers import Barrier


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


def test_two_projects_that_build_each_other(
    new_project: Callable[..., Project],
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """Each one's build script installs the other, whose install runs that script."""
    script = '[tool.poetry.build]\nscript = "build.py"\n'
    both = [new_project(name, name=name, tail=script) for name in ("one", "two")]
    venvs = [new_venv("one"), new_venv("two")]
    for project, other, venv in zip(both, both[::-1], venvs[::-1], strict=True):
        project.lock()
        (project.path / "build.py").write_text(
            SCRIPT.format(
                meet=MEET,
                venv=str(venv),
                poetry=str(home.executable),
                cwd=str(other.path),
            )
        )
    limit = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "100"}
    with Barrier("building") as building:
        environ = {**building.environment, **limit}
        running = [
            project.start(home, "install", venv=venv, environ=environ)
            for project, venv in zip(both, venvs, strict=True)
        ]
        for arrival in [building.arrival(), building.arrival()]:
            arrival.let_go()
        results = [command.result() for command in running]
    texts = [" ".join(result.out.split()) for result in results]
    mutual = [text for text in texts if "wait for each other" in text]
    assert len(mutual) == 1, texts
    assert sorted(result.code == 0 for result in results) == [False, True], texts
    for project, venv in zip(both, venvs, strict=True):
        assert f"the environment {venv}" in texts[0] + texts[1]
        assert project.path.exists()
    assert f"(pid {running[0].pid} on" in mutual[0] or (
        f"(pid {running[1].pid} on" in mutual[0]
    )
