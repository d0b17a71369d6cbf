"""The Pythons of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess

from functools import cache
from pathlib import Path


SUPPORTED = ("3.10", "3.11", "3.12", "3.13", "3.14")


@cache
def pythons() -> dict[str, Path]:
    """Supported interpreters by their minor version, those of pyenv included."""
    found = {}
    roots = [os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv"]
    for minor in SUPPORTED:
        candidates = [
            path
            for root in roots
            if root
            for path in sorted(Path(root).glob(f"versions/{minor}.*/bin/python"))
        ]
        if on_path := shutil.which(f"python{minor}"):
            candidates.append(Path(on_path))
        for candidate in candidates:
            if _works(candidate, minor):
                found[minor] = candidate
                break
    return found


def bare_python(python: Path, prefix: Path) -> Path:
    """The same interpreter with nothing installed in it.

    What a Python of every day has in its site-packages it reads at each start.
    """
    real = python.resolve()
    library = real.parents[1] / "lib" / real.name
    bare = prefix / "lib" / real.name
    (bare / "site-packages").mkdir(parents=True)
    for entry in library.iterdir():
        if entry.name != "site-packages":
            (bare / entry.name).symlink_to(entry)
    (prefix / "bin").mkdir()
    executable = prefix / "bin" / real.name
    shutil.copy(real, executable)
    for name in ("python", "python3"):
        (prefix / "bin" / name).symlink_to(executable.name)
    return executable if _works(executable, real.name.removeprefix("python")) else real


def two_of(default: str) -> list[str]:
    """This one and another, if there is one: they prove what holds for more."""
    return [default, *(minor for minor in pythons() if minor != default)][:2]


def _works(python: Path, minor: str) -> bool:
    code = "import sys, venv, ssl; print('%d.%d' % sys.version_info[:2])"
    result = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return result.returncode == 0 and result.stdout.strip() == minor
