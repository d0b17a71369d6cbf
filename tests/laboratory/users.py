"""Commands as another user."""

from __future__ import annotations

import os
import subprocess

from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import pytest


if TYPE_CHECKING:
    from tests.laboratory.projects import Project


@dataclass(frozen=True)
class OtherUser:
    """A user without rights, and an interpreter that this user may run."""

    uid: int
    python: Path
    base: Path
    """A directory that everybody can enter, unlike those of pytest."""

    @property
    def popen(self) -> dict[str, Any]:
        """What makes ``subprocess.Popen`` run a command as this user."""
        return {"user": self.uid, "group": self.uid, "extra_groups": []}

    @property
    def directory(self) -> Path:
        """The user's home."""
        return self.base / f"user-{self.uid}"

    def takes(self, project: Project) -> Project:
        """Give a project to the user, with Poetry's directories in the user's home."""
        self.directory.mkdir(exist_ok=True)
        for path in (self.directory, project.path, *project.path.rglob("*")):
            os.chown(path, self.uid, self.uid)
        return self.visits(project)

    def visits(self, project: Project) -> Project:
        """The same project with Poetry's directories in the user's home."""
        self.directory.mkdir(exist_ok=True)
        os.chown(self.directory, self.uid, self.uid)
        own = {
            "POETRY_CACHE_DIR": str(self.directory / "cache"),
            "POETRY_CONFIG_DIR": str(self.directory / "config"),
            "POETRY_DATA_DIR": str(self.directory / "data"),
            "POETRY_VIRTUALENVS_PATH": str(self.directory / "venvs"),
            "HOME": str(self.directory),
        }
        return replace(project, environ={**project.environ, **own})


def find_other_user(uid: int, minor: str, base: Path) -> OtherUser:
    """Skips the test where there is no way to become another user."""
    if not hasattr(os, "getuid") or os.getuid() != 0:
        pytest.skip("needs root, to become another user")
    python = Path(f"/usr/bin/python{minor}")
    if not python.exists():
        pytest.skip(
            f"needs a Python {minor} that other users may run: install python{minor}"
        )
    code = "import ssl, sqlite3"
    subprocess.run([python, "-c", code], check=True)
    return OtherUser(uid, python, base)
