from __future__ import annotations

import pytest

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
