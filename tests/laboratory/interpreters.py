"""Interpreters that make virtual environments fast, for scripts of users' that do."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


SCRIPT = """\
#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {python} "$@"
{python} "$@" --without-pip || exit
for venv; do :; done
cp -Rp {pip} "$venv"/lib/python*/site-packages/
"""
"""The directory is the last argument. To have pip unpacked and compiled takes seconds."""


def write_interpreter(path: Path, python: Path) -> None:
    """Have a command that is this Python, and copies the pip of the tests."""
    pip = find_spec("pip")
    assert pip and pip.origin
    script = SCRIPT.format(python=python, pip=Path(pip.origin).parent)
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)
