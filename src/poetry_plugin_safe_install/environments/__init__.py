"""The environment that a command installs into."""

from __future__ import annotations
