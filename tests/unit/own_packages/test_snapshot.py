"""What is kept of packages that are replaced beneath a running program."""

from __future__ import annotations

import os
import subprocess
import sys

from importlib import import_module
from importlib import invalidate_caches
from pathlib import Path
from typing import TYPE_CHECKING
from typing import ClassVar

import pytest

from poetry_plugin_safe_install.environments import places
from poetry_plugin_safe_install.own_packages import snapshot
from poetry_plugin_safe_install.own_packages.installed import distributions
from poetry_plugin_safe_install.own_packages.kept import DIRECTORY
from poetry_plugin_safe_install.own_packages.snapshot import CERTIFICATES_VARIABLE
from poetry_plugin_safe_install.own_packages.snapshot import OwnFilesSnapshot
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from importlib.metadata import Distribution as Installed


KEPT = "poetry_plugin_safe_install.own_packages.kept"


@pytest.fixture(autouse=True)
def proof(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the next proofs find; no Poetry is run here."""
    failures: list[str] = []

    class FakeProof:
        state: ClassVar[dict[str, object]] = {}

        def __init__(self, directory: Path, importers: list[str]) -> None:
            pass

        def will_change(self, modules: set[str]) -> None:
            assert modules == {"keepsake"}

        def failure(self) -> str:
            return failures.pop(0) if failures else ""

    monkeypatch.setattr(snapshot, "Proof", FakeProof)
    return failures


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


def taken(installed: list[Installed]) -> OwnFilesSnapshot:
    kept = OwnFilesSnapshot(
        [], lambda directory: None, Path(str(installed[0].locate_file("")))
    )
    kept.keep({"keepsake": installed[0]})
    return kept


def test_modules_are_those_of_before(
    installed: list[Installed], tmp_path: Path
) -> None:
    kept = taken(installed)
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
    kept = taken(installed)
    bundle = os.environ[CERTIFICATES_VARIABLE]
    assert os.path.getsize(bundle)
    kept.discard()
    assert CERTIFICATES_VARIABLE not in os.environ
    assert not os.path.exists(bundle)

    monkeypatch.setenv(CERTIFICATES_VARIABLE, "mine.pem")
    kept = taken(installed)
    assert os.environ[CERTIFICATES_VARIABLE] == "mine.pem"
    kept.discard()
    assert os.environ[CERTIFICATES_VARIABLE] == "mine.pem"


def files_of(directory: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        str(path.relative_to(directory)): (
            path.read_bytes(),
            path.stat().st_mode,
            path.stat().st_mtime_ns,
        )
        for path in directory.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".whl")
        if DIRECTORY not in path.parts
    }


def test_what_is_broken_is_put_back(
    installed: list[Installed], tmp_path: Path, proof: list[str]
) -> None:
    """Contents, modes and times; what came in its place is gone."""
    (tmp_path / "keepsake" / "harm.py").chmod(0o640)
    before = files_of(tmp_path)
    kept = taken(installed)
    for path in (tmp_path / "keepsake-1.0.dist-info").iterdir():
        path.unlink()
    (tmp_path / "keepsake-1.0.dist-info").rmdir()
    (tmp_path / "keepsake" / "harm.py").write_text("in place\n")
    (tmp_path / "keepsake" / "deep" / "later.py").unlink()
    Distribution("keepsake", "2.0", {"keepsake/new.py": ""}).unpack(tmp_path)
    proof[:] = ["", "`poetry check` fails"]

    assert kept.put_back_if_broken() == ""
    assert files_of(tmp_path) != before
    assert kept.put_back_if_broken() == "`poetry check` fails"

    assert files_of(tmp_path) == before
    assert [path.name for path in tmp_path.glob("*.dist-info")] == [
        "keepsake-1.0.dist-info"
    ]
    kept.discard()


def test_what_a_killed_command_has_kept_is_put_back_without_poetry(
    installed: list[Installed], tmp_path: Path
) -> None:
    """By the module itself, in a process that knows nothing of the command."""
    before = files_of(tmp_path)
    lost = taken(installed)
    (tmp_path / "keepsake" / "harm.py").write_text("in place\n")
    Distribution("keepsake", "2.0", {"keepsake/new.py": ""}).unpack(tmp_path)
    assert files_of(tmp_path) != before

    said = subprocess.run(
        [sys.executable, "-m", KEPT],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )

    assert said.stdout == "put back: keepsake\n"
    assert files_of(tmp_path) == before
    assert not (tmp_path / DIRECTORY).exists()
    lost.discard()


def test_copies_are_where_the_next_command_looks() -> None:
    assert places.KEPT == DIRECTORY
