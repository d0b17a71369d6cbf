"""Poetry and this plugin with something changed, in one command's process only.

Each is a piece of the command's environment; ``Pause`` makes one too, and they go
together: what leads a process to them is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.laboratory.pausing import PAUSES


if TYPE_CHECKING:
    from collections.abc import Mapping


def renamed(*names: str) -> dict[str, str]:
    """Poetry's and cleo's source with other names in the place of these.

    Everywhere, so that Poetry itself works as before, and is not what it was for those
    who use these names. Modules and what is text keep them.
    """
    return {"PYTHONPATH": str(PAUSES), "RENAME": " ".join(names)}


def with_constants(values: Mapping[str, float | str]) -> dict[str, str]:
    """Other values of constants, each by its place: ``package.module:NAME``."""
    given = " ".join(f"{place}={value!r}" for place, value in values.items())
    return {"PYTHONPATH": str(PAUSES), "CONSTANTS": given}


RELOCKING_LIMIT = "poetry_plugin_safe_install.own_packages.relocking:LIMIT"
NO_RELOCKING = with_constants({RELOCKING_LIMIT: 0.0})
"""Where a refusal is proved: not its advice, which takes longer (see test_advice)."""
