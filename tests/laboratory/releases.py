"""Earlier releases of the plugin, built from the history of this repository."""

from __future__ import annotations

import subprocess
import tarfile

from typing import TYPE_CHECKING

import pytest

from tests.laboratory import ROOT
from tests.laboratory.distributions import build


if TYPE_CHECKING:
    from pathlib import Path

COMMITS = {"0.1.0": "b330009ec851bd5bb131dc7f3871a9e28c6cd964"}
"""The last commit before work on the next version began."""


def wheel_of(version: str, directory: Path) -> Path:
    """Build the wheel of a release; skips where the history is not there."""
    commit = COMMITS[version]
    sources = directory / "sources.tar"
    archive = ["git", "archive", "--output", str(sources), commit]
    if subprocess.run(archive, cwd=ROOT, capture_output=True).returncode:
        pytest.skip("needs this repository's history: git fetch --unshallow")
    tree = directory / "tree"
    with tarfile.open(sources) as files:
        files.extractall(tree)
    build("--wheel", "--no-isolation", "--outdir", directory, tree)
    (wheel,) = directory.glob(f"*-{version}-*.whl")
    return wheel
