"""Everything of Poetry's that Poetry does not promise, a module a part of Poetry."""

from __future__ import annotations


DISTRIBUTION = "poetry-plugin-safe-install"
PACKAGE = DISTRIBUTION.replace("-", "_")


class UnknownPoetryError(Exception):
    """An internal of Poetry is missing, or is not what it was."""
