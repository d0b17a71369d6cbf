"""What is kept of packages that are replaced beneath a running program."""

from __future__ import annotations

import os
import sys

from importlib import import_module
from importlib import invalidate_caches
from typing import TYPE_CHECKING

import pytest

from poetry_plugin_safe_install.own_packages.installed import distributions
from poetry_plugin_safe_install.own_packages.snapshot import CERTIFICATES_VARIABLE
from poetry_plugin_safe_install.own_packages.snapshot import OwnFilesSnapshot
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from importlib.metadata import Distribution as Installed
    from pathlib import Path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Installed]:
    Distribution(
        "keepsake",
        "1.0",
        {
            "keepsake/__init__.py": "",
            "keepsake/deep/__init__.py": "",
            "keepsake/deep/later.py": "VERSION = 1\n",
            "keepsake/harm.py": "raise SystemExit('imported')\n",
        },
    ).unpack(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    return [distributions([str(tmp_path)])["keepsake"]]


def test_modules_are_those_of_before(
    installed: list[Installed], tmp_path: Path
) -> None:
    kept = OwnFilesSnapshot(installed, lambda directory: None)
    deep = tmp_path / "keepsake" / "deep"
    (deep / "later.py").write_text("VERSION = 2\n")
    (deep / "__init__.py").unlink()
    invalidate_caches()

    later = import_module("keepsake.deep.later")

    kept.discard()
    assert later.VERSION == 1
    assert later.__file__ == str(deep / "later.py")
    assert import_module("keepsake.deep").__path__ == [str(deep)]
    assert "keepsake.harm" not in sys.modules


def test_the_certificate_bundle_is_put_aside_unless_the_user_names_one(
    installed: list[Installed], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("requests")
    monkeypatch.delenv(CERTIFICATES_VARIABLE, raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    kept = OwnFilesSnapshot(installed, lambda directory: None)
    bundle = os.environ[CERTIFICATES_VARIABLE]
    assert os.path.getsize(bundle)
    kept.discard()
    assert CERTIFICATES_VARIABLE not in os.environ
    assert not os.path.exists(bundle)

    monkeypatch.setenv(CERTIFICATES_VARIABLE, "mine.pem")
    kept = OwnFilesSnapshot(installed, lambda directory: None)
    assert os.environ[CERTIFICATES_VARIABLE] == "mine.pem"
    kept.discard()
    assert os.environ[CERTIFICATES_VARIABLE] == "mine.pem"
