"""Two wheels of one install that bring the same file."""

from __future__ import annotations

import csv

from typing import TYPE_CHECKING

import pytest

from tests.laboratory.cases import soak_but
from tests.laboratory.poetries import poetry_home
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.projects import Project

SIZES = {"alpha": 96 << 20, "beta": 48 << 20}
"""Bytes: so large that both threads are within one write for some tenths of a second."""


@pytest.mark.parametrize(
    ("version", "rounds"),
    soak_but([("2.5.1", 2)], [("2.5.1", 2), ("2.0.1", 5), ("2.5.1", 5)]),
)
def test_the_file_is_wholly_one_and_always_the_same(
    version: str,
    rounds: int,
    new_project: Callable[..., Project],
    own_folder: Path,
    new_venv: Callable[..., Path],
) -> None:
    for name, size in SIZES.items():
        files = {f"{name}.py": "", "shared/data.txt": name[0] * size}
        Distribution(name, "1.7", files).wheel(own_folder)
    home = poetry_home(version)
    project = new_project(dependencies=tuple(SIZES))
    project.lock()
    for number in range(rounds):
        venv = new_venv(f"{version}-{number}")
        result = project.poetry(home, "install", "--no-root", venv=venv).succeeded()
        (site,) = venv.glob("lib/python*/site-packages")
        data = (site / "shared" / "data.txt").read_bytes()
        assert len(data) == SIZES["beta"]
        assert data.count(b"b") == len(data)
        assert "alpha and beta both bring data.txt" in " ".join(result.out.split())
        for name, size in SIZES.items():
            record = site / f"{name}-1.7.dist-info" / "RECORD"
            with record.open(newline="") as rows:
                sizes = {row[0]: row[2] for row in csv.reader(rows)}
            assert sizes["shared/data.txt"] == str(size)
