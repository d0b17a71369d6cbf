"""Locks between real commands: who waits for whom, and what is left when one dies."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.barriers import MEET
from tests.laboratory.barriers import Barrier
from tests.laboratory.cases import soak_but
from tests.laboratory.cases import thorough_but
from tests.laboratory.distributions import own_wheel
from tests.laboratory.pausing import Pause
from tests.laboratory.plugins import marker_plugin
from tests.laboratory.running import Running
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project
    from tests.laboratory.users import OtherUser

INSTALLING = "poetry.installation.wheel_installer:WheelInstaller.install:before"
LEAF = Distribution("leaf", "1.0", {"leaf/__init__.py": ""})
LEAVES = tuple(
    Distribution(
        f"leaf{number}", "1.0", {f"leaf{number}/m{i}.py": "" for i in range(9)}
    )
    for number in range(8)
)


@pytest.fixture
def project(
    new_project: Callable[..., Project],
    own_folder: Path,
) -> Project:
    """One dependency, locked."""
    LEAF.wheel(own_folder)
    project = new_project(dependencies=("leaf",))
    project.lock()
    return project


def modules_of(venv: Path) -> set[str]:
    return {path.name for path in venv.glob("lib/python*/site-packages/leaf*")}


@pytest.mark.parametrize(
    "round",
    soak_but([(1,)], [(number,) for number in range(1, 21)]),
)
def test_installs_at_once_into_one_environment(
    round: int,
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
) -> None:
    """F8: eight at once, the environment does not exist yet; exactly one does it all."""
    for leaf in LEAVES:
        leaf.wheel(own_folder)
    project = new_project(dependencies=tuple(leaf.name for leaf in LEAVES))
    none = {"POETRY_VIRTUALENVS_PATH": str(project.path / "elsewhere")}
    replace(project, environ={**project.environ, **none}).lock()

    running = [project.start(home, "install") for _ in range(8)]
    said = [command.result().succeeded().out for command in running]

    assert sum("Creating virtualenv" in out for out in said) == 1
    for leaf in LEAVES:
        assert sum(f"Installing {leaf.name}" in out for out in said) == 1
    assert len([out for out in said if "Installing leaf" in out]) == 1


def test_installs_into_two_environments_run_side_by_side_and_lock_waits(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    venvs = [new_venv("first"), new_venv("second")]
    read = new_venv("read")
    with Pause(INSTALLING) as pause:
        running = [
            project.start(home, "install", venv=venv, environ=pause.environment)
            for venv in venvs
        ]
        arrivals = [pause.arrival(), pause.arrival()]  # both are installing now
        assert {arrival.pid for arrival in arrivals} == {c.pid for c in running}
        locking = project.start(home, "lock")
        locking.says("Waiting for the project")
        for reader in (("show",), ("check",), ("env", "info"), ("run", "true")):
            assert "Waiting" not in project.poetry(home, *reader, venv=read).out
        for arrival in arrivals:
            arrival.let_go()
        for command in (*running, locking):
            command.result().succeeded()
    assert all("leaf" in modules_of(venv) for venv in venvs)


def test_readers_never_wait(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    command_scope = {"POETRY_SAFE_INSTALL_LOCK_SCOPE": "command"}
    read = new_venv("read")
    with Pause(INSTALLING) as pause:
        running = project.start(
            home,
            "install",
            venv=new_venv("environment"),
            environ={**pause.environment, **command_scope},
        )
        arrival = pause.arrival()
        for arguments in (("show",), ("check",), ("env", "info")):
            project.poetry(home, *arguments, venv=read).succeeded()
        arrival.let_go()
        running.result().succeeded()


def test_timeout_names_the_holder(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    venv = new_venv("environment")
    with Pause(INSTALLING) as pause:
        running = project.start(home, "install", venv=venv, environ=pause.environment)
        arrival = pause.arrival()
        for limit, text in (("0", "Did not wait for"), ("1.5", "Gave up waiting for")):
            environ = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": limit}
            project.poetry(home, "install", venv=venv, environ=environ).failed(
                f"{text} the environment {venv}",
                f"`poetry install` (pid {running.pid} on ",
                "To wait longer, set POETRY_SAFE_INSTALL_LOCK_TIMEOUT",
            )
        arrival.let_go()
        running.result().succeeded()


@pytest.mark.parametrize("first", ["poetry", "uv"])
def test_uv_and_poetry_exclude_each_other(
    first: str,
    project: Project,
    own_folder: Path,
    home: PoetryHome,
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    venv = new_venv("environment")
    tree = tmp_path / "slow"
    (tree / "backend").mkdir(parents=True)
    (tree / "backend" / "slow_backend.py").write_text(
        f"{MEET}\n"
        "import os, zipfile\n"
        "def build_wheel(directory, *args, **kwargs):\n"
        "    meet('build')\n"
        "    name = 'slow-1.0-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(os.path.join(directory, name), 'w') as wheel:\n"
        "        wheel.writestr('slow.py', '')\n"
        "        info = 'slow-1.0.dist-info/'\n"
        "        wheel.writestr(info + 'METADATA',"
        " 'Metadata-Version: 2.1\\nName: slow\\nVersion: 1.0\\n')\n"
        "        wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\n"
        "Root-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
        "        wheel.writestr(info + 'RECORD', '')\n"
        "    return name\n"
    )
    (tree / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'slow_backend'\n"
        "backend-path = ['backend']\n[project]\nname = 'slow'\nversion = '1.0'\n"
    )

    def start_uv(environ: dict[str, str]) -> Running:
        command = [sys.executable, "-m", "uv", "-v", "pip", "install", "--no-deps"]
        command += ["--offline", "--no-cache", "--python", str(venv), str(tree)]
        return Running(command, env={**project.environment(venv), **environ})

    with Barrier("build") as building, Pause(INSTALLING) as pause:
        if first == "uv":
            uv = start_uv(building.environment)
            arrival = building.arrival()
            poetry = project.start(home, "install", venv=venv)
            poetry.says(f"Waiting for the environment {venv}")
        else:
            poetry = project.start(
                home, "install", venv=venv, environ=pause.environment
            )
            arrival = pause.arrival()
            uv = start_uv({})
            said = uv.says("Waiting to acquire").splitlines()[-1]
            assert ".lock" in said
            assert not uv.has_ended
        arrival.let_go()
        poetry.result().succeeded()
        uv.result().succeeded()
    assert "leaf" in modules_of(venv)
    assert list(venv.glob("lib/python*/site-packages/slow.py"))


@pytest.mark.parametrize(
    ("nested", "scope"),
    thorough_but(
        [("install", "phase")],
        product(("install", "run", "build", "lock"), ("command", "phase")),
    ),
)
def test_command_within_a_command_does_not_wait_for_its_ancestor(
    nested: str,
    scope: str,
    project: Project,
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """A build script of the root package runs Poetry on its own project."""
    text = project.pyproject.read_text()
    marker = project.path / "nested-done"
    extra = "'true'" if nested == "run" else ""
    (project.path / "build.py").write_text(
        "import os, subprocess\n"
        f"if not os.path.exists({str(marker)!r}):\n"
        f"    open({str(marker)!r}, 'w').close()\n"
        f"    subprocess.run([{str(home.executable)!r}, {nested!r}, {extra}],"
        " check=True, timeout=100)\n"
    )
    project.pyproject.write_text(
        text.replace(
            "[[tool.poetry.source]]",
            '[tool.poetry.build]\nscript = "build.py"\n\n[[tool.poetry.source]]',
        )
    )
    project.lock()
    limits = {
        "POETRY_SAFE_INSTALL_LOCK_SCOPE": scope,
        "POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "30",
    }
    result = project.poetry(
        home, "install", venv=new_venv("environment"), environ=limits
    )
    assert marker.exists(), result.out
    result.succeeded()
    assert "Waiting" not in result.out
    assert not list(project.path.rglob("*.within-*"))


def test_run_holds_nothing_while_the_program_runs(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    """So ``poetry run tox`` may install; and the variable of held locks is gone."""
    venv = new_venv("environment")
    code = (
        "import os, subprocess, sys;"
        "assert not [n for n in os.environ if 'SAFE_INSTALL_HELD' in n];"
        f"subprocess.run([{str(home.executable)!r}, 'install'], check=True, timeout=60)"
    )
    limit = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "5"}
    result = project.poetry(home, "run", "python", "-c", code, venv=venv, environ=limit)
    assert "Installing leaf" in result.succeeded().out


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_holder_that_is_ended_leaves_no_lock(
    by: signal.Signals,
    project: Project,
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    venv = new_venv("environment")
    with Pause(INSTALLING) as pause:
        holder = project.start(home, "install", venv=venv, environ=pause.environment)
        arrival = pause.arrival()
        waiter = project.start(home, "install", venv=venv)
        waiter.says("Waiting for the environment")
        holder.send_signal(by)
        if by is signal.SIGINT:  # Poetry lets its threads come to an end
            arrival.let_go()
        waiter.result().succeeded()
    assert holder.result().code != 0
    assert "leaf" in modules_of(venv)


def test_stopped_holder_is_not_overtaken(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    venv = new_venv("environment")
    with Pause(INSTALLING) as pause:
        holder = project.start(home, "install", venv=venv, environ=pause.environment)
        arrival = pause.arrival()
        holder.send_signal(signal.SIGSTOP)
        limit = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "2"}
        project.poetry(home, "install", venv=venv, environ=limit).failed("Gave up")
        holder.send_signal(signal.SIGCONT)
        arrival.let_go()
        holder.result().succeeded()


def test_env_remove_waits_for_an_install(project: Project, home: PoetryHome) -> None:
    fresh = {"POETRY_VIRTUALENVS_PATH": str(project.path / "fresh")}
    with Pause(INSTALLING) as pause:
        holder = project.start(home, "install", environ={**fresh, **pause.environment})
        arrival = pause.arrival()
        remover = project.start(home, "env", "remove", "--all", environ=fresh)
        remover.says("Waiting for")
        arrival.let_go()
        holder.result().succeeded()
        remover.result().succeeded()
    assert not list((project.path / "fresh").glob("demo-*"))


PRELOADED = """\
#include <errno.h>
#include <stdlib.h>
int flock(int fd, int operation) {
    errno = atoi(getenv("FLOCK_ANSWERS"));
    return -1;
}
"""


@pytest.mark.parametrize(
    "answer", thorough_but([(38,)], [(38,), (37,), (95,), (524,)]), ids=str
)
def test_where_flock_does_not_work_markers_do(
    answer: int,
    project: Project,
    home: PoetryHome,
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """ENOSYS, ENOLCK, EOPNOTSUPP and the kernel's own 524."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler: install gcc")
    (tmp_path / "flock.c").write_text(PRELOADED)
    library = tmp_path / "flock.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, tmp_path / "flock.c"], check=True
    )
    without = {"LD_PRELOAD": str(library), "FLOCK_ANSWERS": str(answer)}
    venv = new_venv("environment")
    with Pause(INSTALLING) as pause:
        holder = project.start(
            home, "install", venv=venv, environ={**without, **pause.environment}
        )
        arrival = pause.arrival()
        waiter = project.start(home, "install", venv=venv, environ=without)
        waiter.says("Waiting for the project")
        arrival.let_go()
        holder.result().succeeded()
        waiter.result().succeeded()
    assert '"soft"' in (project.store / "backend.json").read_text()
    project.poetry(home, "lock", venv=venv, environ=without).succeeded()
    project.poetry(home, "run", "true", venv=venv, environ=without).succeeded()


@pytest.mark.parametrize(
    "umask",
    thorough_but([(0o000,)], [(0o000,), (0o002,), (0o022,), (0o077,)]),
)
def test_nothing_is_writable_for_everyone(
    umask: int,
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    marker_plugin("with-script", "1.0", script=True).wheel(own_folder)
    project = new_project(requires_plugins='with-script = "*"')
    project.lock()
    venv = new_venv("environment")

    project.poetry(home, "install", venv=venv, umask=umask).succeeded()

    made = [project.path / ".poetry", *(project.path / ".poetry").rglob("*")]
    made += [venv / ".lock", venv / ".poetry-safe-install.lock"]
    for path in made:
        assert not stat.S_IMODE(path.lstat().st_mode) & 0o002 or path.is_symlink(), path


@pytest.mark.thorough
def test_project_that_is_read_only(
    project: Project,
    plain_home: PoetryHome,
    other_user: OtherUser,
    new_venv: Callable[..., Path],
) -> None:
    """Its lock is in the user's cache directory then."""
    place = other_user.base / "project"
    shutil.copytree(project.path, place)
    reading = other_user.visits(type(project)(place, project.environ))
    home = plain_home.clone(other_user.base / "home", other_user.python)
    home.pip_install("--no-deps", own_wheel())

    result = reading.poetry(home, "install", "--no-root", "-v", **other_user.popen)

    assert "cannot be written" in result.succeeded().out
    assert not (place / ".poetry").exists()
    assert list((other_user.directory / "cache").rglob("project.lock"))


def test_two_users_of_one_checkout_exclude_each_other(
    project: Project,
    plain_home: PoetryHome,
    other_user: OtherUser,
) -> None:
    """The second cannot write the first one's lock file; it can lock it all the same.

    Whatever the umask of the first.
    """
    place = other_user.base / "project"
    shutil.copytree(project.path, place)
    theirs = type(project)(place, project.environ)
    home = plain_home.clone(other_user.base / "home", other_user.python)
    home.pip_install("--no-deps", own_wheel())
    with Pause("poetry.puzzle.solver:Solver.solve:before") as pause:
        command = ("lock", "--regenerate")
        first = theirs.start(home, *command, environ=pause.environment, umask=0o077)
        arrival = pause.arrival()
        visitor = other_user.visits(theirs)
        second = visitor.start(home, "install", "--no-root", **other_user.popen)
        second.says("Waiting for the project")
        arrival.let_go()
        first.result().succeeded()
        second.result().succeeded()
    assert (
        place / ".poetry" / ".gitignore"
    ).stat().st_mode & 0o004  # git reads it, too


def test_one_lock_for_a_linked_project_with_an_odd_name(
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    tmp_path: Path,
) -> None:
    LEAF.wheel(own_folder)
    project = new_project("Zahnräder & Öl", dependencies=("leaf",))
    project.lock()
    link = tmp_path / "link"
    link.symlink_to(project.path)
    linked = type(project)(link, project.environ)
    with Pause("poetry.puzzle.solver:Solver.solve:before") as pause:
        first = project.start(home, "lock", "--regenerate", environ=pause.environment)
        arrival = pause.arrival()
        second = linked.start(home, "lock")
        second.says("Waiting for the project")
        arrival.let_go()
        first.result().succeeded()
        second.result().succeeded()


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="needs root, to mount"
)
def test_full_disk(
    project: Project, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    """No lock can be made: Poetry works all the same, with one warning."""
    mounted = project.path / ".poetry"
    mounted.mkdir()
    script = 'mount -t tmpfs -o size=4k,nr_inodes=1 none "$1" && shift && exec "$@"'
    arguments = ["unshare", "-m", "sh", "-c", script, "sh", str(mounted)]
    venv = new_venv("environment")
    result = subprocess.run(
        [*arguments, home.executable, "--no-ansi", "run", "true"],
        cwd=project.path,
        env=project.environment(venv),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "cannot keep other commands" in result.stderr


def test_path_that_is_too_long(
    new_project: Callable[..., Project],
    own_folder: Path,
    home: PoetryHome,
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Poetry's own files can be named, those of this plugin cannot."""
    LEAF.wheel(own_folder)
    room = os.pathconf("/", "PC_PATH_MAX") - len(str(tmp_path)) - 27
    names = ["n" * 200] * (room // 201) + ["n" * (room % 201)]
    project = new_project("/".join(names), dependencies=("leaf",))
    venv = new_venv("environment")
    for arguments in (("lock",), ("install", "--no-root"), ("run", "true")):
        result = project.poetry(home, *arguments, venv=venv).succeeded()
        assert "File name too long" in result.out
        assert "does not know this Poetry" not in result.out


CREATING = "poetry_plugin_safe_install.environments.unfinished:creating:before"


@pytest.mark.parametrize(
    "command",
    thorough_but(
        [(("show",),)],
        [(("show",),), (("debug", "tags"),), (("env", "activate"),)],
    ),
    ids=" ".join,
)
def test_whatever_makes_the_environment_makes_it_alone(
    command: tuple[str, ...], project: Project, home: PoetryHome
) -> None:
    """F26: with no other plugin loaded, too."""
    fresh = {"POETRY_VIRTUALENVS_PATH": str(project.path / "fresh"), "SHELL": "bash"}
    with Pause(CREATING) as pause:
        first = project.start(home, *command, environ={**fresh, **pause.environment})
        arrival = pause.arrival()
        second = project.start(home, *command, environ=fresh)
        second.says(f"Waiting for the project {project.path}")
        arrival.let_go()
        said = [running.result().succeeded().out for running in (first, second)]
    assert sum("Creating virtualenv" in out for out in said) == 1
