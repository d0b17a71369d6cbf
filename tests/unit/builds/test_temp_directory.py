from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from typing import Any

import pytest

from poetry_plugin_safe_install.builds import temp_directory
from poetry_plugin_safe_install.builds.interpreters import base_interpreter
from poetry_plugin_safe_install.builds.temp_directory import Found
from poetry_plugin_safe_install.builds.temp_directory import Place
from poetry_plugin_safe_install.builds.temp_directory import decide
from poetry_plugin_safe_install.builds.temp_directory import examine
from poetry_plugin_safe_install.builds.temp_directory import other_places
from poetry_plugin_safe_install.builds.temp_directory import prepared
from poetry_plugin_safe_install.builds.temp_directory import probe
from poetry_plugin_safe_install.builds.temp_directory import users_choice


if TYPE_CHECKING:
    from collections.abc import Iterator

TEMP, CACHE, STORE = Path("temp"), Path("cache"), Path("store")

HERE = Place(TEMP, same_device=True)
ROOMY = Place(TEMP)
NO_LINKS = Place(TEMP, no_links="refused")
NOEXEC = Place(TEMP, no_copies="refused")
SMALL = Place(TEMP, no_room="10 MiB")
NEITHER = Place(TEMP, no_links="refused", no_copies="denied")
TOO_SMALL = Place(TEMP, no_links="refused", no_room="10 MiB")

NOTHING, COPY, FAIL = "nothing", "copy", "fail"


@pytest.mark.parametrize(
    ("temp", "others", "done"),
    [
        (HERE, (), NOTHING),
        (ROOMY, (), COPY),
        (NO_LINKS, (), COPY),
        (NOEXEC, (), NOTHING),
        (SMALL, (), NOTHING),
        (Place(TEMP, no_copies="refused", no_room="10 MiB"), (), NOTHING),
        (NEITHER, (), FAIL),
        (TOO_SMALL, (), FAIL),
        (NEITHER, (Place(CACHE, same_device=True),), CACHE),
        (TOO_SMALL, (Place(CACHE, same_device=True),), CACHE),
        (NEITHER, (Place(CACHE),), (CACHE, COPY)),
        (NEITHER, (Place(CACHE, no_copies="refused"),), CACHE),
        (NEITHER, (Place(CACHE, no_links="refused"),), (CACHE, COPY)),
        (NEITHER, (Place(CACHE, True, no_links="refused"),), (CACHE, COPY)),
        (NEITHER, (Place(CACHE, True, "refused", "refused"),), FAIL),
        (
            NEITHER,
            (Place(CACHE, False, "refused", "refused"), Place(STORE, True)),
            STORE,
        ),
    ],
)
def test_decision(temp: Place, others: tuple[Place, ...], done: object) -> None:
    decision = decide(Found("auto", temp=temp, others=others))
    copy = done == COPY or (isinstance(done, tuple) and COPY in done)
    moved = done[0] if isinstance(done, tuple) else done
    assert decision.copy is copy
    assert decision.move_to == (moved if isinstance(moved, Path) else None)
    assert decision.unfit is (done == FAIL)
    assert "\n" not in decision.text


@pytest.mark.parametrize(
    ("found", "copy"),
    [
        (Found("always"), True),
        (Found("always", users_choice="a variable"), False),
        (Found("always", windows=True), False),
        (Found("never", temp=NO_LINKS), False),
        (Found("never", temp=NEITHER), False),
        (Found("auto", windows=True, temp=NO_LINKS), False),
        (Found("auto", windows=True, temp=NEITHER), False),
        (Found("auto", users_choice="a variable", temp=NO_LINKS), False),
        (Found("auto", users_choice="a variable", temp=NEITHER), False),
        (Found("auto", temp=NO_LINKS), True),
    ],
)
def test_what_the_user_says_and_windows(found: Found, copy: bool) -> None:
    decision = decide(found)
    assert (decision.copy, decision.move_to, decision.unfit) == (copy, None, False)


def test_the_line_says_why() -> None:
    assert "on another device" in decide(Found("auto", temp=NO_LINKS)).text
    assert "room: 10 MiB" in decide(Found("auto", temp=SMALL)).text
    text = decide(Found("auto", temp=NEITHER, others=(TOO_SMALL,))).text
    assert text == (
        "no directory is fit: temp (links: refused, copies: denied);"
        " temp (links: refused, room: 10 MiB)"
    )


PYTHON = Path(os.path.realpath(sys.executable))


def test_probing_runs_two_interpreters_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link and a copy: what it takes is told by ``make bench``, row h."""
    runs: list[object] = []
    run = subprocess.run

    def counted(*args: Any, **kwargs: Any) -> Any:
        runs.append(args)
        return run(*args, **kwargs)

    monkeypatch.setattr(subprocess, "run", counted)
    assert probe(tmp_path, [PYTHON], 4) == Place(tmp_path, same_device=True)
    assert len(runs) == 2
    assert [*tmp_path.iterdir()] == []


def test_probing_makes_no_directory(tmp_path: Path) -> None:
    place = tmp_path / "not" / "there"
    assert probe(place, [PYTHON], 4) == Place(place, same_device=True)
    assert [*tmp_path.iterdir()] == []


def test_an_interpreter_that_does_not_run(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 7\n")
    broken.chmod(0o755)
    why = "exit status 7 when run"
    assert probe(tmp_path, [broken], 4) == Place(tmp_path, True, why, why)


def test_a_directory_that_cannot_be_written_to() -> None:
    place = probe(Path("/proc/nothing"), [PYTHON], 4)
    assert place.no_links
    assert place.no_copies == place.no_links
    assert not place.takes_links
    assert not place.takes_copies


@dataclass
class Usage:
    free: int
    total: int = 1000 * 1024**3


@pytest.mark.parametrize(
    ("free", "parallel", "fits"), [(200, 4, True), (200, 40, False), (20, 1, False)]
)
def test_room(
    free: int,
    parallel: int,
    fits: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = Usage(free * 1024**2)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    place = probe(tmp_path, [PYTHON], parallel)
    assert place.takes_copies is fits
    assert (f"{free} MiB are free" in place.no_room) is not fits


def test_a_full_directory_takes_neither_links_nor_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on the interpreter's own device: there is no room for the build itself."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(100 * 1024))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    for place in (probe(tmp_path, [PYTHON], 1), temp_directory._temp([PYTHON])):
        assert place.no_links == place.no_copies == "only 100 KiB are free"
    moved = decide(Found("auto", temp=place, others=(Place(CACHE),)))
    assert moved.move_to == CACHE


def test_a_file_system_without_a_limit_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(0, 0))
    assert probe(tmp_path, [PYTHON], 4).takes_copies


@pytest.mark.parametrize(
    ("environ", "ini", "choice"),
    [
        ({}, "", ""),
        ({"VIRTUALENV_ALWAYS_COPY": ""}, "", ""),
        ({"VIRTUALENV_ALWAYS_COPY": "false"}, "", "VIRTUALENV_ALWAYS_COPY"),
        ({"VIRTUALENV_COPIES": "1"}, "", "VIRTUALENV_COPIES"),
        ({"VIRTUALENV_SYMLINKS": "1"}, "", "VIRTUALENV_SYMLINKS"),
        ({}, "[virtualenv]\nprompt = x%\n", ""),
        ({}, "[virtualenv]\ncopies = true\n", "copies in"),
        ({}, "[virtualenv]\nalways_copy = true\n", "always_copy in"),
        ({}, "[virtualenv]\nSymlinks = 1\n", "symlinks in"),
        ({}, "[virtualenv]\nalways-copy = true\n", ""),  # nor does virtualenv
        ({}, "no ini file", ""),
    ],
)
def test_users_choice(
    environ: dict[str, str], ini: str, choice: str, tmp_path: Path
) -> None:
    file = tmp_path / "virtualenv.ini"
    file.write_text(ini)
    found = users_choice({**environ, "VIRTUALENV_CONFIG_FILE": str(file)})
    assert choice in found
    assert bool(found) == bool(choice)


@pytest.mark.parametrize("key", ["base-executable", "executable", "home"])
def test_the_base_of_a_copied_environment(key: str, tmp_path: Path) -> None:
    base = tmp_path / "base" / "bin" / "python3"
    python = tmp_path / "venv" / "bin" / "python3"
    for file in (base, python):
        file.parent.mkdir(parents=True)
        file.touch()
    value = base.parent if key == "home" else base
    (tmp_path / "venv" / "pyvenv.cfg").write_text(f"version = 3\n{key} = {value}\n")
    assert base_interpreter(python, tmp_path / "venv") == base


def test_the_base_of_linked_and_system_environments(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.symlink_to(PYTHON)
    assert base_interpreter(python, tmp_path / "venv") == PYTHON
    assert base_interpreter(PYTHON, PYTHON.parents[1]) == PYTHON


class Said:
    """Stands in for cleo's IO."""

    def __init__(self, verbose: bool = True) -> None:
        self.lines: list[str] = []
        self._verbose = verbose

    def is_verbose(self) -> bool:
        return self._verbose

    def write_error_line(self, line: str) -> None:
        self.lines.append(line)


ENVIRONMENT = SimpleNamespace(python=PYTHON, path=PYTHON.parents[1])


@pytest.fixture
def probed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[Path, Place]]:
    """What is found of each directory; the temporary one is on another device."""
    places = {TEMP: ROOMY}
    monkeypatch.setattr(tempfile, "tempdir", str(TEMP))
    monkeypatch.setattr(temp_directory, "same_device", lambda path, _: False)
    monkeypatch.setattr(
        temp_directory, "probe", lambda path, *_: places.get(path, Place(path))
    )
    monkeypatch.setenv("VIRTUALENV_CONFIG_FILE", str(tmp_path / "none.ini"))
    for name in ("ALWAYS_COPY", "COPIES", "SYMLINKS"):
        monkeypatch.delenv(f"VIRTUALENV_{name}", raising=False)
    yield places


@pytest.mark.parametrize("before", [None, ""])
def test_the_environment_is_restored(
    before: str | None,
    probed: dict[Path, Place],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if before is not None:
        monkeypatch.setenv("VIRTUALENV_ALWAYS_COPY", before)
    io = Said(verbose=False)
    with prepared("auto", ENVIRONMENT, tmp_path, io):  # type: ignore[arg-type]
        assert os.environ["VIRTUALENV_ALWAYS_COPY"] == "true"
    assert os.environ.get("VIRTUALENV_ALWAYS_COPY") == before
    assert io.lines == []


@pytest.mark.parametrize("before", [None, "/elsewhere"])
def test_another_temporary_directory_is_used_and_removed(
    before: str | None,
    probed: dict[Path, Place],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if before is None:
        monkeypatch.delenv("TMPDIR", raising=False)
    else:
        monkeypatch.setenv("TMPDIR", before)
    monkeypatch.setenv("POETRY_CACHE_DIR", str(tmp_path / "cache"))
    probed[TEMP] = NEITHER
    first, second = other_places(tmp_path / "store")
    probed[first] = Place(first, no_links="refused", no_copies="refused")
    probed[second] = Place(second, same_device=True)
    old = second / "old"
    young = second / "young"
    for directory in (old, young):
        (directory / "left").mkdir(parents=True)
    os.utime(old, (0, 0))
    io = Said()
    with prepared("auto", ENVIRONMENT, tmp_path / "store", io):  # type: ignore[arg-type]
        own = Path(os.environ["TMPDIR"])
        assert own.parent == second
        assert tempfile.gettempdir() == str(own)
        assert Path(tempfile.mkdtemp()).parent == own
        assert not old.exists()
    assert tempfile.tempdir == str(TEMP)
    assert os.environ.get("TMPDIR") == before
    assert [*second.iterdir()] == [young]
    assert not first.exists()
    [line] = io.lines
    assert f"temporary files go to {second}" in line


def test_nothing_is_looked_at_without_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temp_directory, "users_choice", None)
    monkeypatch.setattr(temp_directory, "probe", None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(temp_directory, "same_device", lambda path, _: True)
    found = examine("auto", ENVIRONMENT, lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    assert found == Found("auto", temp=Place(tmp_path, same_device=True))
    monkeypatch.setattr(temp_directory, "same_device", None)
    assert examine("never", None, list) == Found("never")
    monkeypatch.setattr(sys, "platform", "win32")
    assert examine("auto", None, list) == Found("auto", windows=True)


def test_python_finds_no_temporary_directory(
    probed: dict[Path, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setenv("TMPDIR", "/full")
    found = examine("auto", ENVIRONMENT, lambda: [CACHE])
    assert found.temp == Place(
        Path("/full"),
        no_links="No usable temporary directory found",
        no_copies="No usable temporary directory found",
    )
    assert decide(found).move_to == CACHE


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_a_failing_look_changes_nothing(
    error: type[Exception],
    probed: dict[Path, Place],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> Place:
        raise error("odd")

    monkeypatch.setattr(temp_directory, "probe", fail)
    before, io = dict(os.environ), Said()
    with prepared("auto", ENVIRONMENT, tmp_path, io):  # type: ignore[arg-type]
        assert dict(os.environ) == before
    assert "nothing is changed: odd" in io.lines[0]


def test_the_import_needs_nothing_that_only_posix_has() -> None:
    code = (
        "import os, poetry_plugin_safe_install.compat.environments\n"
        "for name in ('fork', 'getuid', 'statvfs', 'sysconf', 'umask'):\n"
        "    delattr(os, name)\n"
        "import poetry_plugin_safe_install.builds.temp_directory\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
