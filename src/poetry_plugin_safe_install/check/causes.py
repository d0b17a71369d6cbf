"""Why Poetry cannot install at all, and what helps."""

from __future__ import annotations

from enum import Enum


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
