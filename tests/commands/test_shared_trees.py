"""Builds of one source tree by several commands at once."""

from __future__ import annotations

import os
import signal
import subprocess
import tarfile

from typing import TYPE_CHECKING

import pytest

from filelock import FileLock

from tests.laboratory.barriers import Barrier
from tests.laboratory.cases import thorough_but
from tests.laboratory.libraries import MODULES
from tests.laboratory.libraries import in_tree
from tests.laboratory.libraries import make_library
from tests.laboratory.libraries import uses
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import download
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import Project


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome

WAITS = "Waiting for the source tree"


def modules_in(venv: Path, name: str) -> int:
    return len(list(venv.glob(f"lib/python*/site-packages/{name}/module_*.py")))


@pytest.fixture
def new_library(
    index: LocalIndex, environ: dict[str, str], tmp_path: Path
) -> Callable[..., Project]:
    """Libraries, each with the backend that it says."""

    def new(backend: str = "in-tree", name: str = "lib") -> Project:
        return Project(make_library(tmp_path / name, backend, index.url), environ)

    return new


@pytest.fixture
def new_user(new_project: Callable[..., Project]) -> Callable[..., Project]:
    """Projects that depend on libraries beside them; locked."""

    def new(
        name: str = "one", *, of: tuple[str, ...] = ("lib",), develop: bool = False
    ) -> Project:
        project = new_project(name, **uses(*of, develop=develop))
        project.lock()
        return project

    return new


@pytest.fixture
def backends(home: PoetryHome) -> None:
    """The build backends, in the local index."""
    download(home.python, "setuptools", "hatchling", dependencies=True)


def second_waits(
    home: PoetryHome, first: Project, second: Project, new_venv: Callable[..., Path]
) -> tuple[Path, Path]:
    """Two installs at once that build the same tree; the first one is slow."""
    venvs = new_venv("first"), new_venv("second")
    with Barrier("building") as building:
        slow = first.start(home, "install", venv=venvs[0], environ=building.environment)
        arrival = building.arrival()
        waiting = second.start(home, "install", venv=venvs[1])
        waiting.says(WAITS)
        arrival.let_go()
        slow.result().succeeded()
        waiting.result().succeeded()
    return venvs


@pytest.mark.parametrize(
    "backend",
    thorough_but([("in-tree",)], [("in-tree",), ("setuptools",), ("hatchling",)]),
)
def test_two_projects_share_a_library(
    backend: str,
    backends: None,
    home: PoetryHome,
    new_venv: Callable[..., Path],
    new_user: Callable[..., Project],
    new_library: Callable[..., Project],
) -> None:
    new_library(backend)
    one, two = new_user("one"), new_user("two")

    venvs = second_waits(home, one, two, new_venv)

    assert [modules_in(venv, "lib") for venv in venvs] == [MODULES, MODULES]


@pytest.mark.matrix
@pytest.mark.parametrize("version", POETRY_VERSIONS)
def test_on_every_poetry(
    version: str,
    new_venv: Callable[..., Path],
    new_user: Callable[..., Project],
    new_library: Callable[..., Project],
) -> None:
    """A library that is itself being installed, with a build script."""
    home = poetry_home(version)
    lib = new_library("poetry-core")
    lib.lock()
    project = new_user()

    venvs = second_waits(home, lib, project, new_venv)

    assert modules_in(venvs[1], "lib") == MODULES


def test_a_library_installed_for_development(
    home: PoetryHome,
    new_venv: Callable[..., Path],
    new_user: Callable[..., Project],
    new_library: Callable[..., Project],
) -> None:
    new_library()
    one, two = new_user("one", develop=True), new_user("two")

    venvs = second_waits(home, one, two, new_venv)

    assert [modules_in(venv, "lib") for venv in venvs] == [0, MODULES]
    assert list(venvs[0].glob("lib/python*/site-packages/lib.pth"))


def test_trees_are_built_side_by_side(
    home: PoetryHome,
    new_venv: Callable[..., Path],
    new_user: Callable[..., Project],
    new_library: Callable[..., Project],
) -> None:
    """One command, and a library that another library depends on."""
    base = new_library(name="base").path
    backend = new_library(name="upper").path / "backend.py"
    requires = f"Requires-Dist: base @ {base.as_uri()}"
    backend.write_text(
        backend.read_text().replace('VERSION + "\\n"', f'VERSION + "\\n{requires}\\n"')
    )
    project = new_user(of=("upper", "base"))
    venv = new_venv("one")

    with Barrier("building") as building:
        running = project.start(
            home, "install", venv=venv, environ=building.environment
        )
        # The second to come comes while the first is still there, or never.
        first, second = building.arrival(), building.arrival()
        first.let_go()
        second.let_go()
        running.result().succeeded()

    assert [modules_in(venv, name) for name in ("base", "upper")] == [MODULES] * 2


NESTED = """\
meet("nested")
    environ = {{**os.environ, "VIRTUAL_ENV": {venv!r}}}
    environ.pop("BARRIER_BUILDING")
    environ["POETRY_SAFE_INSTALL_LOCK_TIMEOUT"] = "2"
    import subprocess
    with open({said!r}, "w") as said:
        line = [{poetry!r}, "install", "--no-root"]
        subprocess.run(line, cwd={cwd!r}, env=environ, stdout=said, stderr=said)
    meet("nested")
"""


def test_build_of_one_thread_waits_for_that_of_another(
    home: PoetryHome,
    new_venv: Callable[..., Path],
    new_user: Callable[..., Project],
    new_library: Callable[..., Project],
    tmp_path: Path,
) -> None:
    """F27: what a build starts is told of its own tree, and of no other thread's."""
    new_library(name="base")
    backend = new_library(name="upper").path / "backend.py"
    said = tmp_path / "said"
    nested = NESTED.format(
        venv=str(new_venv("other")),
        said=str(said),
        poetry=str(home.executable),
        cwd=str(new_user("other", of=("base",)).path),
    )
    project = new_user(of=("upper", "base"))
    backend.write_text(backend.read_text().replace('meet("building")\n', nested))

    with Barrier("building") as building, Barrier("nested") as barrier:
        environ = {**building.environment, **barrier.environment}
        running = project.start(home, "install", venv=new_venv("one"), environ=environ)
        base = building.arrival()
        barrier.arrival().let_go()
        after = barrier.arrival()
        told = " ".join(said.read_text().split())
        base.let_go()
        after.let_go()
        running.result().succeeded()
    assert f"Gave up waiting for the source tree {tmp_path / 'base'}" in told


def test_projects_that_depend_on_each_other(
    home: PoetryHome, new_project: Callable[..., Project], new_venv: Callable[..., Path]
) -> None:
    """Each builds the other's tree while its own is being built."""
    one = new_project("one", name="one", **uses("two"))
    two = new_project("two", name="two", **uses("one"))
    for project in (one, two):
        build_in_tree(project)
    for project in (one, two):
        project.lock()

    with Barrier("building") as building:
        both = [
            project.start(
                home,
                "install",
                venv=new_venv(project.path.name),
                environ=building.environment,
            )
            for project in (one, two)
        ]
        for arrival in [building.arrival(), building.arrival()]:
            arrival.let_go()
        for running in both:
            running.result().succeeded()


def build_in_tree(project: Project) -> None:
    """Give a project a backend of its own, which builds in its tree."""
    name = project.path.name
    (project.path / "src" / name).rename(project.path / name)
    text = project.pyproject.read_text().replace(', from = "src"', "")
    files = in_tree(name)
    project.pyproject.write_text(
        text.partition("[build-system]")[0] + files["pyproject.toml"]
    )
    (project.path / "backend.py").write_text(files["backend.py"])


COMMANDS = {
    "install a path dependency": ("one", "install"),
    "resolve a path dependency": ("one", "lock"),
    "add a path dependency": ("two", "add", "../lib"),
    "build the library": ("lib", "build"),
    "build without a build script": ("three", "build"),
    "install the library": ("lib", "install"),
}


@pytest.mark.matrix
@pytest.mark.parametrize("version", POETRY_VERSIONS)
def test_who_waits_for_a_build(
    version: str,
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    new_user: Callable[..., Project],
    new_library: Callable[..., Project],
) -> None:
    """The build lock is held by the test; every command that builds waits for it."""
    home = poetry_home(version)
    lib = new_library("poetry-core")
    plain = new_library(name="plain").path
    projects = {
        "lib": lib,
        "one": new_user("one", of=("plain",)),
        "two": new_project("two"),
        "three": new_project("three"),
    }
    lib.lock()
    locks = [
        tree / ".poetry" / "safe-install" / "build.lock"
        for tree in (plain, lib.path, projects["three"].path)
    ]
    for lock in locks:
        lock.parent.mkdir(parents=True, exist_ok=True)

    held = [FileLock(lock) for lock in locks]
    for lock_ in held:
        lock_.acquire()
    waiting = {
        what: projects[name].start(
            home, *command, venv=new_venv(what.replace(" ", "-"))
        )
        for what, (name, *command) in COMMANDS.items()
        if what != "resolve a path dependency"
    }
    for running in waiting.values():
        running.says(WAITS)
    for lock_ in held:
        lock_.release()
    for running in waiting.values():
        running.result().succeeded()

    held[0].acquire()
    resolving = projects["one"].start(home, "lock")
    resolving.says(WAITS)
    held[0].release()
    resolving.result().succeeded()


@pytest.mark.thorough
def test_git_checkouts_in_a_shared_environment(
    home: PoetryHome,
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    new_library: Callable[..., Project],
) -> None:
    repository = new_library()
    (repository.path / ".gitignore").write_text("build\nbusy\n")
    repository.git("init", "-q")
    repository.git("add", ".")
    repository.git("commit", "-qm", "first")
    dependency = f"lib @ git+{repository.path.as_uri()}"
    one = new_project("one", dependencies=(dependency,))
    two = new_project("two", dependencies=(dependency,))
    venv = new_venv("shared")

    with Barrier("building") as building:
        slow = one.start(home, "lock", venv=venv, environ=building.environment)
        arrival = building.arrival()
        waiting = two.start(home, "lock", venv=venv)
        waiting.says("Waiting for the git checkout")
        arrival.let_go()
        slow.result().succeeded()
        waiting.result().succeeded()

    with FileLock(venv / "src" / ".safe-install" / "lib.lock"):
        waiting = one.start(home, "install", venv=venv)
        waiting.says("Waiting for the git checkout")
    waiting.result().succeeded()
    assert modules_in(venv, "lib") == MODULES


def test_metadata_that_a_build_leaves_in_the_tree(
    home: PoetryHome,
    new_project: Callable[..., Project],
    new_library: Callable[..., Project],
) -> None:
    """Poetry reads it without any backend, and must not read half of it."""
    lib = new_library().path
    (lib / "lib.egg-info").mkdir()
    (lib / "lib.egg-info" / "PKG-INFO").write_text(
        "Metadata-Version: 2.2\nName: lib\nVersion: 1.0\n"
    )
    (lib / "backend.py").write_text("raise SystemExit('no backend is needed')")
    project = new_project("one", **uses("lib"))
    with FileLock(lib / ".poetry" / "safe-install" / "build.lock"):
        waiting = project.start(home, "lock")
        waiting.says(WAITS)
    waiting.result().succeeded()


def test_a_setup_file_that_poetry_writes_into_the_tree(
    home: PoetryHome, new_venv: Callable[..., Path], new_library: Callable[..., Project]
) -> None:
    lib = new_library("poetry-core")
    text = lib.pyproject.read_text().replace("setup-file = false", "setup-file = true")
    lib.pyproject.write_text(text)
    lib.lock()
    with FileLock(lib.store / "build.lock"):
        waiting = lib.start(home, "install", venv=new_venv("one"))
        waiting.says(WAITS)
        assert not (lib.path / "setup.py").exists()
        waiting.kill()


def test_the_timeout_names_the_holder(
    home: PoetryHome,
    new_venv: Callable[..., Path],
    new_user: Callable[..., Project],
    new_library: Callable[..., Project],
) -> None:
    new_library()
    one, two = new_user("one"), new_user("two")

    with Barrier("building") as building:
        slow = one.start(
            home, "install", venv=new_venv("one"), environ=building.environment
        )
        arrival = building.arrival()
        impatient = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "0"}
        gave_up = two.poetry(home, "install", venv=new_venv("two"), environ=impatient)
        gave_up.failed(
            "Did not wait for the source tree",
            f"install` (pid {slow.pid}",
            "Cannot install lib.",
            "POETRY_SAFE_INSTALL_LOCK_TIMEOUT",
        )
        assert gave_up.code == 75, "a thread's wait, too"
        arrival.let_go()
        slow.result().succeeded()


def test_interrupted_while_it_waits(
    home: PoetryHome,
    new_venv: Callable[..., Path],
    new_user: Callable[..., Project],
    new_library: Callable[..., Project],
) -> None:
    """Ctrl-C ends a command at once, though a thread of it is waiting for a lock."""
    lib = new_library().path
    project = new_user()
    with FileLock(lib / ".poetry" / "safe-install" / "build.lock"):
        waiting = project.start(home, "install", venv=new_venv("one"))
        waiting.says(WAITS)
        waiting.send_signal(signal.SIGINT)
        waiting.result(timeout=60).failed()


@pytest.mark.thorough
def test_progress_on_a_terminal(
    home: PoetryHome,
    new_venv: Callable[..., Path],
    new_user: Callable[..., Project],
    new_library: Callable[..., Project],
) -> None:
    """The waiting is told beside the operation, where Poetry updates its lines."""
    import pexpect

    lib = new_library().path
    project = new_user()
    store = lib / ".poetry" / "safe-install"
    with FileLock(store / "build.lock"):
        child = pexpect.spawn(
            str(home.executable),
            ["--ansi", "install"],
            cwd=str(project.path),
            env=project.environment(new_venv("one")),
            dimensions=(40, 300),
            timeout=120,
            encoding="utf-8",
        )
        child.expect(r"Installing .*lib.*Waiting for the source tree")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


@pytest.fixture
def unwritable(new_library: Callable[..., Project]) -> Path:
    """A library that cannot be written to; ours is in the directory below it."""
    lib = new_library().path
    if os.geteuid():
        pytest.skip("needs root, to mount the library read-only")
    mount = ["mount", "--bind", "-o", "ro", str(lib), str(lib)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    return lib


def test_a_tree_that_is_not_writable_is_built_without_a_lock(
    unwritable: Path,
    home: PoetryHome,
    new_project: Callable[..., Project],
    tmp_path: Path,
) -> None:
    try:
        project = new_project("one", **uses("lib"))
        cache = tmp_path / "cache"
        environ = {"POETRY_CACHE_DIR": str(cache)}
        # This backend cannot work there either, but it is the one that says so.
        result = project.poetry(home, "lock", "-v", environ=environ)
        assert "Read-only file system: 'busy'" in result.out
        assert "without a lock" not in result.out
        assert not list(cache.rglob("build.lock"))
    finally:
        subprocess.run(["umount", str(unwritable)], check=True)


SAME_FILES = {
    "poetry-core": """\
[project]
name = "lib"
version = "1.0"
requires-python = ">=3.10"

[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
""",
    "setuptools": """\
[project]
name = "lib"
version = "1.0"
requires-python = ">=3.10"

[tool.setuptools]
packages = ["lib"]

[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
""",
    "hatchling": """\
[project]
name = "lib"
version = "1.0"
requires-python = ">=3.10"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
""",
}


@pytest.mark.parametrize(
    ("backend", "git"),
    thorough_but(
        [("poetry-core", False)],
        [(backend, True) for backend in SAME_FILES] + [("poetry-core", False)],
    ),
)
def test_artifacts_are_the_same_byte_for_byte(
    backend: str,
    git: bool,
    backends: None,
    home: PoetryHome,
    plain_home: PoetryHome,
    index: LocalIndex,
    new_venv: Callable[..., Path],
    environ: dict[str, str],
    tmp_path: Path,
    new_user: Callable[..., Project],
    new_library: Callable[..., Project],
) -> None:
    path = new_library().path
    (path / "backend.py").unlink()
    source = f'[[tool.poetry.source]]\nname = "local"\nurl = "{index.url}"\n\n'
    (path / "pyproject.toml").write_text(source + SAME_FILES[backend])
    for file in path.rglob("*"):
        os.utime(file, (1_700_000_000, 1_700_000_000))
    lib = Project(path, {**environ, "SOURCE_DATE_EPOCH": "1700000000"})
    if git:
        lib.git("init", "-q")
        lib.git("add", ".")
        lib.git("commit", "-qm", "first")
    project = new_user()

    def build(home: PoetryHome, name: str) -> dict[str, object]:
        output = tmp_path / name
        lib.poetry(home, "build", "--output", str(output)).succeeded()
        assert len(list(output.iterdir())) == 2
        return {file.name: contents(file) for file in output.iterdir()}

    without = build(plain_home, "without")
    project.poetry(home, "install", venv=new_venv("one")).succeeded()
    built = build(home, "with")
    if backend == "hatchling":
        built = {name: without_locks(content) for name, content in built.items()}
    assert built == without
    if git:
        ignored = ("build/", "lib.egg-info/", "dist/")  # the backends' own doing
        seen = lib.git("status", "--short").splitlines()
        assert [line for line in seen if not line.endswith(ignored)] == []


def contents(artifact: Path) -> object:
    """The bytes; of an sdist without what only tells when it was made.

    gzip writes the time into its head, and setuptools makes PKG-INFO anew.
    """
    if artifact.suffix == ".whl":
        return artifact.read_bytes()
    with tarfile.open(artifact) as archive:
        return [
            (
                {**member.get_info(), "mtime": 0, "chksum": 0},
                data.read() if data else b"",
            )
            for member in archive.getmembers()
            for data in [archive.extractfile(member)]
        ]


def without_locks(artifact: object) -> object:
    """Hatchling packs the locks, which are empty, unless .gitignore names .poetry."""
    if not isinstance(artifact, list):
        return artifact
    locks = {
        about["name"].partition("/")[2]: data
        for about, data in artifact
        if "/.poetry/" in about["name"]
    }
    assert locks.pop(".poetry/.gitignore", b"*") == b"*"
    assert not any(locks.values()), locks
    assert set(locks) <= {
        ".poetry/safe-install/build.lock",
        ".poetry/safe-install/project.lock",
    }
    return [part for part in artifact if "/.poetry/" not in part[0]["name"]]
