"""What Poetry keeps below its cache directory, for all jobs of a machine."""

from __future__ import annotations
