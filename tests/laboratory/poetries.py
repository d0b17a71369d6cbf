"""Real Poetrys, each in a virtual environment of its own, made once and kept."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

from dataclasses import dataclass
from email import message_from_string
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.laboratory import CACHE
from tests.laboratory import ROOT
from tests.laboratory import VERSION
from tests.laboratory.environments import venv_of
from tests.laboratory.index import wheel_metadata
from tests.laboratory.pythons import pythons
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable


POETRY_VERSIONS = tuple(
    os.environ.get("POETRY_VERSIONS", "2.0.1 2.1.4 2.2.1 2.3.4 2.4.3 2.5.1").split()
)
OLDEST, NEWEST = POETRY_VERSIONS[0], POETRY_VERSIONS[-1]
DEFAULT_PYTHON = os.environ.get("TESTS_PYTHON") or next(
    (minor for minor in ("3.11", "3.12", "3.13", "3.14", "3.10") if minor in pythons()),
    "",
)
MAIN = "poetry @ git+https://github.com/python-poetry/poetry.git"
"""What the version "main" stands for."""
WHEELS = CACHE / "wheels"
STAND_INS = CACHE / "stand-ins"
DOWNLOADED = WHEELS / "downloaded"
"""Empty files, named after what was asked for."""
STAMP = "made"
"""A file in a home that is complete: where it was made, and with which plugin."""


@dataclass(frozen=True)
class PoetryHome:
    """A virtual environment with a Poetry in it."""

    path: Path
    version: str
    minor: str

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    @property
    def executable(self) -> Path:
        return self.path / "bin" / "poetry"

    @property
    def site_packages(self) -> Path:
        return self.path / "lib" / f"python{self.minor}" / "site-packages"

    def pip_install(self, *what: str | Path) -> None:
        """Put something into this environment, from its path or the index."""
        _uv("pip", "install", "--python", self.python, *what)

    def clone(self, path: Path, python: Path | None = None) -> PoetryHome:
        """One of its own for a test that changes it.

        All clones have the same files, each under names of its own. To change one, write
        a new one in its place, as installers do; a test that writes into one fails.

        :param python: another interpreter of the same minor version.
        """
        return self._build(path, python, _template(self), _link)

    def _build(
        self,
        path: Path,
        python: Path | None,
        packages: Path,
        copy_function: Callable[[str, str], object],
    ) -> PoetryHome:
        venv_of(python or pythons()[self.minor], path)
        home = PoetryHome(path, self.version, self.minor)
        shutil.copytree(
            packages,
            home.site_packages,
            symlinks=True,
            copy_function=copy_function,
            dirs_exist_ok=True,
        )
        write_script(self.executable, home)
        return home


def write_script(executable: Path, home: PoetryHome) -> None:
    """Give a home a script like this one, for its own Python."""
    lines = executable.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[0] = f"#!{home.python}\n"
    home.executable.write_text("".join(lines), encoding="utf-8")
    home.executable.chmod(0o755)


def _link(source: str, destination: str) -> None:
    try:
        os.link(source, destination)
    except OSError:  # another file system
        shutil.copy2(source, destination)


State = dict[str, tuple[int, ...]]

TEMPLATES: dict[PoetryHome, tuple[Path, State]] = {}
"""What clones of homes share, and how it was at first."""

CLONED: set[PoetryHome] = set()
"""The homes of which a clone was made since somebody looked at the templates."""


def _template(home: PoetryHome) -> Path:
    """A copy: what a test spoils by mistake is never the home that all tests use."""
    if home not in TEMPLATES:
        directory = Path(tempfile.mkdtemp(prefix="template-"))
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        shutil.copytree(
            home.site_packages, directory, symlinks=True, dirs_exist_ok=True
        )
        directory.chmod(0o755)
        TEMPLATES[home] = (directory, state_of(directory))
    CLONED.add(home)
    return TEMPLATES[home][0]


def state_of(directory: Path) -> State:
    """Every file that is there, and what shows that it was written or replaced."""
    found: State = {}
    below = [str(directory)]
    while below:
        with os.scandir(below.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                    continue
                seen = entry.stat(follow_symlinks=False)
                about = (seen.st_size, seen.st_mtime_ns, seen.st_mode, seen.st_uid)
                found[entry.path] = (seen.st_ino, *about)
    return found


def spoiled_templates() -> list[str]:
    """Files that clones share and that were written since somebody looked."""
    spoiled: list[str] = []
    while CLONED:
        home = CLONED.pop()
        directory, before = TEMPLATES[home]
        now = state_of(directory)
        changed = sorted(name for name in before if now.get(name) != before[name])
        if changed:
            del TEMPLATES[home]
        spoiled += [
            f"{home.path.name}/{Path(name).relative_to(directory)}" for name in changed
        ]
    return spoiled


@cache
def poetry_home(
    version: str = NEWEST, minor: str = DEFAULT_PYTHON, protected: bool = True
) -> PoetryHome:
    """A shared Poetry that no test may change; with this plugin unless told otherwise."""
    plain = _made(version, minor, "plain")
    if not protected:
        return plain
    return _made(version, minor, "protected")


@cache
def measured_home(minor: str = DEFAULT_PYTHON, *, protected: bool) -> PoetryHome:
    """As users have it: from a wheel, since each import pays for what is editable."""
    if not protected:
        return _made(NEWEST, minor, "plain")
    shutil.rmtree(CACHE / "poetry" / f"{NEWEST}-{minor}-wheel", ignore_errors=True)
    return _made(NEWEST, minor, "wheel")


def _made(version: str, minor: str, kind: str) -> PoetryHome:
    home = PoetryHome(CACHE / "poetry" / f"{version}-{minor}-{kind}", version, minor)
    stamp = home.path / STAMP
    if _is_here(home):
        return home
    CACHE.mkdir(exist_ok=True)
    with FileLock(CACHE / f"{home.path.name}.lock"):
        if _is_here(home):
            return home
        shutil.rmtree(home.path, ignore_errors=True)
        if kind == "plain":
            _uv("venv", "--python", pythons()[minor], home.path)
            poetry = MAIN if version == "main" else f"poetry=={version}"
            home.pip_install(poetry, "filelock>=3.12.2")
            wanted = [line for line in _frozen(home) if _is_missing(line, minor)]
            download(home.python, *wanted)
        else:
            plain = _made(version, minor, "plain")
            plain._build(home.path, None, plain.site_packages, shutil.copy2)
            how = ("-e", ROOT) if kind == "protected" else (ROOT,)
            _uv("pip", "install", "--python", home.python, "--no-deps", *how)
        _compile(home)
        stamp.write_text(_stamped(home), encoding="utf-8")
    return home


def _is_here(home: PoetryHome) -> bool:
    """Whether it was made, and for this place: its scripts and links name it."""
    stamp = home.path / STAMP
    return stamp.exists() and stamp.read_text(encoding="utf-8") == _stamped(home)


def _stamped(home: PoetryHome) -> str:
    """An editable plugin tells the version that it had when it was installed."""
    of = f" {VERSION}" if home.path.name.endswith("-protected") else ""
    return f"{home.path}{of}"


def _compile(home: PoetryHome) -> None:
    """So that the first run is no slower than the others."""
    subprocess.run(
        [home.python, "-m", "compileall", "-q", "-j", "0", home.site_packages],
        stdout=subprocess.DEVNULL,
    )


def _frozen(home: PoetryHome) -> list[str]:
    """What is installed; of what is from a repository, the newest release."""
    listed = _uv("pip", "freeze", "--python", home.python)
    return [line.partition(" @ ")[0] for line in listed.splitlines()]


def _is_missing(requirement: str, minor: str) -> bool:
    """Whether there is no wheel of a release that this Python can install."""
    name, _, version = requirement.partition("==")
    stem = f"{name.replace('-', '_').replace('.', '_')}-{version}"
    number = int(minor.partition(".")[2])
    tags = ["py3-none-any", f"cp3{number}-*"]
    tags += [f"cp3{older}-abi3-*" for older in range(number + 1)]
    wheels = [wheel for tag in tags for wheel in WHEELS.glob(f"{stem}-{tag}.whl")]
    return not version or not wheels


def download(python: Path, *requirements: str, dependencies: bool = False) -> None:
    """Have the wheels of these requirements for this Python in the local index.

    They are asked for once: until the cache is removed they stay as they are.
    """
    DOWNLOADED.mkdir(parents=True, exist_ok=True)
    asked = " ".join([str(python), *requirements, str(dependencies)])
    stamp = DOWNLOADED / hashlib.sha256(asked.encode()).hexdigest()
    if stamp.exists():
        return
    command = [sys.executable, "-m", "pip", "--python", str(python), "download"]
    command += ["--quiet", "--only-binary", ":all:", "--dest", str(WHEELS)]
    command += [] if dependencies else ["--no-deps"]
    with FileLock(CACHE / "download.lock"):
        if stamp.exists():
            return
        _run([*command, *requirements])
        stand_in_for_missing([WHEELS, STAND_INS], STAND_INS)
        stamp.touch()


def stand_in_for_missing(folders: Iterable[Path], into: Path) -> None:
    """Have empty wheels for what is only required on other systems.

    Poetry resolves for all systems at once, and so asks the index for them too.

    :param folders: those of the index.
    """
    wheels = [wheel for folder in folders for wheel in folder.glob("*.whl")]
    present = {canonicalize_name(wheel.name.partition("-")[0]) for wheel in wheels}
    for wheel in wheels:
        text = wheel_metadata(wheel).decode()
        for value in message_from_string(text).get_all("Requires-Dist", []):
            requirement = Requirement(value)
            name = canonicalize_name(requirement.name)
            if name in present or "extra" in str(requirement.marker):
                continue
            bounds = [specifier.version for specifier in requirement.specifier]
            version = next(
                version
                for version in [*bounds, "1.0"]
                if requirement.specifier.contains(version)
            )
            Distribution(name, version).wheel(into)
            present.add(name)


def _uv(*arguments: str | Path) -> str:
    return _run([sys.executable, "-m", "uv", "--quiet", *map(str, arguments)])


def _run(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{result.stdout}{result.stderr}")
    return result.stdout
