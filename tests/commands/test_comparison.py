"""``make compare`` sees what a kill breaks, and what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.comparison.installers import counter
from tests.comparison.installers import installers
from tests.comparison.trials import Outcome
from tests.comparison.trials import Wheels
from tests.comparison.trials import trials
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from pathlib import Path

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome

MODULES = [f"killed_early/part{number}.py" for number in range(40)]
EARLY = Wheels(
    "killed-early", ("killed-early==1.0",), ("killed_early", "killed_early.part39")
)


@pytest.mark.thorough
def test_a_kill_breaks_poetry_alone(
    own_folder: Path,
    index: LocalIndex,
    tmp_path: Path,
    plain_home: PoetryHome,
    home: PoetryHome,
) -> None:
    """In a wheel that begins with METADATA, and in the middle of its files."""
    try:
        library = counter(tmp_path)
    except RuntimeError as error:
        pytest.skip(str(error))
    files = dict.fromkeys(["killed_early/__init__.py", *MODULES], "")
    Distribution("killed-early", "1.0", files).wheel(own_folder, metadata_first=True)
    venv = tmp_path / "environment"
    homes = {"plain": plain_home, "protected": home}
    found = {
        each.name: trials(each, EARLY, venv, library, 1, print).outcomes
        for each in installers(tmp_path, index, EARLY.requirements, venv, homes)
        if each.name in homes
    }
    assert found == {"plain": {Outcome.SILENT: 1}, "protected": {Outcome.WHOLE: 1}}
