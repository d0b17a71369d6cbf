from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cleo.application import Application
from cleo.io.inputs.argv_input import ArgvInput

from poetry_plugin_safe_install.compat.command_line import StartingCommand
from poetry_plugin_safe_install.compat.command_line import shown


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ("install --only main", "poetry install --only main"),
        ("publish --build -u me -p secret", "poetry publish"),
        ("config http-basic.index me secret", "poetry config http-basic.index"),
        ("run deploy --token secret", "poetry run deploy"),
        ("add git+https://me:secret@host/x.git", "poetry add git+https://…@host/x.git"),
        ("source add x https://me@host", "poetry source add x https://…@host"),
        ("add demo@1.0 https://host/a@b", "poetry add demo@1.0 https://host/a@b"),
        ("", "poetry"),
    ],
)
def test_no_password_is_shown_to_others(typed: str, seen: str) -> None:
    """What is typed comes into holder records, which other users may read."""
    assert shown(typed.split()) == seen


@pytest.mark.parametrize(
    ("typed", "arguments", "place"),
    [
        ("install -v", "install -v", ""),
        ("-C sub -v install --sync", "install --sync", "-C sub"),
        ("-C install install", "install", "-C install"),
        ("-P install -C=lock lock", "lock", "-P install -C=lock"),
        ("--directory add add add", "add add", "--directory add"),
        ("", "", ""),
        ("-v", "-v", ""),
    ],
)
def test_directory_may_be_called_like_the_command(
    typed: str, arguments: str, place: str
) -> None:
    line = ArgvInput(["poetry", *typed.split()])
    application: Any = Application()
    application._io = SimpleNamespace(input=line)
    manager: Any = None
    command = StartingCommand(manager, application)
    assert command.arguments == arguments.split()
    assert command.place == place.split()
