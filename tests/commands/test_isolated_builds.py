"""Isolated builds of real Poetrys in temporary directories on real file systems."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import tempfile

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest

from tests.laboratory.barriers import MEET
from tests.laboratory.barriers import Barrier
from tests.laboratory.cases import thorough_but
from tests.laboratory.environments import venv_of
from tests.laboratory.mounts import PLACE
from tests.laboratory.mounts import Mount
from tests.laboratory.mounts import fat
from tests.laboratory.poetries import OLDEST
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.pythons import pythons
from tests.laboratory.told import told
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project
    from tests.laboratory.running import Result

TRUSTING = "virtualenv==20.32.0"
"""The last one that trusts in links, as Poetry up to 2.1 had it."""

BACKEND = """\
import json, os, sys, tempfile, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    meet("build")
    with open(os.environ["REPORTS"], "a") as file:
        report = {
            "copy": os.environ.get("VIRTUALENV_ALWAYS_COPY"),
            "temp": tempfile.gettempdir(),
            "copied": not os.path.islink(sys.executable),
        }
        file.write(json.dumps(report) + "\\n")
    name = "NAME-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        info = "NAME-1.0.dist-info/"
        wheel.writestr("NAME.py", "")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: NAME\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""

BUILD_SCRIPT = """
[tool.poetry.build]
script = "build.py"
generate-setup-file = false
"""


def sdist(name: str) -> Distribution:
    """A distribution that has to be built, by a backend that it brings itself."""
    build_system = '[build-system]\nrequires = []\nbuild-backend = "backend"\n'
    files = {
        "pyproject.toml": build_system + 'backend-path = ["."]\n',
        "backend.py": MEET + BACKEND.replace("NAME", name),
    }
    return Distribution(name, "1.0", files=files)


@cache
def trusting_home(*, protected: bool = True) -> PoetryHome:
    """The oldest Poetry with a virtualenv of its time."""
    directory = Path(tempfile.mkdtemp(prefix="trusting-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    home = poetry_home(OLDEST, protected=protected).clone(directory / "home")
    home.pip_install("--no-deps", TRUSTING)
    return home


class Site:
    """A project with something to build, and a temporary directory of its own kind."""

    def __init__(self, project: Project, directory: Path) -> None:
        self.project = project
        self._left = directory / "left"
        self._reports = directory / "reports"
        self._environ = {
            # One of its own: what is built once is not built again.
            "POETRY_CACHE_DIR": str(directory / "cache"),
            "REPORTS": str(self._reports),
        }

    @property
    def cache(self) -> Path:
        return Path(self._environ["POETRY_CACHE_DIR"])

    def lock(self) -> Site:
        environ = {**self.project.environ, **self._environ}
        replace(self.project, environ=environ).lock()
        self._reports.unlink(missing_ok=True)  # metadata comes from builds too
        return self

    def start(
        self,
        home: PoetryHome,
        mount: Mount,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Any:
        if why := mount.why_not():
            pytest.skip(why)
        environ = {"TMPDIR": str(PLACE), **self._environ, **(environ or {})}
        around = mount.around(self._left)
        return self.project.start(
            home, *arguments, environ=environ, around=around, **more
        )

    def poetry(
        self, home: PoetryHome, mount: Mount, *arguments: str, **more: Any
    ) -> Result:
        result: Result = self.start(home, mount, *arguments, **more).result()
        return result

    @property
    def reports(self) -> list[dict[str, Any]]:
        """What the build backends saw."""
        return [json.loads(line) for line in self._reports.read_text().splitlines()]

    @property
    def left(self) -> list[str]:
        """What the command left in the temporary directory."""
        lines = self._left.read_text().splitlines()
        # Of its own accord Poetry leaves what it compiles its version parser to.
        return [line for line in lines if "/.lark_" not in line]


@pytest.fixture
def new_site(
    new_project: Callable[..., Project], own_folder: Path, tmp_path: Path
) -> Callable[..., Site]:
    def new(dependencies: tuple[str, ...] = ("made",), tail: str = "") -> Site:
        for name in dependencies:
            sdist(name).sdist(own_folder)
        project = new_project(dependencies=dependencies, tail=tail)
        (project.path / "build.py").write_text("")
        return Site(project, tmp_path)

    return new


@pytest.fixture
def big_python() -> Path:
    """An interpreter that is itself large, as most that are built statically."""
    found = [*pythons().values(), Path("/usr/bin/python3")]
    size, python = max((p.resolve().stat().st_size, p) for p in found if p.exists())
    if size < 4 * 1024**2:
        pytest.skip("install a Python with a large executable, as Debian's python3")
    return python


@pytest.fixture
def big_venv(big_python: Path, tmp_path: Path) -> Path:
    return venv_of(big_python, tmp_path / "big")


NO_LINKS = Mount(links=False)
NOEXEC = Mount("noexec")
NEITHER = Mount("noexec", links=False)
SMALL = Mount("size=16m")
FULL = Mount("size=4m")
SMALL_NO_LINKS = Mount("size=16m", links=False)

NOTHING, COPIED, MOVED = (
    "nothing is changed: links work",
    "the interpreter is copied",
    "temporary files go",
)

SCENARIOS = {
    "roomy": (Mount(), COPIED),
    "no links": (NO_LINKS, COPIED),
    "noexec": (NOEXEC, NOTHING),
    "small": (SMALL, NOTHING),
    "full": (FULL, MOVED),
    "no links, noexec": (NEITHER, MOVED),
    "no links, small": (SMALL_NO_LINKS, MOVED),
    # Python itself falls back to another one that it can write to, on any device.
    "read-only": (Mount("ro"), ""),
}


def check_install(scenario: str, home: PoetryHome, site: Site, venv: Path) -> None:
    mount, said = SCENARIOS[scenario]
    file = site.project.path / "events.jsonl"
    environ = {"POETRY_SAFE_INSTALL_EVENTS": str(file)}
    arguments = ("install", "-v")
    result = site.poetry(home, mount, *arguments, venv=venv, environ=environ)
    result.succeeded()
    assert not said or f"isolated builds: {said}" in result.out
    assert len(told(file, "temp-directory-moved")) == (said == MOVED)
    assert "Preparing build environment" in result.out
    assert site.left == []
    [report] = site.reports
    assert (report["temp"] == str(PLACE)) == (said in (NOTHING, COPIED))
    if said == COPIED:
        assert report["copied"]
        assert report["copy"] == "true"
    if said == NOTHING:
        assert not report["copied"]
        assert report["copy"] is None
    if said == MOVED:
        place = site.cache / "safe-install" / "tmp"
        assert Path(report["temp"]).parent == place
        assert not place.exists()


HOMES = {"trusting": trusting_home, "newest": poetry_home}


@pytest.mark.parametrize(
    ("scenario", "which"),
    thorough_but(
        [("noexec", "newest")],
        [*((scenario, "newest") for scenario in SCENARIOS), ("no links", "trusting")],
    ),
)
def test_install_builds(
    scenario: str, which: str, new_site: Callable[..., Site], big_venv: Path
) -> None:
    site = new_site(tail=BUILD_SCRIPT).lock()
    check_install(scenario, HOMES[which](), site, big_venv)


@pytest.mark.matrix
@pytest.mark.parametrize("version", POETRY_VERSIONS)
@pytest.mark.parametrize("scenario", ["no links", "no links, noexec"])
def test_install_builds_with_every_poetry(
    scenario: str, version: str, new_site: Callable[..., Site], big_venv: Path
) -> None:
    site = new_site(tail=BUILD_SCRIPT).lock()
    check_install(scenario, poetry_home(version), site, big_venv)


@pytest.mark.thorough
def test_where_links_are_refused_unprotected_poetry_fails(
    new_site: Callable[..., Site], big_venv: Path
) -> None:
    home = trusting_home(protected=False)
    result = new_site().lock().poetry(home, NO_LINKS, "install", venv=big_venv)
    result.failed("Permission denied", f"-> '{PLACE}/")


@pytest.mark.thorough
@pytest.mark.parametrize("mount", [NOEXEC, SMALL], ids=["noexec", "small"])
def test_where_copies_do_not_work_copying_always_fails(
    mount: Mount, plain_home: PoetryHome, new_site: Callable[..., Site], big_venv: Path
) -> None:
    site = new_site().lock()
    always = {"VIRTUALENV_ALWAYS_COPY": "true"}
    result = site.poetry(plain_home, mount, "install", venv=big_venv, environ=always)
    result.failed("Permission denied" if mount is NOEXEC else "No space left on device")
    site.poetry(plain_home, mount, "install", venv=big_venv).succeeded()


@pytest.mark.thorough
@pytest.mark.parametrize("which", ["trusting", "newest"])
def test_a_file_system_that_knows_no_links(
    which: str, new_site: Callable[..., Site], big_venv: Path, tmp_path: Path
) -> None:
    site = new_site(tail=BUILD_SCRIPT).lock()
    with fat(tmp_path / "image") as mount:
        if mount is None:
            pytest.skip(
                "needs root and vfat (install dosfstools) or exFAT (install exfatprogs"
                " and exfat-fuse)"
            )
        home = HOMES[which]()
        result = site.poetry(home, mount, "install", "-v", venv=big_venv)
    assert f"isolated builds: {COPIED}" in result.succeeded().out


CROSS_DEVICE = """\
import os

real = os.symlink

def symlink(src, dst, *args, **kwargs):
    directory = os.path.dirname(os.path.abspath(dst))
    target = os.path.join(directory, src)
    if os.stat(target).st_dev != os.stat(directory).st_dev:
        raise PermissionError(13, "Permission denied", str(src), None, str(dst))
    real(src, dst, *args, **kwargs)

os.symlink = symlink
"""


@pytest.mark.parametrize(
    "which", thorough_but([("newest",)], [("trusting",), ("newest",)])
)
def test_only_links_to_another_device_are_refused(
    which: str, new_site: Callable[..., Site], big_venv: Path, tmp_path: Path
) -> None:
    """Newer virtualenvs too are fooled, who try a link inside the directory."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CROSS_DEVICE)
    site = new_site(tail=BUILD_SCRIPT).lock()
    environ = {"PYTHONPATH": str(tmp_path / "site")}
    plain = HOMES[which](protected=False)
    result = site.poetry(plain, Mount(), "install", venv=big_venv, environ=environ)
    result.failed("Permission denied")
    home = HOMES[which]()
    result = site.poetry(home, Mount(), "install", "-v", venv=big_venv, environ=environ)
    assert f"isolated builds: {COPIED}" in result.succeeded().out


@pytest.mark.thorough
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_ten_builds_at_once_with_room_for_three_copies(
    links: bool,
    home: PoetryHome,
    new_site: Callable[..., Site],
    big_python: Path,
    big_venv: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "site").mkdir()
    # As many workers as builds: Poetry takes the number of processors and four.
    source = "import os\nos.cpu_count = lambda: 6\n"
    (tmp_path / "site" / "sitecustomize.py").write_text(source)
    names = tuple(f"made{letter}" for letter in "abcdefghij")
    site = new_site(names).lock()
    size = 3 * 3 * big_python.resolve().stat().st_size
    with Barrier("build") as barrier:
        environ = {**barrier.environment, "PYTHONPATH": str(tmp_path / "site")}
        running = site.start(
            home,
            Mount(f"size={size}", links=links),
            *("install", "-v", "--no-root"),
            venv=big_venv,
            environ=environ,
        )
        arrivals = [barrier.arrival() for _ in names]
        for arrival in arrivals:
            arrival.let_go()
        result = running.result().succeeded()
    said = NOTHING if links else MOVED
    assert f"isolated builds: {said}" in result.out
    assert "10 builds side by side" in result.out
    assert len(site.reports) == 10
    assert site.left == []


@pytest.mark.thorough
def test_lock_and_build_and_add(
    new_site: Callable[..., Site], own_folder: Path, big_venv: Path
) -> None:
    home = trusting_home()
    site = new_site((), tail=BUILD_SCRIPT)
    sdist("made").sdist(own_folder)
    for line in ("add -v made", "lock -v --regenerate", "build -v"):
        result = site.poetry(home, NO_LINKS, *line.split(), venv=big_venv).succeeded()
        assert f"isolated builds: {COPIED}" in result.out
        assert site.left == []
    plain = trusting_home(protected=False)
    site.poetry(plain, NO_LINKS, "build", venv=big_venv).failed("Permission denied")


@pytest.mark.thorough
def test_publish_builds(new_site: Callable[..., Site], big_venv: Path) -> None:
    site = new_site((), tail=BUILD_SCRIPT).lock()
    arguments = ("publish", "-v", "--build", "--dry-run", "-u", "me", "-p", "secret")
    result = site.poetry(trusting_home(), NO_LINKS, *arguments, venv=big_venv)
    assert f"isolated builds: {COPIED}" in result.succeeded().out


@pytest.mark.thorough
def test_same_device_costs_nothing(
    home: PoetryHome, new_site: Callable[..., Site], big_venv: Path, tmp_path: Path
) -> None:
    site = new_site().lock()
    beside = tmp_path / "temp"
    beside.mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_PROBE)
    environ = {"TMPDIR": str(beside), "PYTHONPATH": str(tmp_path / "site")}
    result = site.poetry(
        home, Mount(), "install", "-v", venv=big_venv, environ=environ
    ).succeeded()
    assert "isolated builds" not in result.out
    [report] = site.reports
    assert report["copy"] is None
    assert not report["copied"]
    quiet = site.poetry(home, Mount(), "install", venv=big_venv, environ=environ)
    assert "isolated" not in quiet.succeeded().out


NO_PROBE = """\
import sys, tempfile

real = tempfile.mkdtemp

def mkdtemp(suffix=None, prefix=None, dir=None):
    assert prefix != "safe-install-", "probes"
    return real(suffix, prefix, dir)

tempfile.mkdtemp = mkdtemp
"""


@pytest.mark.thorough
@pytest.mark.parametrize("mount", [Mount(), NEITHER], ids=["roomy", "neither"])
def test_run_is_not_concerned(
    mount: Mount, home: PoetryHome, new_site: Callable[..., Site], big_venv: Path
) -> None:
    code = (
        "import os, tempfile;"
        "print(os.environ.get('VIRTUALENV_ALWAYS_COPY'), tempfile.gettempdir())"
    )
    site = new_site(())
    arguments = ("run", "-v", "python", "-c", code)
    result = site.poetry(home, mount, *arguments, venv=big_venv).succeeded()
    assert f"None {PLACE}" in result.out
    assert "isolated builds" not in result.out
    assert site.left == []


LATE = """\
import atexit
import os

from cleo.events.console_events import TERMINATE
from poetry.plugins.application_plugin import ApplicationPlugin
from poetry.utils.env import EnvManager

class Late(ApplicationPlugin):
    def activate(self, application):
        application.event_dispatcher.add_listener(TERMINATE, self.create)

    def create(self, event, *args):
        EnvManager(event.command.poetry, io=event.io).create_venv("late", force=True)
        atexit.register(say, "in the end")
        say("late")

def say(when):
    print(when, "copies:", os.environ.get("VIRTUALENV_ALWAYS_COPY"))
"""


@pytest.mark.thorough
def test_the_users_environments_are_made_as_ever(
    home: PoetryHome, new_site: Callable[..., Site], tmp_path: Path
) -> None:
    """Also one that is made late in the command, while the builds are prepared."""
    clone = home.clone(tmp_path / "home")
    entry_point = "[poetry.application.plugin]\nlate = late:Late\n"
    files = {"late.py": LATE}
    late = Distribution("made-late", "1.0", files, entry_points=entry_point)
    clone.pip_install(late.wheel(tmp_path))
    site = new_site().lock()
    result = site.poetry(clone, Mount(), "install", "-v").succeeded()
    assert f"isolated builds: {COPIED}" in result.out
    environments = {*(tmp_path / "venvs").iterdir()}
    assert len(environments) == 2
    assert all((path / "bin" / "python").is_symlink() for path in environments)
    assert site.reports[0]["copied"]
    assert "late copies: true" in result.out
    assert "in the end copies: None" in result.out


@pytest.mark.parametrize(
    "setting", thorough_but([("never",)], [("always",), ("never",)])
)
def test_settings(
    setting: str, home: PoetryHome, new_site: Callable[..., Site], big_venv: Path
) -> None:
    site = new_site().lock()
    mount = Mount() if setting == "never" else NOEXEC
    environ = {"POETRY_SAFE_INSTALL_ALWAYS_COPY": setting}
    result = site.poetry(home, mount, "install", venv=big_venv, environ=environ)
    if setting == "always":
        result.failed("Permission denied")
    else:
        result.succeeded()
        assert not site.reports[0]["copied"]


def test_what_the_user_told_virtualenv_stands(
    home: PoetryHome, new_site: Callable[..., Site], big_venv: Path, tmp_path: Path
) -> None:
    (tmp_path / "virtualenv.ini").write_text("[virtualenv]\nsymlinks = true\n")
    environ = {"VIRTUALENV_CONFIG_FILE": str(tmp_path / "virtualenv.ini")}
    site = new_site().lock()
    result = site.poetry(
        home, Mount(), "install", "-v", venv=big_venv, environ=environ
    ).succeeded()
    assert "virtualenv does as told by symlinks in" in result.out
    assert not site.reports[0]["copied"]


@pytest.mark.thorough
def test_no_directory_is_fit(
    new_site: Callable[..., Site], big_venv: Path, own_folder: Path
) -> None:
    """The first build fails, with the reasons; what needs no build is installed."""
    site = new_site(("made", "pure"))
    Distribution("pure", "1.0", {"pure.py": ""}).wheel(own_folder)
    (own_folder / "pure-1.0.tar.gz").unlink()
    site.lock()
    (site.project.path / ".poetry").write_text("")  # so that nothing can be in there
    cache = f"{PLACE}/cache"
    arguments = ("install", "--no-root")
    environ = {"POETRY_CACHE_DIR": cache}
    for home in (trusting_home(), poetry_home()):
        result = site.poetry(home, NEITHER, *arguments, venv=big_venv, environ=environ)
        result.failed(
            "Isolated builds cannot run here",
            f"{PLACE} (links: Permission denied, copies: Permission denied)",
            f"{cache}/safe-install/tmp (links: Permission denied, copies:",
            "Set TMPDIR to",
        )
        assert [*big_venv.glob("lib/*/site-packages/pure.py")]


def test_an_interrupted_command_takes_its_directory_along(
    home: PoetryHome, new_site: Callable[..., Site], big_venv: Path
) -> None:
    site = new_site().lock()
    place = site.cache / "safe-install" / "tmp"
    with Barrier("build") as barrier:
        running = site.start(
            home,
            NEITHER,
            *("install", "--no-root"),
            venv=big_venv,
            environ=barrier.environment,
            start_new_session=True,
        )
        arrival = barrier.arrival()
        assert len([*place.iterdir()]) == 1
        os.killpg(running.pid, signal.SIGINT)
        arrival.let_go()
        running.result().failed()
    assert [*place.glob("*")] == []
