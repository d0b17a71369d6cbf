"""The project's own Poetry plugins."""

from __future__ import annotations
