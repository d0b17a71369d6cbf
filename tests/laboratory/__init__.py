"""What the tests, the demonstration and the benchmarks are made with.

Real Pythons, real Poetrys, a local package index, projects in folders, and barriers
that make races certain.
"""

from __future__ import annotations

import re

from pathlib import Path


ROOT = Path(__file__).parents[2]
CACHE = (ROOT / ".cache").resolve()
VERSION = re.findall(
    '^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M
)[0]
"""Of the plugin in this tree."""
