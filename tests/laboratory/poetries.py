"""Real Poetrys, each in a virtual environment of its own, made once and kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from dataclasses import dataclass
from email import message_from_string
from functools import cache
from typing import TYPE_CHECKING

from filelock import FileLock
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.laboratory import CACHE
from tests.laboratory import ROOT
from tests.laboratory.index import wheel_metadata
from tests.laboratory.pythons import pythons
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from pathlib import Path


POETRY_VERSIONS = tuple(
    os.environ.get("POETRY_VERSIONS", "2.0.1 2.1.4 2.2.1 2.3.4 2.4.3 2.5.1").split()
)
NEWEST = POETRY_VERSIONS[-1]
DEFAULT_PYTHON = next(
    (minor for minor in ("3.11", "3.12", "3.13", "3.10") if minor in pythons()), ""
)
WHEELS = CACHE / "wheels"
STAND_INS = CACHE / "stand-ins"


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

    def pip_uninstall(self, *names: str) -> None:
        _uv("pip", "uninstall", "--python", self.python, *names)

    def clone(self, path: Path, python: Path | None = None) -> PoetryHome:
        """A copy of its own for a test that changes it.

        :param python: another interpreter of the same minor version.
        """
        packages = self.site_packages
        _uv("venv", "--python", python or pythons()[self.minor], path)
        copy = PoetryHome(path, self.version, self.minor)
        shutil.copytree(packages, copy.site_packages, symlinks=True, dirs_exist_ok=True)
        source = (self.executable).read_text(encoding="utf-8")
        copy.executable.write_text(
            source.replace(str(self.path), str(path)), encoding="utf-8"
        )
        copy.executable.chmod(0o755)
        return copy


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
    stamp = home.path / "made"
    if stamp.exists():
        return home
    CACHE.mkdir(exist_ok=True)
    with FileLock(CACHE / f"{home.path.name}.lock"):
        if stamp.exists():
            return home
        shutil.rmtree(home.path, ignore_errors=True)
        if kind == "plain":
            _uv("venv", "--python", pythons()[minor], home.path)
            home.pip_install(f"poetry=={version}", "filelock>=3.12.2")
            download(home.python, *_frozen(home))
        else:
            _made(version, minor, "plain").clone(home.path)
            how = ("-e", ROOT) if kind == "protected" else (ROOT,)
            _uv("pip", "install", "--python", home.python, "--no-deps", *how)
        _compile(home)
        stamp.touch()
    return home


def _compile(home: PoetryHome) -> None:
    """So that the first run is no slower than the others."""
    subprocess.run(
        [home.python, "-m", "compileall", "-q", "-j", "0", home.site_packages],
        stdout=subprocess.DEVNULL,
    )


def _frozen(home: PoetryHome) -> list[str]:
    listed = _uv("pip", "freeze", "--python", home.python)
    return [line for line in listed.splitlines() if "==" in line]


def download(python: Path, *requirements: str, dependencies: bool = False) -> None:
    """Have the wheels of these requirements for this Python in the local index."""
    WHEELS.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "--python", str(python), "download"]
    command += ["--quiet", "--only-binary", ":all:", "--dest", str(WHEELS)]
    command += [] if dependencies else ["--no-deps"]
    with FileLock(CACHE / "download.lock"):
        _run([*command, *requirements])
        _stand_in_for_missing()


def _stand_in_for_missing() -> None:
    """Have empty wheels for what is only required on other systems.

    Poetry resolves for all systems at once, and so asks the index for them too.
    """
    wheels = [*WHEELS.glob("*.whl"), *STAND_INS.glob("*.whl")]
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
            Distribution(name, version).wheel(STAND_INS)
            present.add(name)


def _uv(*arguments: str | Path) -> str:
    return _run([sys.executable, "-m", "uv", "--quiet", *map(str, arguments)])


def _run(command: list[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{result.stdout}{result.stderr}")
    return result.stdout
