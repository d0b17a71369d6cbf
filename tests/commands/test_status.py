"""``poetry safe-install --status`` and ``--prune``: what is kept, held and left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import fastjsonschema
import pytest

from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import try_acquire
from tests.laboratory import ROOT
from tests.laboratory.pausing import Pause
from tests.laboratory.plugins import marker_plugin


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

SCHEMA = json.loads((ROOT / "docs" / "status.schema.json").read_text())
VALIDATE = fastjsonschema.compile(SCHEMA)
MAKES_SET = "poetry_plugin_safe_install.project_plugins.sets:_compile:before"
INSTALLS = "poetry.installation.installer:Installer.run:before"
LONG_AGO = time.time() - 31 * 24 * 3600


@pytest.fixture
def venv(new_venv: Callable[..., Path]) -> Path:
    return new_venv("environment")


@pytest.fixture
def project(
    new_project: Callable[..., Project], own_folder: Path, tmp_path: Path
) -> Project:
    """It requires a plugin; the cache is its own."""
    for name in ("kept", "other"):
        marker_plugin(name, "1.0").wheel(own_folder)
    project = new_project(requires_plugins='kept = "*"')
    cache = {"POETRY_CACHE_DIR": str(tmp_path / "cache")}
    return replace(project, environ={**project.environ, **cache})


@pytest.fixture
def shown(
    project: Project, home: PoetryHome, venv: Path
) -> Callable[..., dict[str, Any]]:
    """The JSON, after it was found to be as its schema has it."""

    def shown(*options: str) -> dict[str, Any]:
        arguments = ("safe-install", *(options or ("--status",)), "--format=json")
        result = project.poetry(home, *arguments, venv=venv).succeeded()
        text = result.out[result.out.index("{") :]  # after what the plugin prints
        found: dict[str, Any] = json.loads(text)
        VALIDATE(found)
        undescribed = {*found} ^ {*SCHEMA["properties"]}
        assert not undescribed
        return found

    return shown


@pytest.fixture
def install(project: Project, home: PoetryHome, venv: Path) -> Callable[[], None]:
    def install() -> None:
        project.poetry(home, "install", "--no-root", venv=venv).succeeded()

    return install


def on_disk(project: Project) -> dict[str, object]:
    """Every file of the project and of the plugin's own cache, with its times."""
    found: dict[str, object] = {}
    own_cache = Path(project.environ["POETRY_CACHE_DIR"], "safe-install")
    for root in (project.path, own_cache):
        for path in (root, *root.rglob("*")) if root.exists() else ():
            about = path.lstat()
            found[str(path)] = (about.st_ino, about.st_mtime_ns, about.st_size)
    return found


def test_kept_and_nothing_changed(
    project: Project, shown: Callable[..., dict[str, Any]], install: Callable[[], None]
) -> None:
    before = on_disk(project)
    empty = shown()
    assert on_disk(project) == before
    for what in ("project_kept", "machine_kept", "locks", "left"):
        assert empty[what] == []
    assert empty["removed"] is None

    install()
    before = on_disk(project)
    full = shown()

    assert on_disk(project) == before
    (kept,) = full["project_kept"]
    (copy,) = full["machine_kept"]
    assert (kept["kind"], copy["kind"]) == ("plugin-set", "plugin-copy")
    for one in (kept, copy):
        files = [path for path in Path(one["path"]).rglob("*") if path.is_file()]
        assert one["bytes"] == sum(path.stat().st_size for path in files) > 0
        assert one["requires"] == ["kept"]
        assert not one["unused"]
    assert (full["locks"], full["left"]) == ([], [])
    assert shown("--prune")["removed"] == []


def test_outside_a_project(
    project: Project,
    home: PoetryHome,
    install: Callable[[], None],
    tmp_path: Path,
) -> None:
    """What is on the machine can be seen and tidied from anywhere."""
    install()
    anywhere = replace(project, path=tmp_path / "anywhere")
    anywhere.path.mkdir()
    told = anywhere.poetry(home, "safe-install", "--status").succeeded().out
    assert "No project here" in told
    assert "copy of a plugin set" in told
    assert "Kept for this project" not in told

    command = ("safe-install", "--prune", "--format", "json", "-v")
    found = json.loads(anywhere.poetry(home, *command).succeeded().out)
    VALIDATE(found)
    assert (found["project"], found["store"], found["removed"]) == ("", "", [])
    assert [kept["kind"] for kept in found["machine_kept"]] == ["plugin-copy"]
    assert not [*anywhere.path.iterdir()]
    for option in ("--check", "--show-config"):  # these are about a project
        refused = anywhere.poetry(home, "safe-install", "--status", option)
        assert refused.code == 1
        assert "could not find a pyproject.toml file" in refused.out


def test_as_people_see_it(
    project: Project, home: PoetryHome, venv: Path, install: Callable[[], None]
) -> None:
    install()
    result = project.poetry(home, "safe-install", "--prune", venv=venv).succeeded()
    titles = [line for line in result.out.splitlines() if line[:1].isupper()]
    assert [title.partition(",")[0] for title in titles[1:]] == [
        "Removed",
        "Kept for this project",
        "Kept on this machine",
        "Held now",
        "Left by killed commands",
    ]
    assert "used today; kept)" in result.out


def test_who_holds_and_who_waits(
    project: Project,
    home: PoetryHome,
    venv: Path,
    shown: Callable[..., dict[str, Any]],
    install: Callable[[], None],
) -> None:
    project.lock()
    install()
    with Pause(INSTALLS) as pause:
        holder = project.start(
            home, "install", "--no-root", venv=venv, environ=pause.environment
        )
        arrival = pause.arrival()
        waiter = project.start(home, "sync", "--no-root", venv=venv)
        waiter.says("Waiting for")
        locks = shown("--prune")["locks"]
        (held,) = (lock for lock in locks if lock["waiters"])
        assert [one["pid"] for one in held["holders"]] == [holder.pid]
        assert [one["pid"] for one in held["waiters"]] == [waiter.pid]
        assert held["holders"][0]["mode"] == "shared"
        assert held["waiters"][0]["command"] == "poetry sync --no-root"
        assert str(project.path) in held["guards"]
        arrival.let_go()
        holder.result().succeeded()
        waiter.result().succeeded()
    assert shown()["locks"] == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, which tells of locks")
def test_locks_without_a_record(
    project: Project,
    home: PoetryHome,
    venv: Path,
    shown: Callable[..., dict[str, Any]],
    install: Callable[[], None],
) -> None:
    """uv leaves none; nor do commands that use a plugin set."""
    install()
    (kept,) = shown()["project_kept"]
    for path, guards in (
        (venv / ".lock", f"the environment {venv}"),
        (Path(f"{kept['path']}.used"), f"the plugin set {kept['path']}"),
    ):
        with held_by_another(path) as holder:
            (held,) = shown()["locks"]
            assert (held["path"], held["guards"]) == (str(path), guards)
            (who,) = held["holders"]
            assert (who["pid"], who["since"]) == (holder.pid, 0)
            assert "which left no record" in who["shown"]
            if path.parent == venv:
                checked = project.poetry(home, "safe-install", "--check", venv=venv)
                assert who["shown"] in " ".join(checked.out.split())
    assert shown()["locks"] == []


HOLDS = """
import fcntl, sys
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has locked this file."""
    command = [sys.executable, "-c", HOLDS, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        yield process
        process.stdin.close()


def test_path_dependency_that_is_being_built(
    new_project: Callable[..., Project], home: PoetryHome, venv: Path
) -> None:
    library = new_project("library")
    tail = '[tool.poetry.dependencies]\nlibrary = {path = "../library"}'
    project = new_project("service", tail=tail)
    store = library.store
    lock = Lock(store / "build.lock", "the source tree")
    held = try_acquire(lock, Mode.EXCLUSIVE, "poetry install")
    assert held
    told = project.poetry(home, "safe-install", "--status", venv=venv).succeeded().out
    assert f"the source tree {library.path}: exclusive, `poetry install`" in told
    held.release()


def test_options_that_do_not_go_together(
    project: Project, home: PoetryHome, venv: Path
) -> None:
    for options, text in (
        (("--prune", "--dry-run"), "--prune removes something"),
        (("--prune", "--check"), "Use one of --check, --prune at a time"),
        (("--status", "--show-config"), "Use one of --show-config, --status at a time"),
    ):
        refused = project.poetry(home, "safe-install", *options, venv=venv)
        assert refused.code == 1
        assert text in refused.out


def test_record_of_one_who_died_waiting(
    project: Project, home: PoetryHome, venv: Path, install: Callable[[], None]
) -> None:
    install()
    with held_by_another(venv / ".poetry-safe-install.lock"):
        for _ in range(2):
            waiter = project.start(home, "run", "true", venv=venv)
            waiter.says("Waiting for")
            waiters = venv / ".poetry-safe-install.lock.waiters"
            assert len([*waiters.iterdir()]) == 1  # the one before is swept
            waiter.kill()


def test_what_a_killed_command_left(
    project: Project,
    home: PoetryHome,
    venv: Path,
    shown: Callable[..., dict[str, Any]],
    install: Callable[[], None],
) -> None:
    with Pause(MAKES_SET) as pause:
        killed = project.start(
            home, "install", "--no-root", venv=venv, environ=pause.environment
        )
        pause.arrival()
        assert shown("--prune")["left"] == []  # it is still being made
        assert (project.store / "staging").exists()
        killed.kill()
    left = shown()["left"]
    assert {"staging", "record"} == {one["kind"] for one in left}
    assert all(one["removed_by"] == "prune" for one in left)

    pruned = shown("--prune")

    assert pruned["left"] == []
    paths = {one["path"] for one in left}
    assert {one["path"] for one in pruned["removed"]} == paths
    assert not any(map(os.path.exists, paths))
    install()


def test_prune_removes_what_is_unused(
    project: Project,
    home: PoetryHome,
    venv: Path,
    shown: Callable[..., dict[str, Any]],
    install: Callable[[], None],
) -> None:
    install()
    (old,) = shown()["project_kept"]
    (copy,) = shown()["machine_kept"]
    with Pause("poetry.console.commands.check:CheckCommand.handle:before") as pause:
        user = project.start(home, "check", venv=venv, environ=pause.environment)
        arrival = pause.arrival()
        text = project.pyproject.read_text().replace('kept = "*"', 'other = "*"')
        project.pyproject.write_text(text)
        install()
        found = {one["path"]: one["unused"] for one in shown()["project_kept"]}
        assert found.pop(old["path"])
        assert [*found.values()] == [False]
        assert shown("--prune")["removed"] == []  # somebody uses it
        arrival.let_go()
        user.result()
    os.utime(Path(copy["path"], "copy.json"), (LONG_AGO, LONG_AGO))

    pruned = shown("--prune")

    removed = [(one["kind"], one["path"], one["bytes"]) for one in pruned["removed"]]
    expected = [(one["kind"], one["path"], one["bytes"]) for one in (old, copy)]
    assert removed == expected
    assert not any(os.path.exists(one["path"]) for one in (old, copy))
    assert [one["path"] for one in pruned["project_kept"]] == [*found]
    assert len(pruned["machine_kept"]) == 1


def test_damaged_copy_and_store_of_another_project(
    project: Project, shown: Callable[..., dict[str, Any]], install: Callable[[], None]
) -> None:
    install()
    (copy,) = shown()["machine_kept"]
    manifest = Path(copy["path"], "copy.json")
    manifest.chmod(0o600)
    manifest.write_text("[")
    machine = Path(shown()["machine"])
    old, new = machine / ("0" * 16), machine / ("1" * 16)
    not_ours = machine / "my-precious-data"
    assert len(not_ours.name) == 16
    for store in (old, new, not_ours):
        (store / "plugins").mkdir(parents=True)
    for path in (old / "plugins", old, not_ours / "plugins", not_ours):
        os.utime(path, (LONG_AGO, LONG_AGO))

    pruned = shown("--prune")

    assert {one["path"] for one in pruned["removed"]} == {copy["path"], str(old)}
    assert [one["path"] for one in pruned["machine_kept"]] == [str(new)]
    assert not_ours.is_dir()
