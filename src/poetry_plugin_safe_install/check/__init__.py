"""What an install would meet here."""

from __future__ import annotations
