"""Everything of Poetry's that Poetry does not promise, a module a part of Poetry."""

from __future__ import annotations
