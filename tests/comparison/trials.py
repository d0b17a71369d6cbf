"""Kill an installer, run it again, and see what there is then."""

from __future__ import annotations

import shutil

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from tests.laboratory.environments import make_venv
from tests.laboratory.killing import faults
from tests.laboratory.poetries import DEFAULT_PYTHON


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping
    from collections.abc import Sequence
    from pathlib import Path

    from tests.comparison.installers import Installer

KILLED = -9
LEFT_OVER = "nobody's"
"""How a file is called that no RECORD names: untidy, but nothing is broken by it."""


class Outcome(Enum):
    WHOLE = "whole"
    """The second command has installed what was missing."""
    SILENT = "broken, status 0"
    """It succeeded, and the environment does not work."""
    FAILED = "fails"
    """It did not succeed, and so says that something is wrong."""


@dataclass(frozen=True)
class Wheels:
    """What is installed.

    :param modules: what has to be importable afterwards.
    """

    name: str
    requirements: Sequence[str]
    modules: Sequence[str]


PANDAS = Wheels(
    "pandas 2.2.3 and what it requires",
    (
        "pandas==2.2.3",
        "numpy==1.26.4",
        "python-dateutil==2.9.0.post0",
        "pytz==2024.2",
        "tzdata==2024.2",
        "six==1.16.0",
    ),
    ("pandas", "numpy", "dateutil", "pytz", "six"),
)
SMALL = Wheels(
    "five small wheels",
    (
        "requests==2.32.3",
        "urllib3==2.2.3",
        "idna==3.10",
        "certifi==2024.8.30",
        "charset-normalizer==3.4.0",
    ),
    ("requests", "urllib3", "idna", "certifi", "charset_normalizer"),
)


@dataclass(frozen=True)
class Trials:
    """What became of all kills of one installer."""

    installer: str
    wheels: str
    changes: int
    """In an install that nobody kills."""
    outcomes: Mapping[Outcome, int]

    @property
    def kills(self) -> int:
        return sum(self.outcomes.values())


def trials(
    installer: Installer,
    wheels: Wheels,
    venv: Path,
    library: Path,
    kills: int,
    tell: Callable[[str], None],
) -> Trials:
    """Kill it at changes that are spread evenly over its work."""
    fresh(venv)
    status, changes = installer.run(venv, library)
    if status or (wrong := broken(venv, wheels)):
        raise RuntimeError(f"{installer.name} does not install: {status or wrong}")
    outcomes: Counter[Outcome] = Counter()
    for number in range(kills):
        at = 1 + changes * (2 * number + 1) // (2 * kills)
        outcome = trial(installer, wheels, venv, library, at)
        tell(f"{installer.name}, change {at} of {changes}: {outcome}")
        if outcome:
            outcomes[outcome] += 1
    return Trials(installer.name, wheels.name, changes, outcomes)


def trial(
    installer: Installer, wheels: Wheels, venv: Path, library: Path, at: int
) -> Outcome | None:
    """What comes of one kill; ``None`` if it had ended before."""
    fresh(venv)
    status, _ = installer.run(venv, library, at)
    if status != KILLED:
        return None
    status, _ = installer.run(venv, None)
    if status:
        return Outcome.FAILED
    return Outcome.SILENT if broken(venv, wheels) else Outcome.WHOLE


def fresh(venv: Path) -> None:
    shutil.rmtree(venv, ignore_errors=True)
    make_venv(venv, DEFAULT_PYTHON)


def broken(venv: Path, wheels: Wheels) -> list[str]:
    """What does not work, or is not as a RECORD says.

    Byte code may differ: numpy brings some, and pip writes it again.
    """
    found = faults(venv, wheels.modules)
    return [
        text
        for text in found
        if not text.startswith(LEFT_OVER) and "__pycache__" not in text
    ]
