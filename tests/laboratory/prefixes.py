"""System-like Pythons: no virtual environment, made of a copy of a real one."""

from __future__ import annotations

import shutil

from typing import TYPE_CHECKING

from tests.laboratory.poetries import PoetryHome
from tests.laboratory.poetries import write_script
from tests.laboratory.pythons import pythons


if TYPE_CHECKING:
    from pathlib import Path

_LEFT_OUT = shutil.ignore_patterns(
    "__pycache__", "config-*", "idlelib", "lib2to3", "site-packages", "test", "tests"
)


def system_python(minor: str, prefix: Path) -> dict[str, str]:
    """Make a Python of its own in a prefix.

    :return: the environment variables that its processes need.
    """
    real = pythons()[minor].resolve()
    name = f"python{minor}"
    library = prefix / "lib" / name
    shutil.copytree(real.parents[1] / "lib" / name, library, ignore=_LEFT_OUT)
    (library / "site-packages").mkdir()
    (prefix / "bin").mkdir()
    shutil.copy(real, prefix / "bin" / name)
    for link in ("python", "python3"):
        (prefix / "bin" / link).symlink_to(name)
    for shared in (real.parents[1] / "lib").glob(f"lib{name}*.so*"):
        shutil.copy(shared, prefix / "lib")
    return {"LD_LIBRARY_PATH": str(prefix / "lib")}


def with_poetry(home: PoetryHome, prefix: Path, site: Path | None = None) -> PoetryHome:
    """Put a Poetry into a prefix.

    :param site: another directory for its packages, the user's for example.
    """
    system = PoetryHome(prefix, home.version, home.minor)
    shutil.copytree(
        home.site_packages,
        site or system.site_packages,
        symlinks=True,
        dirs_exist_ok=True,
    )
    write_script(home.executable, system)
    return system
