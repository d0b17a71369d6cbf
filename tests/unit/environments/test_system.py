"""What is said about scripts and about a Python that the system manages."""

from __future__ import annotations

import os

from pathlib import Path

import pytest

from poetry_plugin_safe_install.environments.system import managed_message
from poetry_plugin_safe_install.environments.system import path_line
from poetry_plugin_safe_install.environments.system import scripts_in


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("/bin/bash", 'export PATH="/opt/a b:$PATH"'),
        ("/usr/bin/zsh", 'export PATH="/opt/a b:$PATH"'),
        ("", 'export PATH="/opt/a b:$PATH"'),
        ("/usr/bin/fish", 'fish_add_path "/opt/a b"'),
        ("/bin/tcsh", 'setenv PATH "/opt/a b:$PATH"'),
    ],
)
def test_path_line(shell: str, line: str) -> None:
    assert path_line(Path("/opt/a b"), shell) == line


@pytest.mark.parametrize(
    ("environ", "command"),
    [
        ({}, "    poetry config --local virtualenvs.create true"),
        (
            {"POETRY_VIRTUALENVS_CREATE": "false"},
            "    unset POETRY_VIRTUALENVS_CREATE;"
            " poetry config --local virtualenvs.create true",
        ),
    ],
)
def test_managed_message(environ: dict[str, str], command: str) -> None:
    message = managed_message(Path("/usr"), Path("/usr/lib/marker"), environ)

    assert command in message.splitlines()
    assert "/usr/lib/marker" in message


def test_a_script_written_anew_is_new(tmp_path: Path) -> None:
    assert scripts_in(tmp_path / "absent") == set()
    script = tmp_path / "tool"
    script.touch()
    os.utime(script, (1, 1))
    before = scripts_in(tmp_path)
    script.write_text("other")
    (tmp_path / "tool2").touch()
    (tmp_path / "directory").mkdir()

    assert {found.name for found in scripts_in(tmp_path) - before} == {"tool", "tool2"}
