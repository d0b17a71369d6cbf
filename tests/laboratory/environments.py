"""Surroundings for Poetry commands outside pytest: directories and environments."""

from __future__ import annotations

import subprocess
import sys

from typing import TYPE_CHECKING

from tests.laboratory.pythons import pythons


if TYPE_CHECKING:
    from pathlib import Path


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
    python = pythons()[minor] if minor else sys.executable
    command = [sys.executable, "-m", "virtualenv", "--quiet", "--no-seed"]
    subprocess.run([*command, "-p", str(python), str(path)], check=True)
    return path


def installed_version(venv: Path, name: str = "demo") -> str:
    (found,) = venv.glob(f"lib/python3*/site-packages/{name}-*.dist-info")
    return found.name.removesuffix(".dist-info").partition("-")[2]
