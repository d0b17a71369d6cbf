"""What the running Poetry and its plugins need to go on working."""

from __future__ import annotations
