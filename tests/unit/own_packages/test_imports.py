"""Which import statements count, and which of them fail."""

from __future__ import annotations

import sys

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.own_packages.imports import problems
from poetry_plugin_safe_install.own_packages.imports import statements
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SOURCE = """\
import packaging
import packaging.utils as utils, os
from packaging.version import Version, parse as parsed
from .packaging import own
if TYPE_CHECKING:
    from packaging.types import Hint
else:
    import packaging.real
if sys.platform == "none":
    from packaging import other_systems
elif sys.version_info >= (3, 10) and os.name:
    from packaging import this_system
else:
    from packaging import older_pythons
if unknown or sys.nothing:
    from packaging import sometimes
if sys.nothing:
    from packaging import sometimes_too
try:
    from packaging.maybe import Fast
except ImportError:
    Fast = None
def lazily():
    from packaging import licenses
from cleo import Application
"""


def test_statements() -> None:
    assert statements(SOURCE, {"packaging"}) == {
        ("packaging", ""),
        ("packaging.utils", ""),
        ("packaging.version", "Version"),
        ("packaging.version", "parse"),
        ("packaging.real", ""),
        ("packaging", "this_system"),
        ("packaging", "sometimes"),
        ("packaging", "sometimes_too"),
        ("packaging", "licenses"),
    }


def test_problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importing = """\
import provider.gone
from provider import VALUE, missing, submodule
from provider.ending import anything
from provider import *
"""
    Distribution("importer", "1.0", {"importer.py": importing}).unpack(tmp_path)
    provider = {
        "provider/__init__.py": "VALUE = 1\n",
        "provider/submodule.py": "",
        "provider/ending.py": "raise SystemExit(3)",
    }
    Distribution("provider", "1.0", provider).unpack(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})

    assert problems(["importer", "not-installed"], {"provider"}) == {
        "importer: from provider import missing": (
            "ModuleNotFoundError: No module named 'provider.missing'"
        ),
        "importer: from provider.ending import anything": "SystemExit: 3",
        "importer: import provider.gone": (
            "ModuleNotFoundError: No module named 'provider.gone'"
        ),
    }
