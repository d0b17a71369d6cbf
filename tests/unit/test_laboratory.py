"""What the tests are made with does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from typing import TYPE_CHECKING

import pytest

from poetry_plugin_safe_install.locks import waiting
from tests.laboratory.changes import renamed
from tests.laboratory.changes import with_constants
from tests.laboratory.clones import LOCKS
from tests.laboratory.clones import borrowed
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import PoetryHome
from tests.laboratory.poetries import spoiled_templates
from tests.laboratory.poetries import state_of
from tests.laboratory.preloaded import can_be_forked
from tests.laboratory.running import UNDER_WAY
from tests.laboratory.running import Running


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping
    from pathlib import Path


def python(code: str, environ: Mapping[str, str]) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environ},
        check=True,
        capture_output=True,
        text=True,
    )
    return result.stdout.strip()


def test_nothing_said_is_lost_while_somebody_waits_for_it() -> None:
    code = "for n in range(20000): print(n, flush=not n % 100)"
    running = Running([sys.executable, "-c", code])
    for number in (5000, 10000, 19999):
        running.says(f"\n{number}\n")
    lines = running.result().succeeded().out.splitlines()
    assert lines == [str(number) for number in range(20000)]
    assert running not in UNDER_WAY


def test_a_command_that_ends_without_saying_it_keeps_nobody_waiting() -> None:
    running = Running([sys.executable, "-c", "print('something else')"])
    began = time.monotonic()
    with pytest.raises(AssertionError, match="something else"):
        running.says("this", timeout=60)
    assert time.monotonic() - began < 30


def test_constants_are_changed_before_anybody_has_them() -> None:
    module = waiting.__name__
    code = f"from {module} import REPEAT; print(REPEAT)"
    assert python(code, {}) == "10.0"
    assert python(code, with_constants({f"{module}:REPEAT": 2.5})) == "2.5"


def test_names_are_changed_where_they_are_made_and_used() -> None:
    code = (
        "from poetry.installation.chef import Chef\n"
        "from poetry.installation import chef\n"
        "from poetry.utils import helpers\n"
        "print(*(hasattr(*it) for it in ((Chef, '_prepare'), (helpers, 'extractall'),"
        " (chef, 'extractall'), (chef, 'extractall_changed'))))"
    )
    assert python(code, {}) == "True True True False"
    changed = renamed("_prepare", "extractall")
    assert python(code, changed) == "False False False True"


@pytest.fixture
def original(tmp_path: Path) -> PoetryHome:
    """What is cloned; no Poetry has to be in it."""
    home = PoetryHome(tmp_path / "home", "0", DEFAULT_PYTHON)
    home.site_packages.mkdir(parents=True)
    home.executable.parent.mkdir()
    home.executable.write_text("#!/old/python\nimport poetry\n")
    for name in ("one.py", "two.py"):
        (home.site_packages / name).write_text("original")
    return home


def test_clones_share_files_and_say_who_writes_into_them(
    original: PoetryHome, tmp_path: Path
) -> None:
    home = original

    first, second = home.clone(tmp_path / "first"), home.clone(tmp_path / "second")

    assert first.executable.read_text() == f"#!{first.python}\nimport poetry\n"
    assert (first.site_packages / "one.py").samefile(second.site_packages / "one.py")
    (first.site_packages / "one.py").unlink()
    (first.site_packages / "one.py").write_text("another")
    assert spoiled_templates() == []
    third = home.clone(tmp_path / "third")
    (third.site_packages / "two.py").write_text("written")
    assert spoiled_templates() == ["home/two.py"]
    assert (home.site_packages / "two.py").read_text() == "original"
    fourth = home.clone(tmp_path / "fourth")
    assert (fourth.site_packages / "two.py").read_text() == "original"


def replace_file(home: PoetryHome) -> None:
    (home.site_packages / "other").write_text("original")
    (home.site_packages / "other").replace(home.site_packages / "one.py")


def take_file_away(home: PoetryHome) -> None:
    (home.site_packages / "one.py").unlink()


def add_file(home: PoetryHome) -> None:
    (home.path / "killed.py").touch()


def replace_script(home: PoetryHome) -> None:
    home.executable.write_text(home.executable.read_text())


@pytest.mark.parametrize(
    "change", [replace_file, take_file_away, add_file, replace_script]
)
def test_a_clone_that_was_changed_is_made_again(
    change: Callable[[PoetryHome], None], original: PoetryHome
) -> None:
    with borrowed(original) as home:
        made = state_of(home.path)
        assert can_be_forked(home, {})
        change(home)
        assert not can_be_forked(home, {})

    with borrowed(original) as again:
        assert again == home
        assert can_be_forked(again, {})
        assert made.keys() == state_of(again.path).keys()
        assert (again.site_packages / "one.py").read_text() == "original"


def test_a_clone_that_was_not_changed_serves_the_next_test(
    original: PoetryHome,
) -> None:
    with borrowed(original) as home, borrowed(original) as other:
        assert home != other
        made = state_of(home.path)
        for lock in LOCKS:
            (home.path / lock).touch()
        assert can_be_forked(home, {})
    with borrowed(original) as again:
        assert again == home
        assert state_of(again.path) == made


def test_a_file_that_was_written_in_a_clone_ends_what_it_is_made_from(
    original: PoetryHome,
) -> None:
    with borrowed(original) as home:
        (home.site_packages / "one.py").write_text("written")
        assert not can_be_forked(home, {})
    assert spoiled_templates() == ["home/one.py"]
    with borrowed(original) as again:
        assert (again.site_packages / "one.py").read_text() == "original"
