"""``poetry safe-install --check``: what it finds, and that it changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import fastjsonschema
import pytest

from poetry_plugin_safe_install.locks.backend import choose
from poetry_plugin_safe_install.locks.backend import decide
from poetry_plugin_safe_install.locks.backend import mount_of
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import try_acquire
from tests.laboratory import ROOT
from tests.laboratory.changes import NO_RELOCKING
from tests.laboratory.changes import renamed
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import download
from tests.laboratory.poetries import poetry_home
from tests.laboratory.told import told
from tests.laboratory.wheels import Distribution
from tests.screens import Terminal
from tests.screens import assert_screen


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

OWN_LOCK = ".poetry-safe-install.lock"
SCHEMA = json.loads((ROOT / "docs" / "check.schema.json").read_text())
VALIDATE = fastjsonschema.compile(SCHEMA)
TOPICS = [
    "settings",
    "isolation",
    "project",
    "own-packages",
    "externally-managed",
    "scripts",
    "temp-directory",
    "plugin-sets",
    "other-plugins",
    "caches",
    "locks",
    "lock-backend",
]

REWRITER = """\
from pathlib import Path

from cleo.events.console_events import COMMAND
from poetry.plugins.application_plugin import ApplicationPlugin


class Plugin(ApplicationPlugin):
    def activate(self, application):
        application.event_dispatcher.add_listener(COMMAND, self.listen)

    def listen(self, event, *args):
        path = event.command.poetry.file.path
        path.write_text(path.read_text() + "# rewritten\\n")
"""


@pytest.fixture(scope="session")
def rewriter(folder: Path) -> str:
    """A project plugin that rewrites pyproject.toml when a command starts."""
    Distribution(
        "rewriter",
        "1.0",
        {"rewriter.py": REWRITER},
        entry_points="[poetry.application.plugin]\nr = rewriter:Plugin\n",
    ).wheel(folder)
    return 'rewriter = "*"'


class Checked:
    """The outcome of a ``--check --format json``."""

    def __init__(self, code: int, out: str, error: str) -> None:
        self.code = code
        self.error = error
        self.whole: dict[str, Any] = json.loads(out)
        VALIDATE(self.whole)
        found = self.whole["findings"]
        assert [finding["topic"] for finding in found] == TOPICS
        assert self.whole["refused"] == (code == 1)
        self.findings = {finding["topic"]: finding for finding in found}

    def level(self, topic: str) -> str:
        return str(self.findings[topic]["level"])

    @property
    def not_ok(self) -> dict[str, str]:
        """The temp directory is left out: it is as this machine has it.

        So is that nothing is known of an install without a lock file.
        """
        return {
            topic: finding["level"]
            for topic, finding in self.findings.items()
            if finding["level"] != "ok"
            and topic != "temp-directory"
            and not (topic == "project" and finding["level"] == "note")
        }


def checked(
    project: Project,
    home: PoetryHome,
    *arguments: str,
    venv: Path | None = None,
    environ: dict[str, str] | None = None,
) -> Checked:
    command = ("safe-install", "--check", "--format", "json", *arguments)
    result = project.poetry_apart(home, *command, venv=venv, environ=environ)
    return Checked(result.returncode, result.stdout, result.stderr)


def snapshot(*roots: Path) -> dict[str, tuple[object, ...]]:
    """All that is beneath these directories: names, contents, modes, times."""
    found: dict[str, tuple[object, ...]] = {}
    for root in roots:
        for path in [root, *root.rglob("*")]:
            stat = path.lstat()
            content = b""
            if path.is_symlink():
                content = os.fsencode(os.readlink(path))
            elif path.is_file():
                content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            found[str(path)] = (stat.st_mode, stat.st_mtime_ns, stat.st_size, digest)
    return found


# That it changes nothing


@pytest.fixture
def places(
    tmp_path: Path, shared_environ: dict[str, str]
) -> Iterator[Callable[..., dict[str, tuple[object, ...]]]]:
    """Project, store, environments, temporary files; Poetry's caches and settings.

    And the Poetry itself, where it is one of the test's own.
    """
    yield lambda *homes: snapshot(
        tmp_path, Path(shared_environ["HOME"]), *(home.path for home in homes)
    )


@pytest.mark.parametrize("format", ["text", "json"])
def test_changes_nothing_on_a_fresh_checkout(
    new_project: Callable[..., Project],
    home: PoetryHome,
    rewriter: str,
    places: Callable[[], object],
    format: str,
) -> None:
    project = new_project(requires_plugins=rewriter)
    before = places()
    project.poetry(home, "safe-install", "--check", "--format", format).succeeded()
    project.poetry(home, "safe-install", "--show-config").succeeded()
    assert places() == before


@pytest.mark.thorough
@pytest.mark.parametrize("in_project", ["true", "false"])
def test_changes_nothing_after_an_install(
    new_project: Callable[..., Project],
    home: PoetryHome,
    rewriter: str,
    places: Callable[[], object],
    tmp_path: Path,
    in_project: str,
) -> None:
    """Nor does it let a plugin change anything, or mark a set as used."""
    project = new_project(requires_plugins=rewriter)
    temp = tmp_path / "temp"
    temp.mkdir()
    environ = {
        "POETRY_VIRTUALENVS_IN_PROJECT": in_project,
        "TMPDIR": str(temp),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    project.poetry(home, "install", environ=environ).succeeded()
    assert "# rewritten" in project.pyproject.read_text()
    long_ago = time.time() - 3 * 24 * 3600
    for mark in project.store.glob("plugins/*/*.used"):
        os.utime(mark, (long_ago, long_ago))
    before = places()
    shown = checked(project, home, environ=environ)
    assert places() == before
    assert shown.findings["plugin-sets"]["facts"]["sets"][0]["days_unused"] == 3
    assert shown.findings["other-plugins"]["facts"]["listening"] == ["rewriter"]


def test_leaves_a_file_in_the_place_of_the_environment(
    new_project: Callable[..., Project], home: PoetryHome, places: Callable[[], object]
) -> None:
    """Poetry's own search for the environment would remove it."""
    project = new_project()
    (project.path / ".venv").write_text("mine")
    before = places()
    checked(project, home, environ={"POETRY_VIRTUALENVS_IN_PROJECT": "true"})
    assert places() == before


def test_waits_for_nobody_and_takes_nothing(
    new_project: Callable[..., Project], home: PoetryHome, places: Callable[[], object]
) -> None:
    project = new_project()
    lock = Lock(project.store / "project.lock", "the project")
    hold = try_acquire(lock, Mode.EXCLUSIVE, "poetry lock")
    assert hold
    before = places()
    waiting = checked(project, home)
    refused = checked(project, home, "--lock-timeout", "0")
    assert places() == before
    hold.release()
    assert waiting.not_ok == {"locks": "note"}
    assert refused.not_ok == {"locks": "refused"}
    holder = waiting.findings["locks"]["facts"]["locks"][0]["holders"][0]
    assert (holder["command"], holder["pid"]) == ("poetry lock", os.getpid())
    assert checked(project, home).not_ok == {}


def test_locks_of_environment_and_builds(
    new_project: Callable[..., Project],
    home: PoetryHome,
    new_venv: Callable[..., Path],
    places: Callable[[], object],
) -> None:
    project = new_project()
    venv = new_venv("target")
    build = project.store / "build.lock"

    def held() -> list[tuple[str, list[str]]]:
        before = places()
        shown = checked(project, home, venv=venv)
        assert places() == before
        return [
            (lock["path"], [holder["command"] for holder in lock["holders"]])
            for lock in shown.findings["locks"]["facts"]["locks"]
        ]

    own = str(project.store / "project.lock")
    of_uv = str(venv / ".lock")
    assert held() == [(own, []), (str(venv / OWN_LOCK), []), (of_uv, [])]
    holds = [
        try_acquire(Lock(path, "it"), Mode.EXCLUSIVE, command)
        for path, command in ((venv / OWN_LOCK, "poetry add"), (build, "poetry build"))
    ]
    assert held() == [
        (own, []),
        (str(venv / OWN_LOCK), ["poetry add"]),
        (of_uv, []),
        (str(build), ["poetry build"]),
    ]
    for hold in holds:
        assert hold
        hold.release()


def test_lock_backend_is_not_recorded(
    new_project: Callable[..., Project],
    home: PoetryHome,
    new_venv: Callable[..., Path],
    places: Callable[[], object],
) -> None:
    project = new_project()
    venv = new_venv("target")

    def shown(*arguments: str) -> tuple[str, str]:
        before = places()
        found = checked(project, home, *arguments, venv=venv).findings["lock-backend"]
        assert places() == before
        return found["facts"]["backend"], found["facts"]["why"]

    by_mount = decide("auto", "", *mount_of(project.path))
    assert shown() == (by_mount.backend.value, by_mount.why)
    assert shown("--lock-backend=soft") == ("soft", "set by the user")
    project.store.mkdir(parents=True)
    choose(project.store, project.store, "soft")
    assert shown() == ("soft", "recorded in the project")


# The faulty situations, for real


def test_nothing_wrong(
    new_project: Callable[..., Project], home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    shown = checked(new_project(), home, "-vvv", "--ansi", venv=new_venv("target"))
    assert (shown.code, shown.not_ok) == (0, {})


@pytest.fixture
def own_home(clone: Callable[..., PoetryHome]) -> PoetryHome:
    return clone()


OLD = "packaging==23.2"
OLD_THINGS = f"""\
[project.optional-dependencies]
old = ["{OLD}"]

[tool.poetry.group.old]
optional = true

[tool.poetry.group.old.dependencies]
packaging = "23.2"
"""


@pytest.fixture
def with_old_packaging(
    new_project: Callable[..., Project], own_folder: Path
) -> Callable[[], Project]:
    """A locked project that would harm Poetry with some options, not with others.

    What it has for another system never does, though it is in the lock file.
    """
    name, version = OLD.split("==")
    if not list(WHEELS.glob(f"{name}-{version}-*")):
        download(poetry_home(protected=False).python, OLD)
    Distribution("harmless", "1.0", {"harmless.py": ""}).wheel(own_folder)
    Distribution("build", "0.1", {"build.py": ""}).wheel(own_folder)

    def new() -> Project:
        elsewhere = "build==0.1; sys_platform == 'win32'"
        project = new_project(dependencies=("harmless", elsewhere), tail=OLD_THINGS)
        project.lock()
        return project

    return new


@pytest.mark.thorough
@pytest.mark.parametrize(
    "version",
    [
        version
        if version == NEWEST
        else pytest.param(version, marks=pytest.mark.matrix)
        for version in POETRY_VERSIONS
    ],
)
def test_says_of_own_packages_what_an_install_does(
    version: str,
    with_old_packaging: Callable[[], Project],
    places: Callable[..., object],
    clone: Callable[..., PoetryHome],
    index: LocalIndex,
) -> None:
    """With the very options that it is given, and without asking an index."""
    home, project = clone(version), with_old_packaging()
    harmful = [("--with", "old"), ("--extras", "old"), ("--sync",)]
    harmless = [(), ("--only", "main"), ("--with", "old", "--without", "old")]
    index.requests.clear()
    before = places(home)
    shown = {
        options: checked(project, home, *options, venv=home.path)
        for options in (*harmful, *harmless)
    }
    assert places(home) == before
    assert not index.requests
    expected = {"isolation": "risk"}
    if shown[()].findings["caches"]["facts"]["unpacks_in_place"]:
        expected["caches"] = "note"  # the virtualenv that an older Poetry allows
    for options in harmless:
        assert shown[options].not_ok == expected
        assert shown[options].findings["own-packages"]["facts"]["concerned"]
    for options in harmful:
        assert shown[options].not_ok == {**expected, "own-packages": "refused"}
        install = project.poetry(
            home, "safe-install", *options, venv=home.path, environ=NO_RELOCKING
        )
        install.failed("This would damage the Poetry that runs it")
    for options in harmful[:2]:
        facts = shown[options].findings["own-packages"]["facts"]
        (change,) = facts["changes"]
        assert (change["name"], change["locked"]) == ("packaging", "23.2")
        assert change["action"] == "stop"
        assert "changed, but " in change["reason"]
        assert "requires packaging>=" in change["reason"]
        assert any(text.startswith("poetry ") for text in change["requirers"])
        assert not facts["pin_helps"]  # the project requires the old one itself
    facts = shown["--sync",].findings["own-packages"]["facts"]
    removed = {change["name"] for change in facts["changes"] if not change["locked"]}
    assert {"poetry", "poetry-plugin-safe-install", "cleo", "build"} <= removed
    allow = ("--sync", "--on-self-change=allow")
    assert checked(project, home, *allow, venv=home.path).not_ok == {
        **expected,
        "own-packages": "risk",
    }
    project.poetry(home, "safe-install", venv=home.path).succeeded()


@pytest.mark.thorough
def test_pin_as_an_install_does_it(
    with_old_packaging: Callable[[], Project], own_home: PoetryHome
) -> None:
    old = with_old_packaging()
    pin = ("--on-self-change", "pin")
    refused = checked(old, own_home, "--with=old", *pin, venv=own_home.path)
    assert refused.level("own-packages") == "refused"
    text = old.pyproject.read_text().replace(OLD_THINGS, "")
    old.pyproject.write_text(text)
    old.lock()
    shown = checked(old, own_home, "--sync", venv=own_home.path)
    assert shown.findings["own-packages"]["facts"]["pin_helps"]
    pinned = checked(old, own_home, "--sync", *pin, venv=own_home.path)
    assert pinned.not_ok == {"isolation": "risk", "own-packages": "risk"}
    changes = pinned.findings["own-packages"]["facts"]["changes"]
    assert {change["action"] for change in changes} == {"keep"}
    file = old.path / "events.jsonl"
    environ = {"POETRY_SAFE_INSTALL_EVENTS": str(file)}
    for arguments, event in (((), "refused"), (pin, "pinned")):
        command = ("safe-install", "--sync", *arguments)
        result = old.poetry(own_home, *command, venv=own_home.path, environ=environ)
        assert (result.code == 0) == (event == "pinned")
        names = {one["event"] for one in told(file)}
        assert event in names
        file.unlink()


def test_own_packages_in_the_table(
    with_old_packaging: Callable[[], Project], own_home: PoetryHome
) -> None:
    project = with_old_packaging()
    arguments = ("safe-install", "--check", "--with=old")
    result = project.poetry(own_home, *arguments, venv=own_home.path)
    assert result.code == 1
    lines = [
        re.sub(
            r"\S+ (-> .*) but .* requires .*", r"<installed> \1 but <requirement>", line
        )
        for line in result.out.splitlines()
        if "own packages" in line or "isolation" in line or "Remedy" in line
    ]
    assert_screen("check-own-packages", "\n".join(lines), {"home": own_home.path})


@pytest.mark.thorough
def test_own_packages_are_not_known(
    with_old_packaging: Callable[[], Project],
    own_home: PoetryHome,
    places: Callable[..., object],
) -> None:
    """Where Poetry refuses to install, in its words, and apart from the JSON."""
    project = with_old_packaging()
    lock = project.path / "poetry.lock"
    locked = lock.read_text()
    stale = re.sub("content-hash = .*", 'content-hash = "0"', locked)
    for text, options, why in (
        (locked, ("--extras=old", "--all-extras"), "You cannot specify explicit"),
        (locked, ("--with=other",), "Group(s) not found: other (via --with)"),
        (locked, ("--extras=other",), "Extra [other] is not specified."),
        (stale, ("--with=old",), "changed significantly since poetry.lock was last"),
        ("[[", ("--with=old",), "poetry.lock cannot be read"),
        (None, ("--with=old",), "there is no lock file yet"),
    ):
        lock.unlink()
        if text is not None:
            lock.write_text(text)
        before = places(own_home)
        shown = checked(project, own_home, *options, venv=own_home.path)
        assert places(own_home) == before
        expected = {"isolation": "risk", "own-packages": "note", "project": "refused"}
        if text is None:
            del expected["project"]
        assert shown.not_ok == expected
        assert shown.whole["known"] == (text is not None)
        facts = shown.findings["project"]["facts"]
        assert why in facts["problem" if text is not None else "unknown"]
        assert not shown.findings["own-packages"]["facts"]["changes"]
        assert why not in shown.error
    lock.write_text(locked)
    name = "configure_installer_for_command"
    changed = renamed(name)
    shown = checked(
        project, own_home, "--with=old", venv=own_home.path, environ=changed
    )
    assert shown.level("own-packages") == "note"
    assert f"{name} not found" in shown.findings["own-packages"]["text"]


def test_scripts_of_a_system_not_on_path(
    new_project: Callable[..., Project], home: PoetryHome
) -> None:
    shown = checked(
        new_project(),
        home,
        environ={"POETRY_VIRTUALENVS_CREATE": "false", "PATH": "/usr/bin:/bin"},
    )
    finding = shown.findings["scripts"]
    if finding["facts"]["on_path"]:
        pytest.skip("install a Python beside the system's to test this")
    assert finding["level"] == "risk"
    assert finding["facts"]["directory"] in finding["remedy"]


def test_python_that_does_not_fit(
    new_project: Callable[..., Project], home: PoetryHome
) -> None:
    project = new_project()
    text = project.pyproject.read_text()
    project.pyproject.write_text(text.replace('">=3.10"', '"==3.10.0"'))
    # Poetry asks every Python that it finds: let there be few.
    few = {"PATH": "/usr/bin:/bin", "PYENV_ROOT": ""}
    shown = checked(project, home, environ=few)
    assert shown.level("isolation") == "refused"
    assert "compatible version" in shown.findings["isolation"]["text"]
    project.poetry(home, "safe-install", environ=few).failed()


def test_temp_directory_on_another_device(
    new_project: Callable[..., Project], home: PoetryHome
) -> None:
    other = Path("/dev/shm")
    base = Path(sys.executable).resolve()
    if not other.is_dir() or other.stat().st_dev == base.stat().st_dev:
        pytest.skip("mount a second file system at /dev/shm to test this")
    environ = {"TMPDIR": str(other)}
    project = new_project()
    assert checked(project, home, environ=environ).level("temp-directory") == "note"
    text = checked(project, home, environ=environ).findings["temp-directory"]["text"]
    assert "tries out what works there" in text
    assert not [*other.glob("*safe-install*")]
    shown = checked(project, home, "--always-copy", "never", environ=environ)
    assert shown.level("temp-directory") == "risk"


def test_rewriting_plugin_and_scope(
    new_project: Callable[..., Project],
    home: PoetryHome,
    rewriter: str,
    new_venv: Callable[..., Path],
) -> None:
    project = new_project(requires_plugins=rewriter)
    venv = new_venv("target")
    fresh = checked(project, home, venv=venv)
    assert "the next install makes one" in fresh.findings["plugin-sets"]["text"]
    project.poetry(home, "install", venv=venv).succeeded()
    shown = checked(project, home, venv=venv)
    assert shown.not_ok == {"other-plugins": "note"}
    assert shown.findings["plugin-sets"]["facts"]["sets"][0]["current"]
    phase = checked(project, home, "--lock-scope=phase", venv=venv)
    assert phase.not_ok == {"other-plugins": "risk"}


@pytest.mark.thorough
def test_what_others_left(
    new_project: Callable[..., Project],
    home: PoetryHome,
    plain_home: PoetryHome,
    rewriter: str,
    new_venv: Callable[..., Path],
) -> None:
    """Unprotected Poetry its plugin cache, a killed install its staging."""
    project = new_project(requires_plugins=rewriter)
    venv = new_venv("target")
    project.poetry(plain_home, "install", venv=venv).succeeded()
    (project.store / "staging").mkdir(parents=True)
    finding = checked(project, home, venv=venv).findings["plugin-sets"]
    assert finding["level"] == "note"
    assert finding["facts"]["poetry_cache"] == "in use"
    assert finding["facts"]["leftovers"]


def test_store_elsewhere(
    new_project: Callable[..., Project], home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    project = new_project()
    (project.path / ".poetry").write_text("")
    finding = checked(project, home, venv=new_venv("target")).findings["locks"]
    assert finding["level"] == "note"
    assert "is a file" in finding["facts"]["why_elsewhere"]
    beside = project.path / ".poetry-safe-install"
    assert finding["facts"]["lock_directory"] == str(beside)
    assert f"locks are kept in {beside}, plugin sets in " in finding["text"]


@pytest.mark.parametrize(
    ("tail", "arguments", "expected"),
    [
        ("enabled = false", (), {"settings": "risk"}),
        ("enabeld = false", (), {"settings": "refused"}),
        ("", ("--lock-timeout", "soon"), {"settings": "refused"}),
    ],
)
def test_settings(
    new_project: Callable[..., Project],
    home: PoetryHome,
    new_venv: Callable[..., Path],
    tail: str,
    arguments: tuple[str, ...],
    expected: dict[str, str],
) -> None:
    project = new_project(tail=f"[tool.poetry-plugin-safe-install]\n{tail}\n")
    shown = checked(project, home, *arguments, venv=new_venv("target"))
    assert shown.not_ok == expected


def test_no_project(
    new_project: Callable[..., Project], home: PoetryHome, tmp_path: Path
) -> None:
    environment = new_project().environment()
    command = [str(home.executable), "safe-install", "--check", "--format=json"]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert "could not find a pyproject.toml" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.thorough
def test_poetry_with_other_internals(
    new_project: Callable[..., Project], home: PoetryHome
) -> None:
    """What safe-install cannot do with such a Poetry it says; the rest it does."""
    changed = renamed("_with_synchronization", "in_project_venv")
    project = new_project()
    looked = project.poetry(home, "safe-install", "--check", environ=changed)
    looked.failed("EnvManager.in_project_venv not found. Look for a newer")
    synced = project.poetry(home, "safe-install", "--sync", environ=changed)
    synced.failed("Use `poetry sync`, which is protected too.")
    installed = project.poetry(home, "safe-install", "--no-root", environ=changed)
    installed.succeeded()


def test_broken_pyproject(
    new_project: Callable[..., Project], home: PoetryHome
) -> None:
    project = new_project()
    project.pyproject.write_text("[tool.poetry\n")
    result = project.poetry(home, "safe-install", "--check")
    assert result.code == 1
    assert "Traceback" not in result.out


# How it looks


def test_table_piped(
    new_project: Callable[..., Project],
    home: PoetryHome,
    new_venv: Callable[..., Path],
    rewriter: str,
    tmp_path: Path,
) -> None:
    project = new_project(requires_plugins=rewriter)
    cache = {"POETRY_CACHE_DIR": str(tmp_path / "cache")}  # with one copy of a set
    project = replace(project, environ={**project.environ, **cache})
    venv = new_venv("target")
    project.poetry(home, "install", venv=venv).succeeded()
    arguments = ("safe-install", "--check", "--lock-scope", "phase")
    out = project.poetry(home, *arguments, venv=venv).succeeded().out
    versions = {
        "project": project.path,
        "poetry": home.version,
        "home": home.path,
        "venv": venv,
    }
    lines = [line for line in out.splitlines() if "temp directory" not in line]
    assert_screen("check-piped", "\n".join(lines), versions)


@pytest.mark.thorough
def test_table_in_a_terminal(
    new_project: Callable[..., Project], home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    """In colours, no row longer than the terminal; plain with ``--no-ansi``."""
    venv = new_venv("target")
    project = new_project()
    environ = {"POETRY_SAFE_INSTALL_ENABLED": "no"}
    arguments = ("safe-install", "--check")
    coloured = Terminal(project, home, *arguments, venv=venv, environ=environ)
    assert coloured.end() == 0
    assert "\x1b[33mrisk" in coloured.raw  # yellow, as Poetry's warnings
    assert "\x1b[32mok" in coloured.raw
    plain = Terminal(project, home, "--no-ansi", *arguments, venv=venv, environ=environ)
    assert plain.end() == 0
    assert "\x1b[" not in plain.raw
    assert plain.text == coloured.text
    assert "\n" + " " * 29 + "Remedy: set enabled to true\n" in "\n".join(
        line.rstrip() for line in plain.text.splitlines()
    )
