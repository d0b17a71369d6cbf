"""The workloads: what is run, how many at once, and from which state."""

from __future__ import annotations

import shutil

from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.ways import POETRIES
from tests.benchmarks.ways import WITH_PLUGINS
from tests.benchmarks.ways import Command
from tests.benchmarks.ways import Way
from tests.benchmarks.ways import at_once
from tests.laboratory.environments import isolated_environ
from tests.laboratory.environments import make_venv
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import download
from tests.laboratory.poetries import measured_home
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import make_project
from tests.laboratory.pythons import pythons
from tests.laboratory.tagged import SHOW_VERSION
from tests.laboratory.tagged import VERSION
from tests.laboratory.tagged import make_tagged_project
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from tests.benchmarks.ways import Job
    from tests.laboratory.index import LocalIndex
    from tests.laboratory.projects import Project


@dataclass(frozen=True)
class Reach:
    """The figures that a workload should come to: the reach of this project."""

    text: str = ""
    ratios: tuple[tuple[Way, Way, float], ...] = ()
    """Each at most so many times the other."""
    row_before: float = 0.0
    """At most so many times what the row before took, where that is what counts."""


NOWHERE = Reach()


def at_most(ratio: float) -> Reach:
    """Protected, of unprotected."""
    return Reach(f"≤ {ratio:.2f}", ((Way.PROTECTED, Way.UNPROTECTED, ratio),))


@dataclass(frozen=True)
class Workload:
    """What is measured, in every way that makes sense for it."""

    key: str
    title: str
    prepare: Callable[[Way], list[Job]]
    """Bring everything into the first state, unmeasured; what is to be run then."""
    rounds: int
    reach: Reach = NOWHERE
    ways: tuple[Way, ...] = POETRIES


@dataclass(frozen=True)
class Size:
    """How much of everything: the short form, and the full one."""

    rounds: int
    rounds_of_many: int
    """Of the workloads with many commands, which differ less from round to round."""
    repeats: int
    """How often each Python of workload b installs and runs."""
    side_by_side: tuple[int, ...]
    installs: int
    runs: int
    sdists: int
    keys: str = "abcdefghik"
    """The workloads that are run unless others are asked for."""
    left_out: tuple[Way, ...] = ()
    """Ways in which nothing is run but what a reach is about."""


SHORT = Size(
    rounds=2,
    rounds_of_many=1,
    repeats=2,
    side_by_side=(2,),
    installs=3,
    runs=8,
    sdists=3,
    keys="abcdeghik",  # every reach is one of these
    left_out=(Way.FLOCK, Way.SETTLED),
)
FULL = Size(
    rounds=5,
    rounds_of_many=5,
    repeats=3,
    side_by_side=(2, 4, 8, 16),
    installs=8,
    runs=64,
    sdists=10,
)


class Workshop:
    """Makes the workloads beneath a directory, with distributions of its own."""

    def __init__(self, base: Path, index: LocalIndex, folder: Path, size: Size) -> None:
        self._base = base
        self._index = index
        self._folder = folder
        self._size = size
        self._plain = poetry_home(protected=False)

    def workloads(self, keys: str) -> Iterator[Workload]:
        """Those with these keys, but for a, each made when its turn comes."""
        for key, make in (
            ("b", self.several_pythons),
            ("k", self.fresh_clone),
            ("c", self.side_by_side),
            ("d", self.into_one_environment),
            ("e", self.many_runs),
            ("f", self.dynamic_versioning),
            ("h", self.builds_elsewhere),
            ("i", self.path_dependency),
        ):
            if key in keys:
                yield from map(self._shortened, make())

    def _shortened(self, workload: Workload) -> Workload:
        wanted = {way for *ways, _ in workload.reach.ratios for way in ways}
        left_out = set(self._size.left_out) - wanted
        ways = tuple(way for way in workload.ways if way not in left_out)
        return replace(workload, ways=ways)

    # a. The cost of being there.

    def being_there(self) -> list[Workload]:
        return [*map(self._shortened, self._being_there())]

    def _being_there(self) -> Iterator[Workload]:
        project = self._project("a", dependencies=self._libraries(10))
        venv = self._venv("a")
        self._settle(project, venv)
        for arguments, uv, reach in (
            (("--version",), ("--version",), "≤ 1.004"),
            (("run", "true"), ("run", "--no-project", "true"), "≤ 1.008"),
            (("install",), (), "≤ 1.010"),
        ):
            command = Command(project, arguments, venv, uv=uv)
            yield Workload(
                "a",
                f"`poetry {' '.join(arguments)}`"
                + (", nothing to do" if arguments[0] == "install" else ""),
                lambda way, command=command: [[command]],  # type: ignore[misc]
                self._size.rounds,
                Reach(f"{reach} of the instructions, see below"),
                (*POETRIES, Way.UV) if uv else POETRIES,
            )

    # b. Several Pythons, one checkout, one project plugin.

    def several_pythons(self) -> Iterator[Workload]:
        minors = list(pythons())[:4]
        minors = [minors[number % len(minors)] for number in range(4)]
        numbered = [*enumerate(minors)]

        def prepare(way: Way) -> list[Job]:
            if way is Way.SETTLED:
                projects = [self._settled(f"b-{n}", minor) for n, minor in numbered]
            else:
                projects = [self._fresh(f"b-{way.name.lower()}", way, minors)] * 4
            venvs = [self._venv(f"b-{n}", minor) for n, minor in numbered]
            return [
                [
                    command
                    for _ in range(self._size.repeats)
                    for command in (
                        Command(project, ("install",), venv, minor),
                        Command(
                            project, ("run", *SHOW_VERSION), venv, minor, says=VERSION
                        ),
                    )
                ]
                for project, venv, minor in zip(projects, venvs, minors, strict=True)
            ]

        yield Workload(
            "b",
            f"Python {', '.join(minors)} at once in one checkout with a project plugin:"
            f" install and run, {self._size.repeats} times",
            prepare,
            min(self._size.rounds_of_many, 3),
            Reach(
                "≤ 0.72 and ≤ 0.38 of flock; known ≤ 0.45",
                (
                    (Way.PROTECTED, Way.UNPROTECTED, 0.72),
                    (Way.PROTECTED, Way.FLOCK, 0.38),
                    (Way.KNOWN, Way.UNPROTECTED, 0.45),
                ),
            ),
            WITH_PLUGINS,
        )

    def _fresh(self, name: str, way: Way, minors: list[str]) -> Project:
        """A fresh clone, with the sets of its plugins known to this machine or not."""
        project = self._tagged(name, required=True)
        copies = Path(project.environ["POETRY_CACHE_DIR"], "safe-install/plugin-copies")
        if way is not Way.KNOWN:
            shutil.rmtree(copies, ignore_errors=True)
        elif not copies.exists():
            for minor in minors:
                home = measured_home(minor, protected=True)
                venv = self._venv(f"{name}-known", minor)
                project.poetry(home, "install", "--no-root", venv=venv).succeeded()
            project = self._tagged(name, required=True)
        return project

    def _settled(self, name: str, minor: str) -> Project:
        """A clone where unprotected Poetry has installed its plugins, and activates them."""
        project = self._tagged(f"{name}-settled", required=True)
        home = measured_home(minor, protected=False)
        for _ in range(2):
            venv = self._venv(f"{name}-warm", minor)
            project.poetry(home, "install", venv=venv).succeeded()
        return project

    # k. One install in a fresh clone, with a project plugin.

    def fresh_clone(self) -> Iterator[Workload]:
        def prepare(way: Way) -> list[Job]:
            name = f"k-{way.name.lower()}"
            if way is Way.SETTLED:
                project = self._settled("k", DEFAULT_PYTHON)
            else:
                project = self._fresh(name, way, [DEFAULT_PYTHON])
            venv = self._venv(name)
            return [[Command(project, ("install",), venv)]]

        reach = Reach("known ≤ 0.40", ((Way.KNOWN, Way.UNPROTECTED, 0.40),))
        yield Workload(
            "k",
            "Fresh clone: 1 install, with a project plugin",
            prepare,
            self._size.rounds,
            reach,
            tuple(way for way in WITH_PLUGINS if way is not Way.FLOCK),
        )

    # c. Installs at once into different environments, artifact cache warm.

    def side_by_side(self) -> Iterator[Workload]:
        for number in self._size.side_by_side:
            yield self._side_by_side(number)

    def _side_by_side(self, number: int) -> Workload:
        project = self._project(f"c-{number}", dependencies=self._libraries(10))
        self._settle(project, self._venv(f"c-{number}-warm"))
        names = [f"library-{n}" for n in range(10)]

        def prepare(way: Way) -> list[Job]:
            venvs = [self._venv(f"c-{number}-{n}") for n in range(number)]
            url = self._index.url
            return [
                [
                    Command(
                        project,
                        ("install",),
                        venv,
                        uv=("pip", "install", "--index-url", url, *names),
                    )
                ]
                for venv in venvs
            ]

        title = f"{number} installs at once into different environments"
        ways = (*POETRIES, Way.UV)
        return Workload("c", title, prepare, self._size.rounds, at_most(1.03), ways)

    # d. Installs at once into one environment, cold.

    def into_one_environment(self) -> Iterator[Workload]:
        rounds = self._size.rounds
        title = "1 install into an environment that is not there (for the next row)"
        yield Workload("d", title, self._cold("d-alone", 1), rounds, at_most(1.03))
        number = self._size.installs
        title = f"{number} installs at once into one environment that is not there"
        reach = Reach(f"the row before x 1.05, and {number - 1} x 1.2 a no-op")
        rounds = self._size.rounds_of_many
        yield Workload("d", title, self._cold("d", number), rounds, reach)

    def _cold(self, name: str, number: int) -> Callable[[Way], list[Job]]:
        project = self._project(name, dependencies=self._libraries(10))
        self._settle(project, self._venv(f"{name}-warm"))

        def prepare(way: Way) -> list[Job]:
            shutil.rmtree(Path(project.environ["POETRY_VIRTUALENVS_PATH"]), True)
            return [[Command(project, ("install",))] for _ in range(number)]

        return prepare

    # e. Many runs at once.

    def many_runs(self) -> Iterator[Workload]:
        project = self._project("e")
        venv = self._venv("e")
        self._settle(project, venv)
        jobs = [[Command(project, ("run", "true"), venv)]] * self._size.runs
        title = f"{self._size.runs} `poetry run true` at once"
        rounds = self._size.rounds_of_many
        yield Workload("e", title, lambda way: jobs, rounds, at_most(1.03))

    # f. Installs at once with dynamic versioning.

    def dynamic_versioning(self) -> Iterator[Workload]:
        number = self._size.installs

        def prepare(way: Way) -> list[Job]:
            project = self._tagged("f", required=True)
            for _ in range(2):  # unprotected Poetry activates it the second time
                warm = [[Command(project, ("install",), self._venv("f-warm"))]]
                at_once(warm, way)
            return [
                [Command(project, ("install",), venv), _show(project, venv)]
                for venv in [self._venv(f"f-{n}") for n in range(number)]
            ]

        title = f"{number} installs at once, the version from a git tag; show it"
        yield Workload("f", title, prepare, self._size.rounds_of_many)

    # h. Builds with the temporary directory on another device.

    def builds_elsewhere(self) -> Iterator[Workload]:
        elsewhere = other_device()
        if elsewhere is None:
            return
        names = [f"built-{n}" for n in range(self._size.sdists)]
        for name in names:
            _sdist(name).sdist(self._folder)
        project = self._project("h", dependencies=tuple(names))
        self._lock(project)
        environ = {"TMPDIR": str(elsewhere)}

        def prepare(way: Way) -> list[Job]:
            shutil.rmtree(Path(project.environ["POETRY_CACHE_DIR"]), True)
            return [[Command(project, ("install",), self._venv("h"), environ=environ)]]

        title = f"an install that builds {len(names)} sdists, temp on another device"
        yield Workload("h", title, prepare, self._size.rounds, at_most(1.02))

    # i. Installs at once whose path dependency is built in its own tree.

    def path_dependency(self) -> Iterator[Workload]:
        number = self._size.installs
        download(self._plain.python, "setuptools", "wheel", dependencies=True)
        project = self._project("i")
        _setuptools_tree(project.path / "inner")
        text = project.pyproject.read_text(encoding="utf-8")
        inner = f'dependencies = ["inner @ {(project.path / "inner").as_uri()}"]'
        project.pyproject.write_text(
            text.replace("dependencies = []", inner), encoding="utf-8"
        )
        self._lock(project)

        def prepare(way: Way) -> list[Job]:
            for left in ("build", "src/inner.egg-info"):
                shutil.rmtree(project.path / "inner" / left, ignore_errors=True)
            return [
                [Command(project, ("install",), venv), _count(project, venv)]
                for venv in [self._venv(f"i-{n}") for n in range(number)]
            ]

        def alone(way: Way) -> list[Job]:
            return [[command for job in prepare(way) for command in job]]

        title = f"{number} such installs one after the other (for the next row)"
        rounds = self._size.rounds_of_many
        yield Workload("i", title, alone, rounds, ways=(Way.PROTECTED,))
        title = f"{number} installs at once, one path dependency; count its modules"
        reach = Reach("≤ 1.05 of the row before", row_before=1.05)
        yield Workload("i", title, prepare, rounds, reach)

    # What they share.

    def _project(self, name: str, dependencies: tuple[str, ...] = ()) -> Project:
        base = self._base / name
        return make_project(
            base / "project",
            self._index,
            environ=isolated_environ(base),
            dependencies=dependencies,
        )

    def _tagged(self, name: str, *, required: bool) -> Project:
        base = self._base / name
        shutil.rmtree(base / "project", ignore_errors=True)
        homes = [poetry_home(minor=minor, protected=False) for minor in pythons()]
        environ = isolated_environ(base)
        return make_tagged_project(
            base / "project", self._index, homes, environ=environ, required=required
        )

    def _libraries(self, number: int) -> tuple[str, ...]:
        """Distributions of some modules each, in the index."""
        for which in range(number):
            package = f"library_{which}"
            files = {f"{package}/m{n}.py": "X = 1\n" * 50 for n in range(30)}
            files[f"{package}/__init__.py"] = ""
            Distribution(f"library-{which}", "1.0", files).wheel(self._folder)
        return tuple(f"library-{which}" for which in range(number))

    def _venv(self, name: str, minor: str = DEFAULT_PYTHON) -> Path:
        path = self._base / "environments" / name
        shutil.rmtree(path, ignore_errors=True)
        return make_venv(path, minor)

    def _lock(self, project: Project) -> None:
        project.lock()

    def _settle(self, project: Project, venv: Path) -> None:
        """Lock and install once, so that caches are warm."""
        self._lock(project)
        for protected in (False, True):
            home = measured_home(protected=protected)
            project.poetry(home, "install", venv=venv).succeeded()


def _show(project: Project, venv: Path) -> Command:
    return Command(project, ("run", *SHOW_VERSION), venv, says=VERSION)


def _count(project: Project, venv: Path) -> Command:
    code = (
        "import inner, pkgutil; print(len(list(pkgutil.iter_modules(inner.__path__))))"
    )
    return Command(project, ("run", "python", "-c", code), venv, says="60")


def other_device() -> Path | None:
    """A directory for temporary files on another device than this tree, if any."""
    for path in (Path("/dev/shm"), Path("/run/shm")):
        if path.is_dir() and path.stat().st_dev != Path(__file__).stat().st_dev:
            return path
    return None


def _sdist(name: str) -> Distribution:
    """Built by a backend of its own that needs nothing else."""
    module = name.replace("-", "_")
    backend = f"""\
import base64, hashlib, os, zipfile
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "{module}-1.0-py3-none-any.whl"
    files = {{
        "{module}.py": "",
        "{module}-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n",
        "{module}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: b\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    record = "".join(f"{{n}},,\\n" for n in [*files, "{module}-1.0.dist-info/RECORD"])
    files["{module}-1.0.dist-info/RECORD"] = record
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return name
"""
    pyproject = (
        '[build-system]\nrequires = []\nbuild-backend = "backend"\n'
        'backend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n'
    )
    return Distribution(
        name, "1.0", {"pyproject.toml": pyproject, "backend.py": backend}
    )


def _setuptools_tree(path: Path) -> None:
    package = path / "src" / "inner"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    for number in range(60):
        (package / f"m{number}.py").write_text("X = 1\n", encoding="utf-8")
    (path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\n'
        'build-backend = "setuptools.build_meta"\n'
        '[project]\nname = "inner"\nversion = "1.0"\n',
        encoding="utf-8",
    )
