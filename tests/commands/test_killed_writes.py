"""Files of a project and of Poetry: killed at any change, each is old or new."""

from __future__ import annotations

import os
import uuid

from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.cases import thorough_but
from tests.laboratory.killing import KILLS
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import OLDEST
from tests.laboratory.poetries import poetry_home
from tests.laboratory.preloaded import Preloaded
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.projects import Project

LEAF = Distribution("leaf", "1.0", {"leaf/__init__.py": ""})
BUD = Distribution("bud", "1.0", {"bud/__init__.py": ""})
OF_BOTH = {
    "add": ("add", "--lock", "leaf"),
    "remove": ("remove", "--lock", "bud"),
    "self add": ("self", "add", "leaf"),
    "self remove": ("self", "remove", "bud"),
}
"""Commands that write pyproject.toml and poetry.lock: both, or neither."""
COMMANDS = {
    **OF_BOTH,
    "self update": ("self", "update"),
    "lock": ("lock", "--regenerate"),
    "update": ("update", "--lock"),
    "version": ("version", "1.2.3"),
    "source add": ("source", "add", "other", "https://index.test/simple/"),
    "poetry.toml": ("config", "--local", "virtualenvs.in-project", "true"),
    "config.toml": ("config", "virtualenvs.in-project", "false"),
    "auth.toml": ("config", "http-basic.local", "somebody", "secret"),
    "envs.toml": ("env", "use", "python"),
}
OTHERS_ENVIRONMENT = '[other-1234]\nminor = "3.9"\npatch = "3.9.1"\n'
OWNER = 12345
Files = dict["Path", tuple[object, ...]]
"""Where each is, or leads to, its mode, its owner and what is in it."""


@dataclass(frozen=True)
class Bench:
    """A project and a configuration, put back before every kill."""

    project: Project
    config: Path
    poetry: Preloaded
    python: Path
    contents: dict[Path, bytes] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        names = ("pyproject.toml", "poetry.lock")
        own = [self.project.path / name for name in (*names, "poetry.toml")]
        poetrys = [self.config / name for name in (*names, "config.toml", "auth.toml")]
        return [*own, *poetrys, self.venvs / "envs.toml"]

    @property
    def venvs(self) -> Path:
        return self.config.parent / "venvs"

    @property
    def state(self) -> Files:
        return {path: _state(path) for path in self.files}

    def keep(self) -> None:
        """What is there now is what ``restore`` has again."""
        for path in self.files:
            self.contents[path] = path.read_bytes() if path.exists() else b""

    def restore(self) -> None:
        for number, path in enumerate(self.files):
            content = self.contents[path]
            if not content:
                path.unlink(missing_ok=True)
                continue
            # Everything that can be kept is not what a new file has.
            real = path.with_name(f"real-{path.name}")
            path.unlink(missing_ok=True)
            path.symlink_to(real.name)
            real.write_bytes(content)
            real.chmod(0o604 + 8 * (number % 8))
            if os.geteuid() == 0:
                os.chown(real, OWNER, OWNER)

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
        known = [str(self.python) if word == "python" else word for word in arguments]
        result = self.poetry.run(self.project, *known, environ=whole)
        assert result.code in (0, -9), result.out
        return result.code, counted.stat().st_size if counted.exists() else 0


def _state(path: Path) -> tuple[object, ...]:
    """A file that is not there is empty: Poetry makes some before it writes them."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return ("", b"")
    content = path.read_bytes()
    if not content:
        return ("", b"")
    link = os.readlink(path) if path.is_symlink() else ""
    return (link, about.st_mode, about.st_uid, about.st_gid, content)


@pytest.fixture
def bench(
    new_project: Callable[..., Project],
    index: LocalIndex,
    own_folder: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Bench]:
    LEAF.wheel(own_folder)
    BUD.wheel(own_folder)
    made = new_project("watched/project", dependencies=("bud (>=1.0)",))
    config = tmp_path / "watched" / "config"
    config.mkdir()
    (config / "config.toml").write_text("[installer]\nparallel = true\n")
    (config / "auth.toml").write_text('[http-basic.other]\nusername = "a"\n')
    source = f'[[tool.poetry.source]]\nname = "local"\nurl = "{index.url}"\n'
    (config / "pyproject.toml").write_text(f'{source}priority = "primary"\n')
    (made.path / "poetry.toml").write_text("[installer]\nmax-workers = 4\n")
    environ = {
        **made.environ,
        "POETRY_CONFIG_DIR": str(config),
        "POETRY_KEYRING_ENABLED": "false",
        "POETRY_VIRTUALENVS_PATH": str(tmp_path / "watched" / "venvs"),
    }
    project = replace(made, environ=environ)
    project.lock()
    home = poetry_home(request.param)
    if request.node.callspec.params.get("command", "").startswith("self"):
        home = home.clone(tmp_path / "home")
        home.pip_install(*own_folder.glob("*.whl"))
    with Preloaded(home, project.environment()) as poetry:
        yield Bench(project, config, poetry, home.python.resolve())


def prepare(bench: Bench, command: str) -> None:
    """Have all made that is made once."""
    if command.startswith("self"):
        assert bench.run("self", "add", "bud")[0] == 0
    if command == "envs.toml":
        assert bench.run(*COMMANDS[command])[0] == 0
        (bench.venvs / "envs.toml").write_text(OTHERS_ENVIRONMENT)
    bench.keep()
    bench.run(*COMMANDS[command])  # makes the store
    bench.restore()


def kill_writes(
    bench: Bench, command: str, which: Callable[[int], Iterable[int]]
) -> None:
    prepare(bench, command)
    old = bench.state
    words = COMMANDS[command]
    code, changes = bench.run(*words)
    assert (code, changes > 0) == (0, True)
    new = bench.state
    assert old != new or words[0] in ("lock", "update")
    for at in which(changes):
        for half in (False, True):
            bench.restore()
            code, _ = bench.run(*words, at=at, half=half)
            assert code == -9 or at > changes - 2, (at, half)
            for path, state in bench.state.items():
                assert state in (old[path], new[path]), (path, at, half)
            if command in OF_BOTH:
                own = [words[0]] if words[0] == "self" else []
                assert bench.run(*own, "install", "--dry-run")[0] == 0
                assert bench.state in (old, new), (at, half)
            if command == "self update":
                # Every other command of poetry self finds the two different then, also
                # where nobody was killed and without this plugin.
                assert bench.run(*words)[0] == 0
                assert bench.state == new, (at, half)
    print(f"\n{command}: {changes} changes")


@pytest.mark.parametrize("bench", [NEWEST], indirect=True)
@pytest.mark.parametrize(
    "command",
    thorough_but(
        [("envs.toml",)],
        [("add",), ("auth.toml",), ("envs.toml",), ("self add",)],
    ),
)
def test_killed_at_the_last_changes(bench: Bench, command: str) -> None:
    kill_writes(
        bench, command, lambda changes: range(changes, max(0, changes - 10), -3)
    )


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("bench", [OLDEST, NEWEST], indirect=True)
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_every_change(bench: Bench, command: str) -> None:
    kill_writes(bench, command, lambda changes: range(1, changes + 1))


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
