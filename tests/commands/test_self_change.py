"""Real Poetrys that install into the very environment they are installed in."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import tempfile

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.cases import thorough_but
from tests.laboratory.changes import NO_RELOCKING
from tests.laboratory.index import LocalIndex
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import OLDEST
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import STAND_INS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import download
from tests.laboratory.poetries import poetry_home
from tests.laboratory.poetries import state_of
from tests.laboratory.prefixes import system_python
from tests.laboratory.prefixes import with_poetry
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project
    from tests.laboratory.running import Result

MODE = "POETRY_SAFE_INSTALL_ON_SELF_CHANGE"
FAULTY = "2.2.1"
"""The Poetry of F6, which an older packaging broke."""
BOTH = (
    NEWEST,
    *(
        pytest.param(version, marks=pytest.mark.matrix)
        for version in POETRY_VERSIONS
        if version == FAULTY != NEWEST
    ),
)
OLD = (
    "packaging==23.2",
    "more-itertools==10.1.0",
    "requests==2.32.5",
)


@pytest.fixture(scope="session", autouse=True)
def wheels() -> None:
    """The releases that lock files of these tests hold, beside those of Poetry."""
    for requirement in OLD:
        name, version = requirement.replace("-", "_").split("==")
        if not list(WHEELS.glob(f"{name}-{version}-*")):
            download(poetry_home(protected=False).python, requirement)


@dataclass(frozen=True)
class Case:
    """A lock file that would damage Poetry.

    ``locked`` are the versions in it, ``accepted`` what the project says it requires.
    """

    command: str
    locked: tuple[str, ...]
    accepted: tuple[str, ...]
    row: tuple[str, ...]


TOO_OLD_PACKAGING = Case(
    "install",
    ("packaging==23.2", "harmless"),
    ("packaging", "harmless"),
    ("packaging", "23.2", "changed, but", "requires packaging>="),
)
"""No Poetry accepts it."""
OLDER_MORE_ITERTOOLS = Case(
    "install",
    ("more-itertools==10.1.0", "harmless"),
    ("more-itertools>=10", "harmless"),
    ("more-itertools", "10.1.0", "downgraded"),
)
"""All that require it accept it."""
NOTHING_OF_POETRY = Case(
    "sync",
    ("harmless",),
    ("harmless",),
    ("poetry", "removed"),
)
CASES = (TOO_OLD_PACKAGING, NOTHING_OF_POETRY)


@pytest.fixture
def harmless(own_folder: Path) -> Distribution:
    harmless = Distribution("harmless", "1.0", {"harmless.py": ""})
    harmless.wheel(own_folder)
    return harmless


@pytest.fixture
def locked_project(
    new_project: Callable[..., Project], harmless: Distribution
) -> Callable[..., Project]:
    """A project whose lock file holds other versions than the best that it accepts."""

    def new(
        locked: tuple[str, ...], accepted: tuple[str, ...], name: str = "demo"
    ) -> Project:
        project = new_project(name, name=name, dependencies=locked)
        # Else what Poetry requires could not be locked as it is installed.
        python = f">={DEFAULT_PYTHON},<4.0"
        text = project.pyproject.read_text().replace(">=3.10", python)
        project.pyproject.write_text(text)
        project.lock()
        for one, other in zip(locked, accepted, strict=True):
            text = text.replace(f'"{one}"', f'"{other}"')
        project.pyproject.write_text(text)
        project.lock()
        return project

    return new


def fingerprint(project: Project, *directories: Path) -> dict[str, object]:
    """All that a refused command must leave alone, but for compiled files.

    Of installed files, which are many: whether they were written or replaced. The lock of
    a system environment lies in its site-packages.
    """
    found: dict[str, object] = {
        str(file): file.read_bytes()
        for file in (project.pyproject, project.path / "poetry.lock")
        if file.exists()
    }
    for directory in directories:
        for file, about in state_of(directory).items():
            if not file.endswith(".pyc") and ".safe-install.lock" not in file:
                found[file] = about
    return found


def sources(package: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(package.rglob("*.py"))}


def version_of(home: PoetryHome, name: str) -> str:
    found = [
        path.name.removesuffix(".dist-info").split("-")[1]
        for path in home.site_packages.glob(f"{name.replace('-', '_')}-*.dist-info")
    ]
    return found[0] if found else ""


def still_works(home: PoetryHome, project: Project) -> None:
    for command in ("lock", "install"):
        project.poetry(home, command, venv=home.path).succeeded()


def shows(result: Result, *texts: str) -> None:
    flat = " ".join(result.out.split())
    for text in texts:
        assert text in flat, result.out


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize(
    "case",
    thorough_but([(TOO_OLD_PACKAGING,)], [(case,) for case in CASES]),
    ids=lambda case: case.row[0],
)
def test_refuse(
    case: Case,
    version: str,
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
    harmless: Distribution,
) -> None:
    home = clone(version)
    project = locked_project(case.locked, case.accepted)
    before = fingerprint(project, home.site_packages, home.path / "bin")

    result = project.poetry(home, case.command, venv=home.path, environ=NO_RELOCKING)

    result.failed(*case.row, "pipx install poetry", "--on-self-change pin")
    assert result.code == 1
    assert len(result.out.splitlines()) < 40
    assert fingerprint(project, home.site_packages, home.path / "bin") == before
    other = locked_project(("harmless",), ("harmless",), name="other")
    other.poetry(home, "install", venv=home.path).succeeded()


@pytest.mark.thorough
def test_strict_refuses_every_downgrade(
    clone: Callable[..., PoetryHome], locked_project: Callable[..., Project]
) -> None:
    home = clone()
    case = OLDER_MORE_ITERTOOLS
    project = locked_project(case.locked, case.accepted)
    before = fingerprint(project, home.site_packages)
    strict = {MODE: "strict", **NO_RELOCKING}

    project.poetry(home, "install", venv=home.path, environ=strict).failed(*case.row)
    assert fingerprint(project, home.site_packages) == before

    result = project.poetry(home, "install", venv=home.path).succeeded()
    assert "damage" not in result.out
    assert version_of(home, "more-itertools") == "10.1.0"
    project.poetry(home, "install", venv=home.path).succeeded()


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize(
    "case",
    thorough_but([(TOO_OLD_PACKAGING,)], [(case,) for case in CASES]),
    ids=lambda case: case.row[0],
)
def test_pin(
    case: Case,
    version: str,
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
) -> None:
    home = clone(version)
    project = locked_project(case.locked, case.accepted)
    name = case.row[0]
    installed = version_of(home, name)
    pin = {MODE: "pin"}

    result = project.poetry(home, case.command, venv=home.path, environ=pin)

    shows(
        result.succeeded(), "Left as they are", f"- {name} {installed}:", case.row[-1]
    )
    assert result.out.index("Left as") > result.out.index("Installing the current")
    assert version_of(home, name) == installed
    assert version_of(home, "harmless") == "1.0"
    assert version_of(home, "demo") == "0.0.0"
    for command in ("lock", case.command):
        project.poetry(home, command, venv=home.path, environ=pin).succeeded()


@pytest.fixture
def lying(locked_project: Callable[..., Project], own_folder: Path) -> Project:
    """A project with a packaging that every requirement accepts and nothing works with.

    Requirements without an upper bound promise more than anybody knows.
    """
    Distribution("packaging", "99.0", {"packaging/__init__.py": ""}).wheel(own_folder)
    wanted = ("packaging==99.0", "harmless")
    return locked_project(wanted, wanted, name="lying")


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("mode", thorough_but([("refuse",)], [("refuse",), ("allow",)]))
def test_what_breaks_poetry_though_it_should_not_is_put_back(
    mode: str, version: str, clone: Callable[..., PoetryHome], lying: Project
) -> None:
    home = clone(version)
    installed = version_of(home, "packaging")
    own = sources(home.site_packages / "packaging")

    result = lying.poetry(home, "install", venv=home.path, environ={MODE: mode})

    assert result.code == (0 if mode == "allow" else 1), result.out
    shows(result, "No module named 'packaging.", "put back")
    assert version_of(home, "packaging") == installed
    assert sources(home.site_packages / "packaging") == own
    assert version_of(home, "harmless") == "1.0"
    lying.poetry(home, "lock", venv=home.path).succeeded()


KILLED = """\
import os, signal
from poetry.console.application import main
from poetry_plugin_safe_install.own_packages.proof import Proof
Proof.failure = lambda proof: os.kill(os.getpid(), signal.SIGKILL)
main()
"""
"""Poetry that is killed when its own packages are changed and nothing is proved."""


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["next command", "module"])
def test_a_kill_between_the_change_and_the_proof(
    way: str, clone: Callable[..., PoetryHome], lying: Project
) -> None:
    """What was changed is put back by the next command, or without Poetry."""
    home = clone()
    installed = version_of(home, "packaging")
    own = sources(home.site_packages / "packaging")
    program = home.path / "killed.py"
    program.write_text(KILLED)

    killed = subprocess.run(
        [str(home.python), str(program), "install"],
        cwd=lying.path,
        env=lying.environment(home.path),
        capture_output=True,
        text=True,
    )

    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert version_of(home, "packaging") == "99.0"
    kept = home.site_packages / ".poetry-safe-install-kept"
    assert list(kept.iterdir())
    if way == "module":
        module = "poetry_plugin_safe_install.own_packages.kept"
        said = subprocess.run(
            [str(home.python), "-m", module], check=True, capture_output=True, text=True
        )
        assert "put back: packaging" in said.stdout
    else:
        result = lying.poetry(home, "install", venv=home.path)
        result.failed("were put back: packaging", "No module named 'packaging.")
    assert version_of(home, "packaging") == installed
    assert sources(home.site_packages / "packaging") == own
    assert not kept.exists()
    lying.poetry(home, "lock", venv=home.path).succeeded()


@pytest.mark.matrix
@pytest.mark.skipif(FAULTY not in POETRY_VERSIONS, reason="this is about one Poetry")
def test_unprotected(clone: Callable[..., PoetryHome], lying: Project) -> None:
    """F6: exit status 0, and every later command of Poetry 2.2 to 2.4 dies.

    Not so of 2.5: it imports poetry.core first, which has a packaging of its own.
    """
    home = clone(FAULTY, protected=False)

    lying.poetry(home, "install", venv=home.path).succeeded()

    lying.poetry(home, "--version").failed("No module named")


ALLOW = {MODE: "allow", "POETRY_INSTALLER_BUILTIN_UNINSTALL": "true"}


@pytest.mark.thorough
def test_allow(
    clone: Callable[..., PoetryHome], locked_project: Callable[..., Project]
) -> None:
    """What can break Poetry is done, and put back only if it does."""
    home = clone()
    too_old = locked_project(TOO_OLD_PACKAGING.locked, TOO_OLD_PACKAGING.accepted)
    installed = version_of(home, "packaging")

    result = too_old.poetry(home, "install", venv=home.path, environ=ALLOW)
    shows(result.succeeded(), "This can break the Poetry that runs", "packaging")
    assert version_of(home, "packaging") in (installed, "23.2")
    still_works(home, locked_project(("harmless",), ("harmless",), name="other"))


@pytest.mark.thorough
def test_allow_the_removal_of_one(
    clone: Callable[..., PoetryHome], locked_project: Callable[..., Project]
) -> None:
    home = clone()
    wanted = ("tomlkit", "harmless")
    project = locked_project(wanted, wanted)
    installed = version_of(home, "tomlkit")

    result = project.poetry(home, "remove", "tomlkit", venv=home.path, environ=ALLOW)

    shows(result.succeeded(), "This can break the Poetry that runs", "put back")
    assert version_of(home, "tomlkit") == installed
    still_works(home, project)


@pytest.mark.thorough
def test_allow_the_removal_of_all(
    clone: Callable[..., PoetryHome], locked_project: Callable[..., Project]
) -> None:
    """One after the other, and each is seen to be needed."""
    home = clone()
    nothing = locked_project(("harmless",), ("harmless",), name="nothing")

    result = nothing.poetry(home, "sync", venv=home.path, environ=ALLOW)
    shows(result.succeeded(), "This can break the Poetry that runs", "put back")
    assert version_of(home, "poetry") == home.version
    assert version_of(home, "nothing") == "0.0.0"
    still_works(home, nothing)


@pytest.mark.thorough
def test_files_of_another_package(
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
    own_folder: Path,
) -> None:
    """A wheel of the index is seen through when it is opened, and not written."""
    Distribution("cattle", "1.0", {"cleo/__init__.py": "raise SystemExit(9)"}).wheel(
        own_folder
    )
    home = clone()
    project = locked_project(("cattle", "harmless"), ("cattle", "harmless"))
    own = sources(home.site_packages / "cleo")

    result = project.poetry(home, "install", venv=home.path)

    result.failed("cattle was not installed", "cleo", "cleo/__init__.py")
    assert sources(home.site_packages / "cleo") == own
    assert not version_of(home, "cattle")

    allowed = project.poetry(home, "install", venv=home.path, environ={MODE: "allow"})
    shows(allowed.succeeded(), "This can break the Poetry that runs", "put back")
    assert sources(home.site_packages / "cleo") == own
    still_works(home, project)


def path_dependency(project: Project, name: str, files: dict[str, str]) -> None:
    """Have the project depend on a directory that Poetry itself builds."""
    directory = project.path.parent / f"path-{name}"
    for file, text in files.items():
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).write_text(text)
    packages = ", ".join(f'{{ include = "{f.partition("/")[0]}" }}' for f in files)
    (directory / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "25.0"\n'
        f"[tool.poetry]\npackages = [{packages}]\n"
        '[build-system]\nrequires = ["poetry-core"]\n'
        'build-backend = "poetry.core.masonry.api"\n'
    )
    with project.pyproject.open("a") as appended:
        appended.write(
            f'[tool.poetry.dependencies]\n{name} = {{path = "{directory}"}}\n'
        )


@pytest.mark.thorough
def test_what_takes_the_place_of_an_own_package(
    clone: Callable[..., PoetryHome], new_project: Callable[..., Project]
) -> None:
    """Each is refused whole, and ``--check`` knows it; F23."""
    home = clone()
    installed = version_of(home, "packaging")
    named = new_project("named", name="tomlkit")
    scripts = '[project.scripts]\npoetry = "demo:main"\n'
    script = new_project("script", name="script", tail=scripts)
    folder = new_project("folder", name="folder")
    path_dependency(folder, "cattle", {"packaging/__init__.py": "raise SystemExit(9)"})
    source = new_project("source", name="source")
    path_dependency(source, "packaging", {"packaging/__init__.py": ""})
    text = (source.path.parent / "path-packaging" / "pyproject.toml").read_text()
    (source.path.parent / "path-packaging" / "pyproject.toml").write_text(
        text.replace('"25.0"', f'"{installed}"')
    )
    for project, reason in (
        (named, "replaced by the project of that name"),
        (script, "written over by a script of script: "),
        (folder, "written over by cattle 25.0: "),
        (source, "replaced by the same version from directory "),
    ):
        project.lock()
        before = fingerprint(project, home.site_packages, home.path / "bin")

        checked = project.poetry(home, "safe-install", "--check", venv=home.path)
        result = project.poetry(home, "install", venv=home.path, environ=NO_RELOCKING)

        checked.failed("would be refused", reason)
        result.failed("would damage the Poetry that runs it", reason)
        after = fingerprint(project, home.site_packages, home.path / "bin")
        assert after == before
    script.poetry(home, "install", "--no-root", venv=home.path).succeeded()


@pytest.mark.thorough
def test_pin_is_refused_where_a_requirement_does_not_accept_it(
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
    own_folder: Path,
) -> None:
    Distribution("demanding", "1.0", requires=("packaging<24",)).wheel(own_folder)
    home = clone()
    for project, requirer in (
        (locked_project(("demanding",), ("demanding",), "a"), "demanding 1.0"),
        (
            locked_project(("packaging<24",), ("packaging<24",), "b"),
            "the project b",
        ),
    ):
        before = fingerprint(project, home.site_packages)

        refused = project.poetry(home, "install", venv=home.path, environ=NO_RELOCKING)
        pinned = project.poetry(
            home, "install", venv=home.path, environ={MODE: "pin", **NO_RELOCKING}
        )

        reason = f"{requirer} requires packaging ("
        refused.failed("would damage the Poetry that runs it")
        assert "--on-self-change pin" not in refused.out
        pinned.failed("cannot stay at", reason)
        assert fingerprint(project, home.site_packages) == before


@pytest.mark.parametrize("version", BOTH)
def test_commands_that_write_the_project_are_refused_whole(
    version: str,
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
) -> None:
    home = clone(version)
    project = locked_project(
        ("packaging==23.2", "harmless"), ("packaging<24", "harmless")
    )
    fresh = locked_project(("harmless",), ("harmless",), name="fresh")
    for one, arguments in (
        (fresh, ["add", "packaging<24"]),
        (fresh, ["add", "--group", "dev", "packaging<24"]),
        (project, ["update"]),
        (project, ["remove", "packaging"]),
        (project, ["install", "--sync"]),
    ):
        before = fingerprint(one, home.site_packages)

        result = one.poetry(home, *arguments, venv=home.path, environ=NO_RELOCKING)

        result.failed("would damage the Poetry that runs it")
        assert fingerprint(one, home.site_packages) == before, arguments


def test_a_project_without_lock_file_gets_none(
    clone: Callable[..., PoetryHome], new_project: Callable[..., Project]
) -> None:
    home = clone()
    project = new_project(dependencies=("packaging<24",))
    before = fingerprint(project, home.site_packages)

    refused = project.poetry(home, "install", venv=home.path, environ=NO_RELOCKING)
    refused.failed("changed, but")

    assert fingerprint(project, home.site_packages) == before


def test_settings(
    home: PoetryHome, new_project: Callable[..., Project], tmp_path: Path
) -> None:
    variable = "POETRY_SAFE_INSTALL_EXTERNALLY_MANAGED"
    project = new_project()
    for name, value, allowed in (
        (MODE, "perhaps", '"refuse", "pin", "strict", "allow"'),
        (variable, "pin", '"warn", "refuse", "allow"'),
    ):
        result = project.poetry(home, "install", environ={name: value})
        result.failed(name, f'must be one of {allowed}, but is "{value}"')
    with project.pyproject.open("a") as file:
        file.write('[tool.poetry-plugin-safe-install]\non-self-change = "no"\n')
    project.poetry(home, "install").failed(
        "on-self-change of [tool.poetry-plugin-safe-install]", 'but is "no"'
    )


@pytest.mark.parametrize(
    "mode", thorough_but([("pin",)], [("refuse",), ("pin",), ("allow",)])
)
def test_dry_run_shows_the_verdict(
    mode: str, clone: Callable[..., PoetryHome], locked_project: Callable[..., Project]
) -> None:
    home = clone()
    project = locked_project(TOO_OLD_PACKAGING.locked, TOO_OLD_PACKAGING.accepted)
    before = fingerprint(project, home.site_packages)

    result = project.poetry(
        *(home, "install", "--dry-run"),
        venv=home.path,
        environ={MODE: mode, **NO_RELOCKING},
    )

    assert result.code == (1 if mode == "refuse" else 0), result.out
    shows(
        result,
        "Installing harmless (1.0)",
        {
            "refuse": "would damage",
            "pin": "Left as they are",
            "allow": "can break",
        }[mode],
    )
    assert fingerprint(project, home.site_packages) == before


@pytest.mark.thorough
def test_upgrades_come_last_and_one_by_one(
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
    own_folder: Path,
) -> None:
    Distribution("zzz", "1.0").wheel(own_folder)
    home = clone()
    for old in ("requests-2.32.5", "more_itertools-10.1.0"):
        home.pip_install("--no-deps", *WHEELS.glob(f"{old}-*"))
    project = locked_project(
        ("requests", "more-itertools", "zzz"), ("requests", "more-itertools", "zzz")
    )

    result = project.poetry(home, "install", venv=home.path).succeeded()

    order = [
        line.split()[2] for line in result.out.splitlines() if line.startswith("  - ")
    ]
    assert order == ["zzz", "more-itertools", "requests"], result.out
    still_works(home, project)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("version", "builds"),
    [
        (OLDEST, False),
        pytest.param(
            FAULTY,
            True,
            marks=[
                pytest.mark.matrix,
                pytest.mark.skipif(FAULTY not in POETRY_VERSIONS, reason="not here"),
            ],
        ),
    ],
)
def test_poetry_upgrades_itself_with_all_it_needs(
    version: str,
    builds: bool,
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
) -> None:
    """After that a root package with a build script is still built.

    Not by Poetry 2.0: the new virtualenv has a program that the old one cannot start.
    """
    poetry_home(NEWEST, protected=False)  # its wheels are in the index
    home = clone(version)
    wanted = (f"poetry=={NEWEST}", "harmless")
    project = locked_project(wanted, wanted)
    if builds:
        with project.pyproject.open("a") as file:
            file.write('[tool.poetry.build]\nscript = "build.py"\n')
        (project.path / "build.py").write_text(
            "from pathlib import Path\nPath('src/demo/built.py').touch()\n"
        )
        project.lock()

    result = project.poetry(home, "install", venv=home.path).succeeded()

    steps = [line for line in result.out.splitlines() if line.startswith("  - ")]
    own = [place for place, line in enumerate(steps) if "Updating" in line]
    assert own == list(range(min(own), len(steps))), result.out
    assert version_of(home, "poetry") == NEWEST
    assert (project.path / "src" / "demo" / "built.py").exists() == builds
    shows(project.poetry(home, "--version"), NEWEST)
    still_works(home, project)


@pytest.mark.thorough
def test_a_plugin_is_developed_in_its_own_environment(
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
    own_folder: Path,
    tmp_path: Path,
) -> None:
    """It is installed anew, with other requirements than those it was installed with."""
    Distribution("tables", "1.0").wheel(own_folder)
    Distribution("tables", "2.0").wheel(own_folder)
    home = clone()
    name = "poetry-plugin-show"
    entry = (
        '[project.entry-points."poetry.application.plugin"]\n'
        'show = "poetry_plugin_show:Show"\n'
    )
    code = (
        "from poetry.plugins.application_plugin import ApplicationPlugin\n"
        "class Show(ApplicationPlugin):\n"
        "    def activate(self, application): print('shown')\n"
    )
    for tables in ("1.0", "2.0"):
        wanted = (f"tables=={tables}", f"poetry=={NEWEST}")
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        project = locked_project(wanted, wanted, name=name)
        (project.path / "src" / "poetry_plugin_show" / "__init__.py").write_text(code)
        text = project.pyproject.read_text().replace(
            "[tool.poetry]", f"{entry}\n[tool.poetry]", 1
        )
        project.pyproject.write_text(text)
        project.lock()

        project.poetry(home, "install", venv=home.path).succeeded()

        shows(project.poetry(home, "about", venv=home.path), "shown")
        assert version_of(home, "tables") == tables

    result = project.poetry(home, "sync", venv=home.path)

    result.failed("poetry-plugin-safe-install", "removed")
    assert f"{name} " not in result.out.partition("would be")[2]


@pytest.mark.thorough
def test_poetry_in_an_environment_of_its_own_is_none_the_wiser(
    home: PoetryHome,
    plain_home: PoetryHome,
    locked_project: Callable[..., Project],
    new_venv: Callable[..., Path],
) -> None:
    project = locked_project(TOO_OLD_PACKAGING.locked, TOO_OLD_PACKAGING.accepted)
    outputs = [
        project.poetry(one, "install", venv=new_venv(str(number))).succeeded().out
        for number, one in enumerate((plain_home, home))
    ]
    assert outputs[0] == outputs[1]

    imported = project.poetry(
        home, "install", venv=new_venv("2"), environ={"PYTHONPROFILEIMPORTTIME": "1"}
    ).succeeded()
    assert "poetry_plugin_safe_install.environments.places" in imported.out
    for module in ("guarded_executor", "own_packages", "snapshot"):
        assert f"poetry_plugin_safe_install.{module}" not in imported.out


# A certificate bundle that is replaced while it is needed.


@dataclass(frozen=True)
class Authority:
    certificate: Path
    key: Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate of this machine for itself, which no real bundle holds."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl: install the package openssl")
    certificate, key = tmp_path / "authority.pem", tmp_path / "authority.key"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    command += " -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*command.split(), "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return Authority(certificate, key)


@pytest.fixture
def secure_index(authority: Authority, own_folder: Path) -> Iterator[LocalIndex]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    with LocalIndex(own_folder, WHEELS, STAND_INS, context=context) as index:
        yield index


@pytest.mark.thorough
def test_upgrade_of_the_certificate_bundle(
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
    authority: Authority,
    secure_index: LocalIndex,
    index: LocalIndex,
    own_folder: Path,
    tmp_path: Path,
) -> None:
    """The new release keeps its bundle elsewhere, so the old one's path leads nowhere."""
    home = clone()
    bundle = home.site_packages / "certifi" / "cacert.pem"
    text = bundle.read_text() + authority.certificate.read_text()
    bundle.unlink()  # all clones share it
    bundle.write_text(text)
    Distribution(
        "certifi",
        "3000.1",
        {
            "certifi/__init__.py": "from pathlib import Path\n"
            "def where(): return str(Path(__file__).with_name('bundle.pem'))\n"
            "def contents(): return Path(where()).read_text()\n",
            "certifi/bundle.pem": bundle.read_text(),
        },
    ).wheel(own_folder)
    home.pip_install("--no-deps", *WHEELS.glob("requests-2.32.5-*"))
    names = ("certifi", "requests", "harmless")
    project = locked_project(names, names)
    text = project.pyproject.read_text()
    project.pyproject.write_text(text.replace(index.url, secure_index.url))
    lock = project.path / "poetry.lock"
    lock.unlink()
    environ = {
        "POETRY_CACHE_DIR": str(tmp_path / "cache"),
        "REQUESTS_CA_BUNDLE": "",
        "CURL_CA_BUNDLE": "",
    }
    project.poetry(home, "lock", environ=environ).succeeded()

    project.poetry(home, "install", venv=home.path, environ=environ).succeeded()

    files = [request for request in secure_index.requests if request.endswith(".whl")]
    fetched = [file.rpartition("/")[2].partition("-")[0] for file in files[-2:]]
    assert fetched == ["certifi", "requests"]
    assert version_of(home, "certifi") == "3000.1"


# Environments that are no virtual environments.


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Where every user may look: pytest's directories are private."""
    with tempfile.TemporaryDirectory(prefix="safe-install-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.thorough
def test_poetry_in_the_system_python(
    open_directory: Path,
    home: PoetryHome,
    locked_project: Callable[..., Project],
    own_folder: Path,
) -> None:
    """Guarded as everywhere, and with warnings about the system and about PATH."""
    Distribution(
        "tool",
        "1.0",
        {"tool.py": "def main(): pass\n"},
        entry_points="[console_scripts]\ntool = tool:main\n",
    ).wheel(own_folder)
    prefix = open_directory / "usr"
    environ = system_python(home.minor, prefix)
    environ |= {"POETRY_VIRTUALENVS_CREATE": "false", "SHELL": "/bin/bash"}
    system = with_poetry(home, prefix)
    marker = prefix / "lib" / f"python{home.minor}" / "EXTERNALLY-MANAGED"
    marker.write_text("[externally-managed]\nError=Ask the system.\n")
    bad = locked_project(TOO_OLD_PACKAGING.locked, TOO_OLD_PACKAGING.accepted)
    good = locked_project(("tool",), ("tool",), name="good")
    before = fingerprint(bad, system.site_packages)
    managed = "POETRY_SAFE_INSTALL_EXTERNALLY_MANAGED"

    refused = bad.poetry(system, "install", environ=environ)
    not_here = good.poetry(system, "install", environ={**environ, managed: "refuse"})
    refused.failed("would damage the Poetry that runs it", "packaging")
    not_here.failed("belongs to the system", "EXTERNALLY-MANAGED")
    assert fingerprint(bad, system.site_packages) == before

    dry = good.poetry(system, "install", "--dry-run", environ=environ).succeeded()
    assert "belongs to the system" not in dry.out
    result = good.poetry(system, "install", environ=environ).succeeded()
    shows(
        result,
        "belongs to the system",
        "poetry config --local virtualenvs.create true",
        f"These scripts are in {prefix}/bin, which is not on PATH: tool.",
        f'export PATH="{prefix}/bin:$PATH"',
    )
    again = good.poetry(
        system,
        "install",
        environ={**environ, managed: "allow", "PATH": f"{prefix}/bin:/usr/bin:/bin"},
    ).succeeded()
    assert "belongs to the system" not in again.out
    assert "PATH" not in again.out


@pytest.mark.thorough
@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0,
    reason="needs to be root, to act as another user",
)
def test_poetry_in_the_user_site(
    open_directory: Path,
    home: PoetryHome,
    locked_project: Callable[..., Project],
) -> None:
    """An ordinary user, who cannot write to the system's site-packages."""
    prefix, base = open_directory / "usr", open_directory / "home" / ".local"
    environ = system_python(home.minor, prefix)
    site = base / "lib" / f"python{home.minor}" / "site-packages"
    system = with_poetry(home, prefix, site)
    (base / "bin").mkdir()
    plain = locked_project(TOO_OLD_PACKAGING.locked, TOO_OLD_PACKAGING.accepted)
    other = locked_project(("harmless",), ("harmless",), name="other")
    moved = []
    for project in (plain, other):
        path = open_directory / "home" / project.path.name
        shutil.copytree(project.path, path)
        moved.append(type(project)(path, project.environ))
    user = 65534
    subprocess.run(
        ["chown", "-R", f"{user}:{user}", open_directory / "home"], check=True
    )
    places = open_directory / "home"
    environ |= {
        "HOME": str(places),
        "POETRY_VIRTUALENVS_CREATE": "false",
        "POETRY_CONFIG_DIR": str(places / "config"),
        "POETRY_CACHE_DIR": str(places / "cache"),
        "POETRY_DATA_DIR": str(places / "data"),
        "POETRY_VIRTUALENVS_PATH": str(places / "environments"),
    }
    before = fingerprint(moved[0], site)

    def install(project: Project) -> Result:
        return project.poetry(
            system,
            *("install", "--no-root"),  # Poetry cannot install a root package there
            environ=environ,
            user=user,
            group=user,
            extra_groups=[],
        )

    install(moved[0]).failed("would damage the Poetry that runs it", "packaging")
    assert fingerprint(moved[0], site) == before

    install(moved[1]).succeeded()
    assert list(site.glob("harmless-1.0.dist-info"))


@pytest.mark.thorough
def test_an_environment_on_top_of_a_python_with_poetry(
    open_directory: Path,
    home: PoetryHome,
    locked_project: Callable[..., Project],
) -> None:
    """What is installed there is not seen by the Poetry beneath, so nothing is refused."""
    prefix = open_directory / "usr"
    environ = system_python(home.minor, prefix)
    system = with_poetry(home, prefix)
    project = locked_project(TOO_OLD_PACKAGING.locked, TOO_OLD_PACKAGING.accepted)
    venv = open_directory / "venv"
    options = ("--without-pip", "--system-site-packages")
    subprocess.run(
        [prefix / "bin" / "python", "-m", "venv", *options, venv],
        check=True,
        env={**os.environ, **environ},
    )
    before = fingerprint(project, system.site_packages)

    project.poetry(system, "install", venv=venv, environ=environ).succeeded()

    assert fingerprint(project, system.site_packages) == before
    site = venv / "lib" / f"python{home.minor}" / "site-packages"
    assert list(site.glob("packaging-23.2.dist-info"))


@pytest.mark.matrix
@pytest.mark.parametrize("version", POETRY_VERSIONS)
def test_every_version(
    version: str,
    clone: Callable[..., PoetryHome],
    locked_project: Callable[..., Project],
) -> None:
    home = clone(version)
    project = locked_project(TOO_OLD_PACKAGING.locked, TOO_OLD_PACKAGING.accepted)
    before = fingerprint(project, home.site_packages)

    for command in ("install", "sync"):
        project.poetry(home, command, venv=home.path).failed("would damage")
        assert fingerprint(project, home.site_packages) == before
    pin = {MODE: "pin"}
    project.poetry(home, "sync", venv=home.path, environ=pin).succeeded()
    home.pip_install("--no-deps", *WHEELS.glob("requests-2.32.5-*"))
    newer = locked_project(("requests",), ("requests",), name="newer")

    newer.poetry(home, "install", venv=home.path).succeeded()

    assert version_of(home, "requests") > "2.32.5"
    still_works(home, newer)
