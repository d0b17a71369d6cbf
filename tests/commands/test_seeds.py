"""virtualenv's images of pip, which a killed command may leave half unpacked."""

from __future__ import annotations

import shutil
import subprocess

from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.laboratory.cases import thorough_but
from tests.laboratory.poetries import poetry_home


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.projects import Project

IMPORTS = """\
import sys, threading, virtualenv
from importlib.metadata import entry_points
from poetry_plugin_safe_install.caches import seeds
from poetry_plugin_safe_install.compat.seeds import GROUPS, MAKING, SeedsWatch

wanted = {point.module for group in GROUPS for point in entry_points(group=group)}
assert wanted - sys.modules.keys()
missing, barrier = [], threading.Barrier(8)

def make(*args, **kwargs):
    missing.append(sorted(wanted - sys.modules.keys()))

def run():
    barrier.wait()
    virtualenv.cli_run([])

virtualenv.cli_run = make
with MAKING.applied(SeedsWatch(seeds)):
    threads = [threading.Thread(target=run) for _ in range(8)]
    [each.start() for each in threads]
    [each.join() for each in threads]
assert missing == [[]] * 8, missing
"""


@pytest.mark.parametrize("version", ["2.0.1", "2.5.1"])
def test_threads_find_all_imported(version: str) -> None:
    """Threads that import the same modules in different orders may wait for each other."""
    python = poetry_home(version).python
    subprocess.run([python, "-c", IMPORTS], check=True, timeout=120)


def half_unpacked(image: Path) -> None:
    """Killed while it was unpacked: directories come in the order of the wheel."""
    shutil.rmtree(image / "pip" / "_vendor")


def not_finished(image: Path) -> None:
    """Killed after all was unpacked, before virtualenv's own files were recorded."""
    (record,) = image.glob("*.dist-info/RECORD")
    lines = record.read_text().splitlines(keepends=True)
    record.write_text("".join(line for line in lines if ".virtualenv" not in line))


def contents(image: Path) -> tuple[int, list[str]]:
    """How many files there are, and what is recorded of them."""
    (record,) = image.glob("*.dist-info/RECORD")
    return sum(1 for _ in image.rglob("*")), sorted(record.read_text().splitlines())


INSTALL, RUN = ("install", "--no-root"), ("run", "true")


@pytest.mark.parametrize(
    ("damage", "version", "command"),
    thorough_but(
        [(half_unpacked, "2.5.1", INSTALL)],
        product((half_unpacked, not_finished), ("2.0.1", "2.5.1"), (INSTALL, RUN)),
    ),
)
def test_a_broken_image_is_made_again(
    damage: Callable[[Path], None],
    version: str,
    command: tuple[str, ...],
    new_project: Callable[..., Project],
    tmp_path: Path,
) -> None:
    home = poetry_home(version)
    data = tmp_path / "app-data"
    environ = {
        "VIRTUALENV_OVERRIDE_APP_DATA": str(data),
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "POETRY_VIRTUALENVS_OPTIONS_NO_PIP": "false",
    }
    project = new_project()
    project.poetry(home, "lock", environ=environ).succeeded()
    found = data.glob("wheel/*/image/*/*/pip-*")
    (image,) = [path for path in found if path.is_dir()]
    whole = contents(image)
    shutil.rmtree(project.path / ".venv")
    damage(image)

    project.poetry(home, *command, environ=environ).succeeded()

    python = project.path / ".venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "--version"], check=True, capture_output=True)
    assert contents(image) == whole
