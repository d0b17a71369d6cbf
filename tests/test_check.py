"""``poetry safe-install --check``: what it finds, and that it changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import fastjsonschema
import pytest

from packaging.requirements import Requirement

from poetry_plugin_safe_install import check
from poetry_plugin_safe_install.check import Level
from poetry_plugin_safe_install.commands import Need
from poetry_plugin_safe_install.commands import need_of
from poetry_plugin_safe_install.locks import Lock
from poetry_plugin_safe_install.locks import Mode
from poetry_plugin_safe_install.locks import try_acquire
from tests.laboratory import ROOT
from tests.laboratory.wheels import Distribution
from tests.screens import Terminal
from tests.screens import assert_screen


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

SCHEMA = json.loads((ROOT / "docs" / "check.schema.json").read_text())
VALIDATE = fastjsonschema.compile(SCHEMA)
TOPICS = [
    "settings",
    "isolation",
    "own-packages",
    "externally-managed",
    "scripts",
    "temp-directory",
    "plugin-sets",
    "other-plugins",
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
        """The temp directory is left out: it is as this machine has it."""
        return {
            topic: finding["level"]
            for topic, finding in self.findings.items()
            if finding["level"] != "ok" and topic != "temp-directory"
        }


def checked(
    project: Project,
    home: PoetryHome,
    *arguments: str,
    venv: Path | None = None,
    environ: dict[str, str] | None = None,
) -> Checked:
    result = subprocess.run(
        [home.executable, "safe-install", "--check", "--format", "json", *arguments],
        cwd=project.path,
        env=project.environment(venv, environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
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
) -> Iterator[Callable[[], dict[str, tuple[object, ...]]]]:
    """Project, store, environments, temporary files; Poetry's caches and settings."""
    yield lambda: snapshot(tmp_path, Path(shared_environ["HOME"]))


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


# The faulty situations, for real


def test_nothing_wrong(
    new_project: Callable[..., Project], home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    shown = checked(new_project(), home, "-vvv", "--ansi", venv=new_venv("target"))
    assert (shown.code, shown.not_ok) == (0, {})


@pytest.fixture
def own_home(home: PoetryHome, tmp_path: Path) -> PoetryHome:
    """A Poetry that a project may install into."""
    return home.clone(tmp_path / "home")


LOCK_FILE = """\
[[package]]
name = "packaging"
version = "{version}"
description = ""
optional = false
python-versions = ">=3.8"
groups = ["main"]
files = []

[metadata]
lock-version = "2.1"
python-versions = ">=3.10"
content-hash = "0"
"""


def test_install_into_poetrys_own_environment(
    new_project: Callable[..., Project],
    own_home: PoetryHome,
    places: Callable[[], object],
) -> None:
    """The case the plugin is named for: an old packaging beside Poetry."""
    project = new_project(dependencies=("packaging==20.0",))
    (project.path / "poetry.lock").write_text(LOCK_FILE.format(version="20.0"))
    before = places()
    refused = checked(project, own_home, venv=own_home.path)
    pinned = checked(project, own_home, "--on-self-change", "pin", venv=own_home.path)
    synced = checked(project, own_home, "--sync", venv=own_home.path)
    assert places() == before
    assert refused.not_ok == {"isolation": "risk", "own-packages": "refused"}
    assert pinned.not_ok == {"isolation": "risk", "own-packages": "risk"}
    (change,) = refused.findings["own-packages"]["facts"]["changes"]
    assert (change["name"], change["locked"]) == ("packaging", "20.0")
    assert "poetry" in change["required_by"]
    removed = {
        change["name"]
        for change in synced.findings["own-packages"]["facts"]["changes"]
        if change["locked"] is None
    }
    assert {"poetry", "poetry-plugin-safe-install", "cleo"} <= removed
    result = project.poetry(own_home, "safe-install", "--check", venv=own_home.path)
    assert result.code == 1
    versions = {
        "poetry": own_home.version,
        "home": own_home.path,
        "project": project.path,
        "installed": change["installed"],
    }
    lines = [
        line
        for line in result.out.splitlines()
        if "own packages" in line or "isolation" in line or "Remedy" in line
    ]
    assert_screen("check-own-packages", "\n".join(lines), versions)


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
    shown = checked(project, home)
    assert shown.level("isolation") == "refused"
    assert "compatible version" in shown.findings["isolation"]["text"]
    project.poetry(home, "safe-install").failed()


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


def test_poetry_with_other_internals(
    new_project: Callable[..., Project], own_home: PoetryHome
) -> None:
    """What safe-install cannot do with such a Poetry it says; the rest it does."""
    for module, name in (
        ("console/commands/install.py", "_with_synchronization"),
        ("utils/env/env_manager.py", "in_project_venv"),
    ):
        file = own_home.site_packages / "poetry" / module
        file.write_text(file.read_text().replace(name, f"other_{name}"))
    project = new_project()
    looked = project.poetry(own_home, "safe-install", "--check")
    looked.failed("EnvManager.in_project_venv not found. Look for a newer")
    synced = project.poetry(own_home, "safe-install", "--sync")
    synced.failed("Use `poetry sync`, which is protected too.")
    project.poetry(own_home, "safe-install", "--no-root").succeeded()


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
) -> None:
    project = new_project(requires_plugins=rewriter)
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


# The judgements, row by row


@pytest.mark.parametrize(
    ("words", "options", "need"),
    [
        (["safe-install"], {"check"}, Need.LOOK),
        (["safe-install"], {"show-config", "no-root"}, Need.LOOK),
        (["safe-install"], {"no-root"}, Need.INSTALL),
        (["install"], {"check"}, Need.INSTALL),
        (["check"], {"lock"}, Need.PLUGINS),
    ],
)
def test_need(words: list[str], options: set[str], need: Need) -> None:
    assert need_of(words, options) is need


@pytest.mark.parametrize(
    ("locked", "synchronize", "expected"),
    [
        ("26.0", False, None),
        ("25.0", False, ("25.0", True)),  # a downgrade
        ("26.1", False, ("26.1", False)),  # an upgrade within what is required
        ("27.0", False, ("27.0", True)),  # an upgrade beyond it
        (None, False, None),
        (None, True, (None, True)),  # removed
    ],
)
def test_own_package_changes(
    locked: str | None, synchronize: bool, expected: tuple[str | None, bool] | None
) -> None:
    changes = check.own_package_changes(
        {"packaging": "26.0"},
        {"packaging": frozenset({locked})} if locked else {},
        {"packaging": {"poetry": Requirement("packaging>=24,<27")}},
        synchronize=synchronize,
    )
    assert [(change.locked, change.harmful) for change in changes] == (
        [expected] if expected else []
    )
    assert all(change.required_by == ("poetry",) for change in changes)


HARM = check.OwnPackageChange("packaging", "26.0", "20.0", ("poetry",), True)
UPGRADE = check.OwnPackageChange("packaging", "26.0", "26.1", ("poetry",), False)
HOLDER = check.HolderFacts(
    "poetry lock", 1, "h", "u", 0.0, "exclusive", "`poetry lock`"
)
READER = check.HolderFacts("poetry run", 1, "h", "u", 0.0, "shared", "`poetry run`")


def locks(*holders: check.HolderFacts, timeout: float | None) -> check.Finding:
    lock = check.LockFacts("the project", "/p/project.lock", holders)
    return check.judge_locks(check.LocksFacts("/p", "", timeout, (lock,)))


@pytest.mark.parametrize(
    ("finding", "level"),
    [
        (check.judge_own_packages(check.OwnPackagesFacts("refuse", False, ())), "ok"),
        (check.judge_own_packages(check.OwnPackagesFacts("refuse", True, ())), "ok"),
        (
            check.judge_own_packages(check.OwnPackagesFacts("refuse", True, (HARM,))),
            "refused",
        ),
        (
            check.judge_own_packages(check.OwnPackagesFacts("pin", True, (HARM,))),
            "risk",
        ),
        (
            check.judge_own_packages(check.OwnPackagesFacts("allow", True, (HARM,))),
            "risk",
        ),
        (
            check.judge_own_packages(
                check.OwnPackagesFacts("refuse", True, (UPGRADE,))
            ),
            "note",
        ),
        (
            check.judge_externally_managed(check.ExternallyManagedFacts("warn", None)),
            "ok",
        ),
        (
            check.judge_externally_managed(check.ExternallyManagedFacts("warn", "/m")),
            "risk",
        ),
        (
            check.judge_externally_managed(
                check.ExternallyManagedFacts("refuse", "/m")
            ),
            "refused",
        ),
        (
            check.judge_externally_managed(check.ExternallyManagedFacts("allow", "/m")),
            "note",
        ),
        (check.judge_scripts(check.ScriptsFacts(None, False, True, ())), "ok"),
        (check.judge_scripts(check.ScriptsFacts("/b", True, False, ())), "ok"),
        (check.judge_scripts(check.ScriptsFacts("/b", False, True, ())), "ok"),
        (check.judge_scripts(check.ScriptsFacts("/b", False, False, ())), "risk"),
        (locks(timeout=0), "ok"),
        (locks(HOLDER, timeout=900), "note"),
        (locks(HOLDER, timeout=None), "note"),
        (locks(HOLDER, timeout=0), "refused"),
        (locks(READER, timeout=0), "note"),
    ],
)
def test_judgement(finding: check.Finding, level: str) -> None:
    assert finding.level.value == level
    assert bool(finding.remedy) == (finding.level in (Level.RISK, Level.REFUSED))
    assert "\n" not in finding.remedy
