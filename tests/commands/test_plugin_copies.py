"""Plugin sets of fresh clones, put together from copies in the user's cache."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

from tests.laboratory.cases import thorough_but
from tests.laboratory.killing import killed
from tests.laboratory.pausing import Pause
from tests.laboratory.plugins import marker_plugin
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.preloaded import shared
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.killing import Killed
    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project
    from tests.laboratory.running import Result
    from tests.laboratory.users import OtherUser

ACTIVE = "copied 1.0 is active"
MAKING = "Installing copied"
COPIED = "Plugin set copied"
DAY = 24 * 3600


@pytest.fixture
def clone(
    new_project: Callable[..., Project], own_folder: Path, tmp_path: Path
) -> Callable[..., Project]:
    """Fresh clones of one project that requires a plugin; the cache is theirs alone."""
    plugin = marker_plugin("copied", "1.0", script=True)
    files = {f"copied_{n}.py": f"NUMBER = {n}\n" for n in range(5)}
    replace(plugin, files={**plugin.files, **files}).wheel(own_folder)
    cache = {"POETRY_CACHE_DIR": str(tmp_path / "cache")}

    def new(name: str, **about: Any) -> Project:
        about = {"requires_plugins": 'copied = "*"', **about}
        project = new_project(name, **about)
        return replace(project, environ={**project.environ, **cache})

    return new


@pytest.fixture
def venv(new_venv: Callable[..., Path]) -> Path:
    return new_venv("environment")


@pytest.fixture
def install(home: PoetryHome, venv: Path) -> Callable[..., Result]:
    """``install``, of nothing but the project's plugins."""

    def install(project: Project, **about: Any) -> Result:
        about = {"venv": venv, **about}
        return project.poetry(about.pop("home", home), "install", "--no-root", **about)

    return install


def copies_of(project: Project) -> Path:
    return Path(project.environ["POETRY_CACHE_DIR"], "safe-install", "plugin-copies")


def the_copy(project: Project) -> Path:
    (manifest,) = copies_of(project).glob("*/copy.json")
    return manifest.parent


def the_set(project: Project) -> Path:
    (found,) = [path for path in project.store.glob("plugins/*/*") if path.is_dir()]
    return found


def made(result: Result) -> bool:
    """Whether the set was made, or else was there."""
    assert ACTIVE in result.succeeded().out
    return MAKING in result.out


def test_fresh_clone_has_the_set_without_the_index(
    clone: Callable[..., Project],
    install: Callable[..., Result],
    home: PoetryHome,
    venv: Path,
    index: LocalIndex,
) -> None:
    first, second = clone("first"), clone("second")
    assert made(install(first))
    # Nothing is asked of what is installed beside Poetry.
    assert [path for path in index.requests if "copied" not in path] == []
    asked = len(index.requests)

    assert not made(install(second))

    assert len(index.requests) == asked
    files = sorted(path for path in the_set(first).rglob("*") if path.is_file())
    assert len(files) > 12
    for file in files:
        same = the_set(second) / file.relative_to(the_set(first))
        assert file.read_bytes() == same.read_bytes() or file.name == "set.json"
        assert file.stat().st_mode == same.stat().st_mode
        assert not file.stat().st_mode & 0o222
        assert int(file.stat().st_mtime) == int(same.stat().st_mtime) or (
            file.name == "set.json"
        )
    module = "lib/copied.py"
    one, other = (the_set(project) / module for project in (first, second))
    assert one.stat().st_ino == other.stat().st_ino or _clones(one.parent)
    # Nothing is read from the cache or from another clone.
    shutil.rmtree(first.path)
    shutil.rmtree(Path(second.environ["POETRY_CACHE_DIR"]))
    assert ACTIVE in second.poetry(home, "run", "true", venv=venv).succeeded().out


def _clones(directory: Path) -> bool:
    """Whether files there are cloned, so that each has a number of its own."""
    import fcntl

    from poetry_plugin_safe_install.project_plugins.trees import FICLONE

    with (
        tempfile.TemporaryFile(dir=directory) as one,
        tempfile.TemporaryFile(dir=directory) as other,
    ):
        one.write(b"x" * 4096)
        one.flush()
        try:
            fcntl.ioctl(other.fileno(), FICLONE, one.fileno())
        except OSError:
            return False
        return True


@pytest.mark.matrix
@pytest.mark.parametrize("version", POETRY_VERSIONS)
def test_every_poetry(
    version: str,
    clone: Callable[..., Project],
    install: Callable[..., Result],
    index: LocalIndex,
) -> None:
    home = poetry_home(version)
    assert made(install(clone("first"), home=home))
    asked = [*index.requests]
    assert [path for path in asked if "copied" not in path] == []

    assert not made(install(clone("second"), home=home))
    assert index.requests == asked


@pytest.mark.parametrize(
    "what",
    thorough_but(
        [("sources",), ("requirement",)],
        [("sources",), ("requirement",), ("Poetry",), ("setting",)],
    ),
)
def test_what_decides_what_is_installed(
    what: str,
    clone: Callable[..., Project],
    install: Callable[..., Result],
    home: PoetryHome,
    tmp_path: Path,
) -> None:
    about: dict[str, Any] = {}
    if what == "Poetry":
        home = home.clone(tmp_path / "home")
        about = {"home": home}
    assert made(install(clone("first"), **about))
    second = clone("second")
    text = second.pyproject.read_text()
    if what == "sources":
        url = 'url = "http://127.0.0.1:9"\npriority = "explicit"'
        more = f'[[tool.poetry.source]]\nname = "x"\n{url}\n'
        second.pyproject.write_text(
            text.replace("[tool.poetry.req", f"{more}[tool.poetry.req")
        )
    elif what == "requirement":
        second.pyproject.write_text(text.replace('"*"', '">=1.0"'))
    elif what == "Poetry":
        home.pip_install(Distribution("other", "1.0").wheel(tmp_path))
    else:
        about = {"environ": {"POETRY_INSTALLER_NO_BINARY": "unrelated"}}

    assert made(install(second, **about))
    assert len([*copies_of(second).glob("*/copy.json")]) == 2


def test_switched_off(
    clone: Callable[..., Project], install: Callable[..., Result]
) -> None:
    off = '[tool.poetry-plugin-safe-install]\nplugin-copies = "never"\n'
    for name in ("first", "second"):
        project = clone(name, tail=off)
        assert made(install(project))
        assert not copies_of(project).exists()


def test_file_on_this_machine_stays_at_home(
    clone: Callable[..., Project], install: Callable[..., Result], own_folder: Path
) -> None:
    """Its path is the same in every clone, and its content need not be."""
    wheel = own_folder / "copied-1.0-py3-none-any.whl"
    for name in ("first", "second"):
        project = clone(name, requires_plugins=f'copied = {{ path = "{wheel}" }}')
        assert made(install(project))
        assert not [*copies_of(project).glob("*/copy.json")]


def _replace(path: Path, content: bytes) -> None:
    """Write a new file: the old one may have other names."""
    mode, times = path.stat().st_mode, (path.stat().st_atime, path.stat().st_mtime)
    path.unlink()
    path.write_bytes(content)
    path.chmod(stat.S_IMODE(mode))
    os.utime(path, times)


DAMAGES = (
    "truncated",
    "lost",
    "changed",
    "entry points changed",
    "list unreadable",
    "list lost",
    "file of all",
)


@pytest.mark.parametrize(
    "damage",
    thorough_but(
        [("changed",)],
        [(damage,) for damage in DAMAGES],
    ),
)
def test_damaged_copy_is_none(
    damage: str, clone: Callable[..., Project], install: Callable[..., Result]
) -> None:
    first = clone("first")
    assert made(install(first))
    copy = the_copy(first)
    entry_points = copy / "set" / "lib" / "copied-1.0.dist-info" / "entry_points.txt"
    module = copy / "set" / "lib" / "copied_3.py"
    if damage == "truncated":
        _replace(module, module.read_bytes()[:-3])
    elif damage == "lost":
        module.unlink()
    elif damage == "changed":
        _replace(module, bytes(module.stat().st_size))
    elif damage == "entry points changed":
        text = entry_points.read_bytes()
        _replace(entry_points, text.replace(b"plugin]", b"plugim]"))
    elif damage == "list unreadable":
        _replace(copy / "copy.json", b'{"entries": ')
    elif damage == "list lost":
        (copy / "copy.json").unlink()
    else:
        module.chmod(0o666)

    assert made(install(clone("second")))
    assert not made(install(clone("third")))
    assert module.read_text() == "NUMBER = 3\n"
    assert not [*copies_of(first).glob("staging")]


def test_check_reads_all_of_a_copy(
    clone: Callable[..., Project],
    install: Callable[..., Result],
    home: PoetryHome,
    venv: Path,
) -> None:
    project = clone("first")
    install(project).succeeded()

    def check() -> str:
        text = project.poetry(home, "safe-install", "--check", "-v", venv=venv).out
        return " ".join(text.split())

    assert "; 1 copy in the cache (0.0 MB)" in check()
    module = the_copy(project) / "set" / "lib" / "copied_3.py"
    _replace(module, b"NUMBER = 4\n")
    assert "1 of them not whole, and made again when needed" in check()
    assert f"{module} is not what it was" in check()


def test_unused_copy_is_removed(
    clone: Callable[..., Project], install: Callable[..., Result]
) -> None:
    first = clone("first")
    install(first).succeeded()
    old = the_copy(first)
    then = time.time() - 31 * DAY
    os.utime(old / "copy.json", (then, then))

    assert made(install(clone("other", requires_plugins='copied = "1.0"')))
    assert the_copy(first) != old

    # One that is used stays.
    newer = the_copy(first)
    os.utime(newer / "copy.json", (then, then))
    assert not made(install(clone("same", requires_plugins='copied = "1.0"')))
    assert time.time() - (newer / "copy.json").stat().st_mtime < DAY


def test_nobody_else_may_write(
    clone: Callable[..., Project], install: Callable[..., Result]
) -> None:
    first = clone("first")
    install(first, umask=0).succeeded()
    directory = copies_of(first)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for place in (directory, first.store):
        for path in place.rglob("*"):
            assert not path.stat().st_mode & stat.S_IWOTH, path
    assert not made(install(clone("second")))

    directory.chmod(0o770)
    assert made(install(clone("third")))


def test_copies_of_another_user_are_none(
    clone: Callable[..., Project],
    install: Callable[..., Result],
    home: PoetryHome,
    other_user: OtherUser,
) -> None:
    """With one cache directory for both; the second user could read everything."""
    first = clone("first")
    install(first).succeeded()
    for path in (copies_of(first), *copies_of(first).rglob("*")):
        os.chown(path, other_user.uid, other_user.uid)

    second = clone("second")
    assert made(install(second))

    found = {path.stat().st_uid for path in second.store.rglob("*")}
    assert found == {os.geteuid()}
    found = {path.stat().st_uid for path in copies_of(first).rglob("*")}
    assert found == {other_user.uid}


def test_cache_on_another_device(
    clone: Callable[..., Project], install: Callable[..., Result], tmp_path: Path
) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm on a device of its own")
    with tempfile.TemporaryDirectory(dir=memory) as place:
        environ = {"POETRY_CACHE_DIR": place}
        first, second = clone("first"), clone("second")
        assert made(install(first, environ=environ))
        assert not made(install(second, environ=environ))
    (file,) = the_set(second).glob("lib/copied.py")
    assert file.stat().st_nlink == 1
    assert not file.stat().st_mode & 0o222


@pytest.mark.thorough
def test_another_mode_is_copied(
    clone: Callable[..., Project], install: Callable[..., Result]
) -> None:
    first, second = clone("first"), clone("second")
    assert made(install(first, umask=0o022))
    assert not made(install(second, umask=0o077))
    (file,) = the_set(second).glob("lib/copied.py")
    (script,) = the_set(second).glob("bin/copied")
    assert stat.S_IMODE(file.stat().st_mode) == 0o400
    assert stat.S_IMODE(script.stat().st_mode) == 0o500


@pytest.mark.thorough
@pytest.mark.parametrize("below", ["cache", "project"])
@pytest.mark.parametrize("every", [33, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_any_change(
    below: str,
    every: int,
    clone: Callable[..., Project],
    home: PoetryHome,
    venv: Path,
) -> None:
    """While a copy is published, or a set put together from one; the next has it all."""
    first = clone("first")
    command = ("install", "--no-root")
    poetry = shared(home, first.environment(venv))

    def run(project: Project) -> Result:
        return poetry.run(project, *command, environ=project.environment(venv))

    def kill(name: str, at: int) -> tuple[Project, Killed]:
        project = clone(name)
        place = project.path / ".poetry"
        if below == "cache":
            place = copies_of(project)
            shutil.rmtree(place, ignore_errors=True)
        found = killed(poetry, project, *command, venv=venv, at=at, below=place)
        return project, found

    assert made(run(first))
    _, counted = kill("counted", 0)
    assert made(counted.result) is (below == "cache")
    assert counted.changes > 30
    for at in range(1, counted.changes + 1, every):
        project, found = kill(str(at), at)
        assert found.was_killed, found.result.out
        assert ACTIVE in run(project).succeeded().out, at
        assert not (project.store / "staging").exists()
        made(run(clone(f"{at}-next")))
        assert not made(run(clone(f"{at}-last"))), at


@pytest.mark.parametrize("number", [12, pytest.param(100, marks=pytest.mark.soak)])
def test_fresh_worktrees_at_once(
    number: int,
    clone: Callable[..., Project],
    home: PoetryHome,
    venv: Path,
    index: LocalIndex,
) -> None:
    """One makes the set, and is seen doing so; the others wait for it."""
    project = clone("main")
    project.git("init", "--quiet")
    project.git("add", ".")
    project.git("commit", "--quiet", "--message", "first")
    for n in range(number):
        project.git("worktree", "add", "--quiet", f"../{n}")
    trees = [replace(project, path=project.path.parent / f"{n}") for n in range(number)]
    command = ("install", "--no-root")
    with Pause(
        "poetry_plugin_safe_install.project_plugins.sets:_compile:before"
    ) as pause:
        maker = trees[0].start(home, *command, venv=venv, environ=pause.environment)
        arrival = pause.arrival()
        asked = len(index.requests)
        others = [tree.start(home, *command, venv=venv) for tree in trees[1:]]
        for other in others:
            other.says("Waiting for the plugin set", timeout=number * 20)
        arrival.let_go()
        assert made(maker.result())
        for other in others:
            assert not made(other.result())
    assert len(index.requests) == asked
    assert len({the_set(tree).name for tree in trees}) == 1
