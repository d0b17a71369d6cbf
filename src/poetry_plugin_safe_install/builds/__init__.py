"""Isolated builds, source trees, and wheels on their way into the cache."""

from __future__ import annotations
