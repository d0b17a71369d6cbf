"""One project, one lock: however a command has come to it."""

from __future__ import annotations

import os
import shutil
import subprocess

from typing import TYPE_CHECKING

import pytest

from poetry_plugin_safe_install.locks.descendants import VARIABLE
from tests.laboratory.cases import thorough_but
from tests.laboratory.distributions import own_wheel
from tests.laboratory.pausing import Pause
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project
    from tests.laboratory.users import OtherUser

LEAF = Distribution("leaf", "1.0", {"leaf/__init__.py": ""})
SOLVING = "poetry.puzzle.solver:Solver.solve:before"


def spellings(path: Path, link: Path) -> dict[str, tuple[Path, tuple[str, ...]]]:
    """Where a command runs, and its first options, to work on the project at a path."""
    return {
        "here": (path, ()),
        "-C relative": (path.parent, ("-C", path.name)),
        "-P relative": (path.parent, ("-P", path.name)),
        "link": (link, ()),
        "-C link": (path.parent, ("-C", str(link))),
    }


def with_build_script(project: Project, *lines: str) -> None:
    """Have the root package's build script do something, once."""
    text = project.pyproject.read_text()
    marker = project.path / "nested-done"
    script = [
        "import os, subprocess",
        f"if not os.path.exists({str(marker)!r}):",
        f"    open({str(marker)!r}, 'w').close()",
        *(f"    {line}" for line in lines),
    ]
    (project.path / "build.py").write_text("\n".join(script) + "\n")
    build = '[tool.poetry.build]\nscript = "build.py"\n\n[[tool.poetry.source]]'
    project.pyproject.write_text(text.replace("[[tool.poetry.source]]", build))


def run_line(
    cwd: Path, home: PoetryHome, *arguments: str, around: tuple[str, ...] = ()
) -> str:
    command = [*around, str(home.executable), *arguments]
    return f"subprocess.run({command!r}, cwd={str(cwd)!r}, check=True, timeout=100)"


@pytest.mark.parametrize(
    ("outer", "inner"),
    thorough_but(
        [("here", "-C link")],
        [
            ("-C relative", "here"),
            ("-P relative", "link"),
            ("link", "here"),
            ("here", "-C link"),
            ("-C link", "-C relative"),
        ],
    ),
)
def test_nested_command_knows_its_ancestor_in_every_spelling(
    outer: str,
    inner: str,
    new_project: Callable[..., Project],
    home: PoetryHome,
    new_venv: Callable[..., Path],
    tmp_path: Path,
) -> None:
    project = new_project()
    link = tmp_path / "link"
    link.symlink_to(project.path)
    ways = spellings(project.path, link)
    cwd, options = ways[inner]
    with_build_script(project, run_line(cwd, home, *options, "lock"))
    project.lock()

    cwd, options = ways[outer]
    limit = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "10"}
    result = type(project)(cwd, project.environ).poetry(
        home, *options, "install", venv=new_venv("environment"), environ=limit
    )

    result.succeeded()
    assert "Waiting" not in result.out
    assert (project.path / "nested-done").exists()
    assert not list(project.path.rglob("*.within-*"))


def test_two_projects_with_one_relative_name_are_two(
    new_project: Callable[..., Project],
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """A build script works on a project that somebody else holds: it does not go on."""
    first, second = new_project("a/sub"), new_project("b/sub")
    second.lock()
    line = run_line(second.path.parent, home, "-C", "sub", "lock", "--regenerate")
    with_build_script(first, line)
    first.lock()
    with Pause(SOLVING) as pause:
        holder = second.start(home, "lock", "--regenerate", environ=pause.environment)
        arrival = pause.arrival()
        outer = type(first)(first.path.parent, first.environ)
        result = outer.poetry(
            home,
            "-C",
            "sub",
            "install",
            venv=new_venv("environment"),
            environ={"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "1"},
        )
        arrival.let_go()
        holder.result().succeeded()
    result.failed(f"Gave up waiting for the project {second.path}")


def test_the_lock_stays_whatever_else_differs(
    new_project: Callable[..., Project], home: PoetryHome, tmp_path: Path
) -> None:
    """Another cache directory, a word in pyproject.toml, a .gitignore."""
    project = new_project()
    project.poetry(home, "lock").succeeded()
    with Pause(SOLVING) as pause:
        holder = project.start(home, "lock", "--regenerate", environ=pause.environment)
        arrival = pause.arrival()
        text = project.pyproject.read_text()
        project.pyproject.write_text(f"{text}\n# see hatchling\n")
        elsewhere = {"POETRY_CACHE_DIR": str(tmp_path / "other-cache")}
        waiter = project.start(home, "lock", environ=elsewhere)
        waiter.says(f"Waiting for the project {project.path}, held by")
        project.pyproject.write_text(text)
        arrival.let_go()
        holder.result().succeeded()
        waiter.result().succeeded()


@pytest.mark.parametrize("obstacle", thorough_but([("file",)], [("file",), ("link",)]))
def test_where_poetry_has_no_directory(
    obstacle: str,
    new_project: Callable[..., Project],
    home: PoetryHome,
    tmp_path: Path,
) -> None:
    """``.poetry`` is a file, or a link that leads nowhere; two cache directories."""
    project = new_project()
    place = project.path / ".poetry"
    if obstacle == "file":
        place.touch()
    else:
        place.symlink_to("nowhere")
    told = project.poetry(home, "lock").succeeded().out
    assert f", its locks in {project.path / '.poetry-safe-install'}." in told
    with Pause(SOLVING) as pause:
        holder = project.start(home, "lock", environ=pause.environment)
        arrival = pause.arrival()
        elsewhere = {"POETRY_CACHE_DIR": str(tmp_path / "other-cache")}
        waiter = project.start(home, "lock", environ=elsewhere)
        waiter.says(f"Waiting for the project {project.path}, held by")
        arrival.let_go()
        holder.result().succeeded()
        waiter.result().succeeded()


def mounted(kind: str, place: Path, what: Path) -> bool:
    """Whether something is mounted at a place now."""
    if kind == "bind":
        return _does("mount", "--bind", what, place)
    image = what.with_name("image")
    with image.open("wb") as file:
        file.truncate(32 << 20)
    loop = "mount", "-t", kind, "-o", "loop", image, place
    return _does(*MAKE[kind], image) and _does(*loop)


def _does(*command: str | Path) -> bool:
    return not subprocess.run(command, capture_output=True).returncode


MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-O", "casefold", "-E", "encoding=utf8"),
    "vfat": ("mkfs.vfat",),
    "exfat-fuse": ("mkfs.exfat",),
}
"""File systems where case does not count; ext4 needs a kernel with CONFIG_UNICODE. Of
two spellings exfat-fuse makes two files for the kernel, which locks each by itself."""


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="needs root, to mount"
)
@pytest.mark.parametrize(
    "kind", thorough_but([("bind",)], [("bind",), *((kind,) for kind in MAKE)])
)
def test_one_directory_under_two_names(
    kind: str, new_project: Callable[..., Project], home: PoetryHome, tmp_path: Path
) -> None:
    """A bind mount, and another spelling where case does not count."""
    if kind in MAKE and not shutil.which(MAKE[kind][0]):
        pytest.skip(f"needs {MAKE[kind][0]}: install e2fsprogs and dosfstools")
    project = new_project()
    place = tmp_path / "mounted"
    place.mkdir()
    if not mounted(kind, place, project.path):
        pytest.skip(f"needs the right to mount, and a kernel that knows {kind}")
    try:
        if kind in MAKE:
            folds = place / "folds"
            folds.mkdir()
            if kind == "ext4":
                subprocess.run(["chattr", "+F", str(folds)], check=True)
            first, second = folds / "demo", folds / "DEMO"
            shutil.copytree(project.path, first)
        else:
            first, second = project.path, place
        with_build_script(
            type(project)(first, project.environ), run_line(second, home, "lock")
        )
        again = type(project)(first, project.environ)
        again.poetry(home, "lock").succeeded()
        limit = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "10"}
        result = again.poetry(home, "install", environ=limit)
        assert "Waiting" not in result.succeeded().out
        assert (first / "nested-done").exists()
        other = type(project)(second, project.environ)
        with Pause(SOLVING) as pause:
            holder = again.start(
                home, "lock", "--regenerate", environ=pause.environment
            )
            arrival = pause.arrival()
            waiter = other.start(home, "lock", "--regenerate")
            shown = first if kind == "exfat-fuse" else second
            waiter.says(f"Waiting for the project {shown}, held by `poetry lock")
            arrival.let_go()
            holder.result().succeeded()
            waiter.result().succeeded()
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.skipif(not os.path.exists("/usr/bin/env"), reason="needs env(1)")
@pytest.mark.parametrize(
    "nested",
    thorough_but(
        [(("lock", "--regenerate"),)],
        [(("lock", "--regenerate"),), (("run", "true"),), (("install",),)],
    ),
    ids=" ".join,
)
def test_nested_command_with_an_empty_environment_finds_its_ancestor(
    nested: tuple[str, ...],
    new_project: Callable[..., Project],
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    """``install`` builds the tree that its ancestor builds."""
    project = new_project()
    venv = new_venv("environment")
    kept = [f"{name}={value}" for name, value in project.environ.items()]
    kept += ["POETRY_SAFE_INSTALL_LOCK_TIMEOUT=10", f"VIRTUAL_ENV={venv}"]
    kept += [f"PATH={venv / 'bin'}:{os.environ['PATH']}"]
    around = ("/usr/bin/env", "-i", *kept)
    with_build_script(project, run_line(project.path, home, *nested, around=around))
    project.poetry(home, "lock").succeeded()
    result = project.poetry(home, "install", venv=venv)
    result.succeeded()
    assert (project.path / "nested-done").exists()


@pytest.mark.thorough
@pytest.mark.parametrize("kept", [False, True], ids=["emptied", "kept"])
def test_nested_command_of_another_user(
    kept: bool,
    new_project: Callable[..., Project],
    home: PoetryHome,
    plain_home: PoetryHome,
    other_user: OtherUser,
) -> None:
    """It cannot read what its ancestor was told, and does not wait for it."""
    if not shutil.which("setpriv"):
        pytest.skip("needs setpriv: install util-linux")
    outer = new_project(str(other_user.base / "project"))
    theirs = other_user.takes(outer)
    their_home = plain_home.clone(other_user.base / "home", other_user.python)
    their_home.pip_install("--no-deps", own_wheel())
    theirs.poetry(their_home, "lock", **other_user.popen).succeeded()
    user = str(other_user.uid)
    around = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
    around += ["env", "-i", f"PATH={os.environ['PATH']}"]
    around += [f"{name}={value}" for name, value in theirs.environ.items()]
    line = [str(their_home.executable), "install"]
    with_build_script(
        outer,
        f"kept = [{VARIABLE!r} + '=' + os.environ[{VARIABLE!r}]] * {kept:d}",
        f"line = {around!r} + kept + {line!r}",
        "done = subprocess.run(line, capture_output=True, text=True)",
        "said = open('said', 'w')",
        "said.write(f'{done.returncode} {done.stdout} {done.stderr}')",
        "said.close()",
    )
    limit = {"POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "60"}
    outer.poetry(home, "install", environ=limit).succeeded()
    said = " ".join((outer.path / "said").read_text().split())
    assert "Gave up waiting" not in said
    if kept:
        assert said.startswith("0 "), said
        return
    assert said.startswith("75 "), said
    assert f"the source tree {outer.path} is held by `poetry install`" in said
    assert "which has started this command as another user" in said
