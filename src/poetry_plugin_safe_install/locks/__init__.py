"""Locks between processes."""

from __future__ import annotations
