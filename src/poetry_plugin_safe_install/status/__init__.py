"""What is kept here, who holds what, and what killed commands have left."""

from __future__ import annotations
