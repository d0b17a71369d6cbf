"""The interpreters that isolated builds copy, or link to."""

from __future__ import annotations

import os

from pathlib import Path
from typing import Any

from poetry_plugin_safe_install.compat.environment_making import build_pythons


def interpreters_of_builds(environment: Any) -> set[Path]:
    """What isolated builds copy or link to.

    :param environment: the project's; none if it is still to be made.
    """
    return {
        base_interpreter(python, prefix)
        for python, prefix in build_pythons(environment)
    }


def base_interpreter(python: Path, prefix: Path) -> Path:
    """The interpreter that a virtual environment was made from, links resolved.

    :param prefix: the environment's directory, or that of a Python installation.
    """
    real = Path(os.path.realpath(python))
    if Path(os.path.realpath(prefix)) not in real.parents:
        return real
    config = _pyvenv_config(prefix / "pyvenv.cfg")
    candidates = [config.get("base-executable"), config.get("executable")]
    if home := config.get("home"):
        candidates += [os.path.join(home, name) for name in (real.name, "python3")]
    for candidate in candidates:
        if candidate and os.path.isfile(candidate):
            return Path(os.path.realpath(candidate))
    return real


def _pyvenv_config(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        return {}
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}
