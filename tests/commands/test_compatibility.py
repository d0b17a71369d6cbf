"""A Poetry whose internals have changed: it works, unprotected, with one warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from poetry_plugin_safe_install.compat.activation import EVENTS
from poetry_plugin_safe_install.compat.activation import START
from poetry_plugin_safe_install.compat.command_line import COMMAND_LINE
from poetry_plugin_safe_install.compat.environments import ENVIRONMENTS
from poetry_plugin_safe_install.compat.plugins import PLUGINS
from tests.laboratory.changes import renamed


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

NAMES = sorted(
    {
        internal.name.rpartition(".")[2]
        for internals in (START, COMMAND_LINE, EVENTS, ENVIRONMENTS, PLUGINS)
        for internal in internals.declared
    }
)


@pytest.mark.parametrize("name", NAMES)
def test_internal_that_is_gone(
    name: str,
    new_project: Callable[..., Project],
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    project = new_project()
    venv = new_venv("environment")
    project.lock()

    result = project.poetry(home, "install", venv=venv, environ=renamed(name))

    result.succeeded()

    flat = " ".join(result.out.split())
    assert flat.count("poetry-plugin-safe-install does not know this Poetry") == 1, flat
    assert name in flat
    assert "Installing the current project: demo" in flat
