"""Commands that are killed at a change they make to an environment.

Whatever the change was, the next ``poetry install`` makes the environment whole.
"""

from __future__ import annotations

import os
import re

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.killing import Kill
from tests.laboratory.killing import Saved
from tests.laboratory.killing import faults
from tests.laboratory.killing import killed
from tests.laboratory.killing import wrong_files
from tests.laboratory.libraries import in_tree
from tests.laboratory.libraries import make_library
from tests.laboratory.mounts import Layers
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import OLDEST
from tests.laboratory.poetries import download
from tests.laboratory.poetries import poetry_home
from tests.laboratory.preloaded import Preloaded
from tests.laboratory.preloaded import shared
from tests.laboratory.projects import Project
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Collection
    from pathlib import Path

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.killing import Killed
    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.running import Result

WORKERS = 3
STEP = int(os.environ.get("KILL_STEP", "1"))
"""Only every so many changes, for a soak that is in a hurry."""


@dataclass(frozen=True)
class Scenario:
    """A command that changes an environment.

    :param installed: the requirements that are installed before.
    :param wanted: those that the lock file is made from when the command starts.
    :param tail: what else pyproject.toml says.
    """

    name: str
    arguments: tuple[str, ...]
    installed: tuple[str, ...]
    wanted: tuple[str, ...]
    tail: str = ""


NONE: tuple[str, ...] = ()
OLD = ("early==1.0", "late==1.0")
NEW = ("early==2.0", "late==2.0")


def aged(requirements: tuple[str, ...], age: str) -> tuple[str, ...]:
    """
    :param age: ``old`` or ``new``.
    """
    number = {"old": "1", "new": "2"}[age]
    return tuple(
        one.replace("{age}", age).replace("{number}", number) for one in requirements
    )


FROM_TREES = (
    "gitted @ git+file://{folder}/gitted@{age}",
    "copied @ file://{folder}/copied",
    "linked",
)
FROM_FILES = (
    "sourced=={number}.0",
    "urled @ {files}/urled-{number}.0-py3-none-any.whl",
    "filed @ file://{folder}/wheels/filed-{number}.0-py3-none-any.whl",
)
LINKED = '[tool.poetry.dependencies]\nlinked = { path = "../linked", develop = true }\n'
BY_PIP = """\
[tool.poetry.build]
script = "build_script.py"
generate-setup-file = true
"""
FILES = Scenario("files", ("install",), NONE, aged(FROM_FILES, "old"))
BY_PIP_FIRST = Scenario("by pip", ("install",), NONE, NONE, BY_PIP)
UPDATE = Scenario("update", ("install",), OLD, NEW)
SYNC = Scenario("sync", ("sync",), OLD, NEW[:1])
SCENARIOS = (
    Scenario("install", ("install",), NONE, OLD),
    Scenario("no-op", ("install",), OLD, OLD),
    UPDATE,
    SYNC,
    Scenario("add", ("add", "third"), OLD, OLD),
    Scenario("remove", ("remove", "late"), OLD, OLD),
    Scenario("trees", ("install",), NONE, aged(FROM_TREES, "old"), LINKED),
    FILES,
    BY_PIP_FIRST,
    Scenario("by pip again", ("install",), OLD[:1], OLD[:1], BY_PIP),
    Scenario(
        "newer",
        ("install",),
        aged((FROM_TREES[0], *FROM_FILES), "old"),
        aged((FROM_TREES[0], *FROM_FILES), "new"),
    ),
)
COMMON = ("install", "update", "remove")
"""What shows every kind of change; pip and trees take longest."""

scenarios = pytest.mark.parametrize(
    "scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS]
)


NO_KILL = Kill(0)


class Bench:
    """A project and its environment, put back before every kill."""

    def __init__(
        self, project: Project, index: LocalIndex, venv: Path, poetry: Preloaded
    ) -> None:
        self.project = project
        self.index = index
        self.venv = venv
        self.poetry = poetry
        self.saved: Saved | Layers

    def prepare(self, scenario: Scenario) -> None:
        if scenario.installed:
            self.lock(scenario.installed)
            self.install().succeeded()
        self.lock(scenario.wanted)
        copies = self.project.path.with_name(f"{self.project.path.name}-saved")
        self.saved = Saved.of(copies, self.project.path, self.venv)

    def lock(self, requirements: tuple[str, ...]) -> None:
        files = f"{self.index.url.removesuffix('/simple')}/files"
        folder = str(self.project.path.parent)
        listed = ", ".join(
            f'"{one}"'.replace("{folder}", folder).replace("{files}", files)
            for one in requirements
        )
        lines = self.project.pyproject.read_text().splitlines()
        lines = [
            f"dependencies = [{listed}]" if line.startswith("dependencies") else line
            for line in lines
        ]
        self.project.pyproject.write_text("\n".join(lines))
        self.run("lock").result.succeeded()

    def install(self) -> Result:
        return self.run("install").result

    def run(self, *arguments: str, kill: Kill = NO_KILL) -> Killed:
        return killed(
            self.poetry,
            self.project,
            *arguments,
            venv=self.venv,
            at=kill.at,
            half=kill.half,
        )

    def faults_after(
        self, scenario: Scenario, kill: Kill, modules: Collection[str] | None = None
    ) -> list[str] | None:
        """What is wrong after the kill and the next install; ``None``: not killed."""
        self.saved.restore()
        if not self.run(*scenario.arguments, kill=kill).was_killed:
            return None
        if kill.again:
            self.run("install", kill=Kill(kill.again, kill.half))
        result = self.install()
        return [result.out] if result.code else faults(self.venv, modules)


@pytest.fixture
def benches(
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    own_folder: Path,
    index: LocalIndex,
    tmp_path: Path,
) -> Callable[..., Bench]:
    make_wheels(own_folder)
    make_sources(tmp_path, own_folder, index)
    numbers = count()

    def make(
        scenario: Scenario, home: PoetryHome, environ: dict[str, str] | None = None
    ) -> Bench:
        number = next(numbers)
        project = new_project(f"project-{number}", tail=SCRIPTS + scenario.tail)
        if BY_PIP in scenario.tail:
            have_built_by_pip(project)
        (project.path / "bin").mkdir()
        (project.path / "bin" / "run-demo").write_text("#!/bin/sh\n")
        project = replace(project, environ={**project.environ, **(environ or {})})
        poetry = shared(home, project.environment())
        bench = Bench(project, index, new_venv(f"environment-{number}"), poetry)
        bench.prepare(scenario)
        return bench

    return make


SCRIPTS = """\
[tool.poetry.scripts]
start-demo = "demo:main"
run-demo = { reference = "bin/run-demo", type = "file" }
"""


def have_built_by_pip(project: Project) -> None:
    """With a backend that nothing has to be fetched for."""
    (project.path / "build_script.py").write_text("")
    built = in_tree("demo", "0.0.0")
    (project.path / "backend.py").write_text(built["backend.py"])
    kept, _, _ = project.pyproject.read_text().partition("[build-system]")
    project.pyproject.write_text(kept + built["pyproject.toml"])


def make_sources(folder: Path, own_folder: Path, index: LocalIndex) -> None:
    """What is built when it is installed, and wheels that no index lists."""
    for name in ("gitted", "copied"):
        make_library(folder / name, "in-tree", modules=3)
    make_library(folder / "linked", "poetry-core", index.url, modules=3)
    (folder / "linked" / "build_script.py").write_text("")
    git = Project(folder / "gitted", {}).git
    git("init", "--quiet")
    for age, number in (("old", "1"), ("new", "2")):
        (folder / "gitted" / "gitted" / f"only_{age}.py").write_text("")
        if age == "new":
            (folder / "gitted" / "gitted" / "only_old.py").unlink()
        git("add", "--all")
        git("commit", "--quiet", "--message", age)
        git("tag", age)
        version = f"{number}.0"
        files = {f"sourced/{module}.py": "" for module in ("__init__", f"only_{age}")}
        sources = files | in_tree("sourced", version)
        Distribution("sourced", version, sources).sdist(own_folder)
        for name, directory in (("urled", own_folder), ("filed", folder / "wheels")):
            files = {f"{name}/__init__.py": "", f"{name}/only_{age}.py": ""}
            Distribution(name, version, files).wheel(directory)


def make_wheels(directory: Path) -> None:
    """A dozen files each, one of them shared; METADATA before all else or after."""
    for name in ("early", "late", "third"):
        for version in ("1.0", "2.0"):
            files = {
                f"{name}/{module}.py": f"{name} = {version!r}\n"
                for module in ("__init__", "a", "b", f"only{version[0]}")
            }
            files |= {
                f"{name}/sub/__init__.py": "",
                f"{name}/sub/data.txt": version,
                "shared/__init__.py": "",
                f"shared/{name}.py": "",
                f"{name}-{version}.data/scripts/run-{name}": "#!python\n",
                f"{name}-{version}.data/data/share/{name}/text": "text",
            }
            points = f"[console_scripts]\nstart-{name} = {name}:a\n"
            made = Distribution(name, version, files, entry_points=points)
            made.wheel(directory, metadata_first=name == "early")


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(
            one, id=one.name, marks=() if one.name in COMMON else pytest.mark.thorough
        )
        for one in SCENARIOS
    ],
)
def test_killed_at_some_changes(
    scenario: Scenario, benches: Callable[..., Bench], home: PoetryHome
) -> None:
    some_kills(benches(scenario, home), scenario)


def some_kills(bench: Bench, scenario: Scenario) -> None:
    changes = bench.run(*scenario.arguments).changes
    first, second = changes // 3, changes * 2 // 3
    assert bench.faults_after(scenario, Kill(first)) == []
    for at in range(second, changes + 1):  # not every change has a middle
        found = bench.faults_after(scenario, Kill(at, half=True, again=first))
        if found is not None:
            break
    assert found == []


def test_what_was_repaired_is_said(
    benches: Callable[..., Bench], home: PoetryHome
) -> None:
    bench = benches(UPDATE, home)
    said = []
    for at in range(20, 160, 45):
        bench.saved.restore()
        bench.run("install", kill=Kill(at))
        said += [line for line in bench.install().out.splitlines() if "Repair" in line]
    what = r"(the (update|install) that was (writing|replacing) it)"
    text = (
        rf"Repaired: (early|late|demo) \({what}, pid \d+ at \d\d:\d\d, was killed\)\."
    )
    assert said
    assert all(re.fullmatch(text, line) for line in said), said


def test_poetry_without_the_plugin_installs_what_is_missing(
    benches: Callable[..., Bench], home: PoetryHome, plain_home: PoetryHome
) -> None:
    bench = benches(UPDATE, home)
    for at in (40, 120):
        bench.saved.restore()
        assert bench.run("install", kill=Kill(at)).was_killed
        bench.project.poetry(plain_home, "install", venv=bench.venv).succeeded()
        # Nobody but the plugin knows of the files that the killed command has left.
        wrong = [text for text in faults(bench.venv) if "nobody's" not in text]
        assert wrong == []
        bench.install().succeeded()
        assert faults(bench.venv) == []


@pytest.mark.thorough
def test_killed_while_poetry_changes_its_own_environment(
    new_project: Callable[..., Project],
    own_folder: Path,
    index: LocalIndex,
    tmp_path: Path,
    home: PoetryHome,
) -> None:
    make_wheels(own_folder)
    home = home.clone(tmp_path / "home")
    config = tmp_path / "config"
    config.mkdir()
    source = f'[[tool.poetry.source]]\nname = "local"\nurl = "{index.url}"\n'
    (config / "pyproject.toml").write_text(f'{source}priority = "primary"\n')
    project = new_project()
    environ = {**project.environ, "POETRY_CONFIG_DIR": str(config)}
    project = replace(project, environ=environ)
    said = ""
    with Preloaded(home, project.environment()) as poetry:

        def run(*arguments: str, at: int = 0) -> Killed:
            return killed(poetry, project, "self", *arguments, venv=home.path, at=at)

        changes = run("add", "early==1.0").changes
        for share in (0.4, 0.8):
            run("remove", "early").result.succeeded()
            assert not list(home.path.rglob("*early*"))
            assert run("add", "early==1.0", at=int(changes * share)).was_killed
            assert not list(home.site_packages.glob("early-*.dist-info"))
            said += run("add", "early==1.0").result.succeeded().out

    assert "Repaired: early (the install that was writing it, pid" in said
    wrong = wrong_files(home.path, home.site_packages)
    assert [text for text in wrong if "early" in text or "shared" in text] == []


def test_killed_where_directories_are_in_a_lower_layer(
    benches: Callable[..., Bench], home: PoetryHome, tmp_path: Path
) -> None:
    """As in a container: the dist-info of what its image has cannot be renamed."""
    bench = benches(UPDATE, home)
    with Layers(bench.venv, tmp_path / "above") as bench.saved:
        (info, *_) = bench.venv.glob("lib/python3*/site-packages/*.dist-info")
        with pytest.raises(OSError, match="cross-device"):
            info.rename(info.with_name("renamed"))
        some_kills(bench, UPDATE)


def test_failed_install_leaves_nothing(
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    own_folder: Path,
    home: PoetryHome,
) -> None:
    files = {"broken/__init__.py": "", "broken/file": "", "broken/file/module.py": ""}
    Distribution("broken", "1.0", files).wheel(own_folder)
    project = new_project(dependencies=("broken",))
    venv = new_venv("environment")
    project.poetry(home, "lock").succeeded()

    project.poetry(home, "install", "--no-root", venv=venv).failed("broken/file")

    assert faults(venv) == []


@pytest.mark.soak
@pytest.mark.timeout(7200)
@scenarios
@pytest.mark.parametrize("version", dict.fromkeys((OLDEST, NEWEST)))
@pytest.mark.parametrize("builtin", ["false", "true"])
def test_soak_of_every_kill(
    scenario: Scenario,
    version: str,
    builtin: str,
    benches: Callable[..., Bench],
) -> None:
    if builtin == "true" and version != NEWEST:
        pytest.skip("only the newest Poetry has an uninstaller of its own")
    home = poetry_home(version)
    environ = {"POETRY_INSTALLER_BUILTIN_UNINSTALL": builtin}
    made = [benches(scenario, home, environ) for _ in range(WORKERS)]
    found = every_kill(made, scenario)
    print(f"\n{scenario.name}, Poetry {version}: {len(found)} kills")
    assert not {kill: wrong for kill, wrong in found.items() if wrong}


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("scenario", [UPDATE, SYNC], ids=["update", "sync"])
@pytest.mark.parametrize("version", dict.fromkeys((OLDEST, NEWEST)))
def test_soak_of_every_kill_in_layers(
    scenario: Scenario, version: str, benches: Callable[..., Bench], tmp_path: Path
) -> None:
    bench = benches(scenario, poetry_home(version))
    with Layers(bench.venv, tmp_path / "above") as bench.saved:
        found = every_kill([bench], scenario)
    print(f"\n{scenario.name} in layers, Poetry {version}: {len(found)} kills")
    assert not {kill: wrong for kill, wrong in found.items() if wrong}


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_soak_of_real_packages(
    benches: Callable[..., Bench], plain_home: PoetryHome
) -> None:
    """METADATA of pandas 2.2.3 is the fourth of 1,664 entries; numpy's is early, too."""
    rounds = int(os.environ.get("ROUNDS", "100"))
    wanted = ("pandas==2.2.3", "numpy==1.26.4", "scipy==1.13.1")
    for_all_pythons = ("python-dateutil==2.9.0.post0", "pytz==2024.2")
    more = (*for_all_pythons, "tzdata==2024.2", "six==1.16.0")
    download(plain_home.python, *wanted, *more)
    scenario = Scenario("real", ("install",), NONE, wanted)
    home = poetry_home(os.environ.get("POETRY", NEWEST))
    made = [benches(scenario, home) for _ in range(2)]
    whole = made[0].run("install")
    whole.result.succeeded()
    changes = whole.changes
    assert faults(made[0].venv, REAL) == []
    kills = [Kill(changes * number // (rounds + 1)) for number in range(1, rounds + 1)]
    found = all_kills(made, scenario, kills, REAL)
    print(f"\nreal packages, Poetry {home.version}: {len(found)} kills")
    assert len(found) == rounds
    assert not {kill: wrong for kill, wrong in found.items() if wrong}


REAL = ("pandas", "numpy", "scipy.stats")


def every_kill(benches: list[Bench], scenario: Scenario) -> dict[Kill, list[str]]:
    """What is wrong after a kill at each change, before it and in its middle."""
    changes = benches[0].run(*scenario.arguments).changes
    print(f"\n{scenario.name}: {changes} changes")
    kills = [
        Kill(at, half, again)
        for at in range(1, changes + 1, STEP)
        for half, again in ((False, 0), (True, 0), (False, 1 + at * 7 % changes))
    ]
    return all_kills(benches, scenario, kills)


def all_kills(
    benches: list[Bench],
    scenario: Scenario,
    kills: list[Kill],
    modules: Collection[str] | None = None,
) -> dict[Kill, list[str]]:
    """What is wrong after each kill; those that killed nothing are left out."""
    free = list(benches)

    def run(kill: Kill) -> tuple[Kill, list[str] | None]:
        bench = free.pop()
        try:
            return kill, bench.faults_after(scenario, kill, modules)
        finally:
            free.append(bench)

    with ThreadPoolExecutor(len(benches)) as pool:
        found = list(pool.map(run, kills))
    return {kill: wrong for kill, wrong in found if wrong is not None}
