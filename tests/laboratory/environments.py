"""Surroundings for Poetry commands outside pytest: directories and environments."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys

from functools import cache
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from tests.laboratory import CACHE
from tests.laboratory.pythons import pythons


def isolated_environ(base: Path) -> dict[str, str]:
    """Poetry's directories beneath ``base``, apart from the user's."""
    base.mkdir(parents=True, exist_ok=True)
    return {
        "POETRY_CONFIG_DIR": str(base / "config"),
        "POETRY_CACHE_DIR": str(base / "cache"),
        "POETRY_DATA_DIR": str(base / "data"),
        "POETRY_VIRTUALENVS_PATH": str(base / "venvs"),
        "HOME": str(base),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }


def make_venv(path: Path, minor: str = "") -> Path:
    """An empty virtual environment to install into."""
    return venv_of(pythons()[minor] if minor else Path(sys.executable), path)


def venv_of(python: Path, path: Path) -> Path:
    """An empty virtual environment of this interpreter, or the one that is there.

    A copy of one that is made once: where it is it does not know.
    """
    if not path.exists():
        shutil.copytree(_model(python), path, symlinks=True)
    return path


@cache
def _model(python: Path) -> Path:
    """Made once, and kept for later runs."""
    of = f"{python.resolve()} {version('virtualenv')}"
    model = CACHE / "environments" / hashlib.sha256(of.encode()).hexdigest()[:16]
    model.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{model}.lock"):
        if not model.exists():
            new = model.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            command = [sys.executable, "-m", "virtualenv", "--quiet", "--no-seed"]
            command += ["--activators", "", "-p", str(python), str(new)]
            subprocess.run(command, check=True)
            new.rename(model)
    return model


def installed_version(venv: Path, name: str = "demo") -> str:
    (found,) = venv.glob(f"lib/python3*/site-packages/{name}-*.dist-info")
    return found.name.removesuffix(".dist-info").partition("-")[2]
