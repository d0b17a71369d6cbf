"""Files of a project and of Poetry: killed at any change, each is old or new."""

from __future__ import annotations

import os
import uuid

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.killing import KILLS
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.preloaded import Preloaded
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.projects import Project

OLDEST = POETRY_VERSIONS[0]
LEAF = Distribution("leaf", "1.0", {"leaf/__init__.py": ""})
COMMANDS = {
    "add": ("add", "--lock", "leaf"),
    "remove": ("remove", "--lock", "bud"),
    "lock": ("lock", "--regenerate"),
    "version": ("version", "1.2.3"),
    "poetry.toml": ("config", "--local", "virtualenvs.in-project", "true"),
    "config.toml": ("config", "virtualenvs.in-project", "false"),
    "auth.toml": ("config", "http-basic.local", "somebody", "secret"),
}


@dataclass(frozen=True)
class Bench:
    """A project and a configuration, put back before every kill."""

    project: Project
    config: Path
    poetry: Preloaded

    @property
    def files(self) -> list[Path]:
        names = ("pyproject.toml", "poetry.lock", "poetry.toml")
        inside = [self.project.path / name for name in names]
        return [*inside, self.config / "config.toml", self.config / "auth.toml"]

    @property
    def contents(self) -> dict[Path, bytes]:
        """What is in them; a configuration that is not there is empty."""
        return {
            path: path.read_bytes() if path.exists() else b"" for path in self.files
        }

    def restore(self, contents: dict[Path, bytes]) -> None:
        for path, content in contents.items():
            path.write_bytes(content)

    def run(self, *arguments: str, at: int = 0, half: bool = False) -> tuple[int, int]:
        """
        :param at: the change at which it is killed.
        :return: the exit status and how many changes there were.
        """
        counted = self.config.parent.parent / f"changes-{uuid.uuid4().hex}"
        environ = {
            "PYTHONPATH": str(KILLS),
            "KILL_BELOW": str(self.config.parent),
            "KILL_COUNT": str(counted),
            "KILL_AT": str(at),
            **({"KILL_HALF": "1"} if half else {}),
        }
        whole = self.project.environment(environ=environ)
        result = self.poetry.run(self.project, *arguments, environ=whole)
        return result.code, counted.stat().st_size if counted.exists() else 0


@pytest.fixture
def bench(
    new_project: Callable[..., Project],
    own_folder: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Bench]:
    LEAF.wheel(own_folder)
    Distribution("bud", "1.0", {"bud/__init__.py": ""}).wheel(own_folder)
    made = new_project("watched/project", dependencies=("bud (>=1.0)",))
    config = tmp_path / "watched" / "config"
    config.mkdir()
    (config / "config.toml").write_text("[installer]\nparallel = true\n")
    (config / "auth.toml").write_text('[http-basic.other]\nusername = "a"\n')
    (made.path / "poetry.toml").write_text("[installer]\nmax-workers = 4\n")
    environ = {
        **made.environ,
        "POETRY_CONFIG_DIR": str(config),
        "POETRY_KEYRING_ENABLED": "false",
    }
    project = type(made)(made.path, environ)
    project.lock()
    with Preloaded(poetry_home(request.param), project.environment()) as poetry:
        yield Bench(project, config, poetry)


def kill_writes(
    bench: Bench, command: tuple[str, ...], which: Callable[[int], Iterable[int]]
) -> None:
    old = bench.contents
    bench.run(*command)  # makes the project's store
    bench.restore(old)
    code, changes = bench.run(*command)
    assert (code, changes > 0) == (0, True)
    new = bench.contents
    assert old != new or command[0] == "lock"
    for at in which(changes):
        for half in (False, True):
            bench.restore(old)
            code, _ = bench.run(*command, at=at, half=half)
            assert code == -9 or at > changes - 2, (at, half)
            for path, content in bench.contents.items():
                assert content in (old[path], new[path]), (path, at, half)
            if command[0] in ("add", "remove"):
                assert bench.run("install", "--dry-run")[0] == 0
                assert bench.contents in (old, new), (at, half)


@pytest.mark.parametrize("bench", [NEWEST], indirect=True)
@pytest.mark.parametrize("command", ["add", "auth.toml"])
def test_killed_at_the_last_changes(bench: Bench, command: str) -> None:
    kill_writes(
        bench,
        COMMANDS[command],
        lambda changes: range(changes, max(0, changes - 10), -3),
    )


@pytest.mark.soak
@pytest.mark.parametrize("bench", [OLDEST, NEWEST], indirect=True)
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_every_change(bench: Bench, command: str) -> None:
    kill_writes(bench, COMMANDS[command], lambda changes: range(1, changes + 1))


@pytest.mark.parametrize("bench", [NEWEST], indirect=True)
def test_mode_and_symbolic_link_are_kept(bench: Bench) -> None:
    pyproject = bench.project.pyproject
    real = pyproject.with_name("real.toml")
    pyproject.rename(real)
    pyproject.symlink_to(real.name)
    real.chmod(0o640)
    lock = bench.project.path / "poetry.lock"
    lock.chmod(0o604)

    assert bench.run(*COMMANDS["add"])[0] == 0

    assert pyproject.is_symlink()
    assert "leaf" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640
    assert "leaf" in lock.read_text()
    assert lock.stat().st_mode & 0o777 == 0o604
    assert not list(bench.project.path.glob(".poetry-safe-install-*"))


@pytest.mark.parametrize("bench", [NEWEST], indirect=True)
def test_hard_link_is_written_through(bench: Bench) -> None:
    other = bench.project.path / "other.toml"
    os.link(bench.project.pyproject, other)

    assert bench.run(*COMMANDS["version"])[0] == 0

    assert "1.2.3" in other.read_text()
