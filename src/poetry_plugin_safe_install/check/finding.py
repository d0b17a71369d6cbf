"""What ``--check`` finds about a topic, and how bad it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Level(Enum):
    """How bad a finding is; only ``REFUSED`` makes ``--check`` fail."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing, nothing to do."""
    RISK = "risk"
    REFUSED = "refused"
    """An install would be stopped."""


@dataclass(frozen=True)
class Finding:
    """What was found about one topic. Every risk comes with a remedy of one line."""

    topic: str
    level: Level
    text: str
    facts: Any
    remedy: str = ""
    details: tuple[str, ...] = ()
    """Lines that are shown with -v."""


class Cause(str, Enum):
    """What is wrong with an environment, or with the project in it."""

    PYTHON = "python"
    BROKEN = "broken"
    OWN = "own"
    LOCALE = "locale"
    FILES = "files"


REMEDIES = {
    Cause.PYTHON: "`poetry env use` chooses a Python that the project supports",
    Cause.BROKEN: "remove that environment, or activate another one",
    Cause.OWN: "use a Poetry that is installed elsewhere, with pipx for example",
    Cause.LOCALE: "choose a locale with UTF-8, such as LC_ALL=C.UTF-8",
    Cause.FILES: "correct that; `poetry check --lock` looks at both files",
}
