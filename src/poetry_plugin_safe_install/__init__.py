"""Protection of ``poetry install`` and its kin against what breaks them in CI."""

from __future__ import annotations
