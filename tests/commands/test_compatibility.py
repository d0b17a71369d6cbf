"""A Poetry whose internals have changed: it works, unprotected, with one warning."""

from __future__ import annotations

import json
import os
import subprocess

from typing import TYPE_CHECKING
from typing import Any

import pytest

from poetry_plugin_safe_install.compat.activation import START
from poetry_plugin_safe_install.compat.command_events import EVENTS
from poetry_plugin_safe_install.compat.command_line import COMMAND_LINE
from poetry_plugin_safe_install.compat.environments import ENVIRONMENTS
from poetry_plugin_safe_install.compat.internals import ALL
from poetry_plugin_safe_install.compat.plugins import PLUGINS
from tests.laboratory import ROOT
from tests.laboratory.cases import thorough_but
from tests.laboratory.changes import renamed
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import poetry_home


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

TRIED = NEWEST if NEWEST in ALL.split(", ") else ALL.split(", ")[-1]
"""The Poetry that has names changed, or the known one that comes next to it."""

BETWEEN = POETRY_VERSIONS[1:-1] or POETRY_VERSIONS
VERSIONS = [
    pytest.param(version, marks=pytest.mark.matrix if version in BETWEEN else ())
    for version in POETRY_VERSIONS
]

NOT_TO_BE_RENAMED = {
    "tomllib": "a module keeps its name",
    "EnvManager.get": "every dictionary has one: Poetry itself would fail",
}
"""These are hidden only, in ``test_every_internal_is_missed``."""

NAMES = [
    sorted(
        {
            internal.name.rpartition(".")[2]
            for internal in internals.declared
            if internal.name not in NOT_TO_BE_RENAMED
            and (not internal.instead or TRIED in internal.seen_in)
        }
    )
    for internals in (START, COMMAND_LINE, EVENTS, ENVIRONMENTS, PLUGINS)
]
"""Of each group that every protected command looks up."""


EVERY_GROUP = """\
import json, pkgutil
from importlib import import_module
from poetry_plugin_safe_install import compat
from poetry_plugin_safe_install.compat.internals import Internals

LAZY = "http_cache"  # declared in "caches"

groups = {}
for found in pkgutil.iter_modules(compat.__path__):
    if found.name != LAZY:
        module = import_module(f"{compat.__name__}.{found.name}")
        for value in vars(module).values():
            if isinstance(value, Internals):
                groups[value.subject] = value
"""

ALL_MISSING = """
print(json.dumps({subject: group.missing() for subject, group in groups.items()}))
"""

HIDE_EACH = """
def hide(internal):
    "As if it had another name; returns what undoes that."
    owner, name = internal.place
    homes = [owner] + list(getattr(owner, "__mro__", ())[1:-1])
    undo = []
    for home in homes:
        for hidden in (name, "__init__"):
            if hidden in vars(home) and (hidden == name or sets(home, name)):
                undo.append((home, hidden, vars(home)[hidden]))
                delattr(home, hidden)
    return undo

def sets(home, name):
    "Whether the constructor names it; one that is not written in Python cannot."
    code = getattr(vars(home)["__init__"], "__code__", None)
    return code is not None and name in code.co_names

unnoticed = []
for subject, group in groups.items():
    for internal in group.declared:
        if internal.is_here and not internal.name.endswith(".__init__"):  # all have it
            undo = hide(internal)
            if str(internal) not in group.missing():
                unnoticed.append(f"{subject}: {internal}")
            for home, name, value in reversed(undo):
                setattr(home, name, value)
print(json.dumps(unnoticed))
"""


def told(version: str, script: str) -> Any:
    result = subprocess.run(
        [poetry_home(version, protected=False).python, "-c", EVERY_GROUP + script],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(result.stdout)


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_declared_is_there(version: str) -> None:
    missing = told(version, ALL_MISSING)

    assert len(missing) > 15
    assert not any(missing.values()), missing


@pytest.mark.parametrize("version", VERSIONS)
def test_every_internal_is_missed(version: str) -> None:
    """Of every group: activation, plugins, installers, builds, the check and others."""
    assert told(version, HIDE_EACH) == []


BY_GROUP = {
    "Executor.supports_fancy_output": ("install",),  # builds
    "Env.script_dirs": ("install",),  # installers
    "Env.scheme_dict": ("install",),  # installers, which Poetry 2.0 does without
    "EnvManager.in_project_venv": ("safe-install", "--check"),
}
"""One of each group that is looked up late, and a command that needs it."""


@pytest.mark.parametrize(
    "internal",
    thorough_but([(one,) for one in [*BY_GROUP][:1]], [(one,) for one in BY_GROUP]),
)
def test_group_that_is_looked_up_late(
    internal: str,
    new_project: Callable[..., Project],
    home: PoetryHome,
    new_venv: Callable[..., Path],
) -> None:
    if internal == "Env.scheme_dict" and TRIED == "2.0.1":
        pytest.skip(
            "Poetry 2.0 has none to rename: have a later one in POETRY_VERSIONS"
        )
    project = new_project()
    venv = new_venv("environment")
    project.lock()
    name = internal.rpartition(".")[2]

    result = project.poetry(home, *BY_GROUP[internal], venv=venv, environ=renamed(name))

    flat = " ".join(result.out.split())
    if "--check" in BY_GROUP[internal]:
        result.failed(f"This Poetry cannot be looked at: poetry.utils.env.{internal}")
        return
    result.succeeded()
    assert flat.count("poetry-plugin-safe-install does not know this Poetry") == 1, flat
    assert internal in flat
    assert "Installing the current project: demo" in flat


@pytest.mark.parametrize(
    "name",
    thorough_but(
        [(names[0],) for names in NAMES[::3]],
        [(name,) for name in sorted({name for names in NAMES for name in names})],
    ),
)
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
