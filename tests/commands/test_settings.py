"""Settings as a user gives them and sees them."""

from __future__ import annotations

import json

from typing import TYPE_CHECKING

import pytest

from tests.screens import assert_screen


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

SECTION = "[tool.poetry-plugin-safe-install]\n"


@pytest.mark.parametrize(
    ("name", "tail", "environ", "arguments"),
    [
        ("setting-misspelt", 'lock-timeuot = "5"', {}, ["install"]),
        ("setting-bad-in-file", "lock-timeout = true", {}, ["install"]),
        (
            "setting-bad-variable",
            "",
            {"POETRY_SAFE_INSTALL_ON_SELF_CHANGE": "perhaps"},
            ["run", "python", "-V"],
        ),
        ("setting-bad-option", "", {}, ["safe-install", "--always-copy=sometimes"]),
        ("setting-bad-format", "", {}, ["safe-install", "--check", "--format=xml"]),
        ("format-of-an-install", "", {}, ["safe-install", "--format=json"]),
    ],
)
def test_error_as_seen(
    new_project: Callable[..., Project],
    home: PoetryHome,
    name: str,
    tail: str,
    environ: dict[str, str],
    arguments: list[str],
) -> None:
    """The text alone, also with ``-vvv``: the user's mistake, not the program's."""
    project = new_project(tail=SECTION + tail)
    result = project.poetry(home, *arguments, environ=environ)
    assert result.code == 1
    assert_screen(name, result.out, {"project": project.path})
    assert not project.store.exists()


def test_show_config(new_project: Callable[..., Project], home: PoetryHome) -> None:
    project = new_project(
        tail=SECTION + 'lock-scope = "command"\nlock-timeout = 60\nenabled = false\n'
    )
    result = project.poetry(
        home,
        "safe-install",
        "--show-config",
        "--lock-timeout",
        "1",
        "--lock-timeout=none",
        environ={
            "POETRY_SAFE_INSTALL_ON_SELF_CHANGE": "pin",
            "POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "30",
        },
    ).succeeded()
    assert_screen("show-config", result.out, {"project": project.path})
    assert not (project.path / ".poetry").exists()


def test_file_elsewhere_is_named(
    new_project: Callable[..., Project], home: PoetryHome
) -> None:
    """With ``-P`` it is not the pyproject.toml of the current directory."""
    here = new_project("here")
    there = new_project("there", tail=SECTION + "enabled = 3")
    result = here.poetry(home, "-P", str(there.path), "install")
    result.failed(f"in {there.path / 'pyproject.toml'} must be true or false")


def test_show_config_shows_a_bad_setting_as_bad(
    new_project: Callable[..., Project], home: PoetryHome
) -> None:
    """And all others beside it."""
    project = new_project(tail=SECTION + "enabled = 1\nlock-scope = 'phase'")
    arguments = ("safe-install", "--show-config")
    shown = project.poetry(home, *arguments).succeeded().out
    as_json = project.poetry(home, *arguments, "--format=json").succeeded().out

    assert_screen("setting-bad-shown", shown, {"project": project.path})
    found = {row["key"]: row for row in json.loads(as_json)["settings"]}
    assert "must be true or false" in found["enabled"]["error"]
    assert (found["lock-scope"]["value"], found["lock-scope"]["error"]) == (
        "phase",
        None,
    )


def test_unknown_variable_as_seen(
    new_project: Callable[..., Project], home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    """A warning, and the command goes on."""
    project = new_project()
    misspelt = {"POETRY_SAFE_INSTALL_LOCK_TIMOUT": "5"}
    venv = new_venv("environment")
    result = project.poetry(home, "run", "true", venv=venv, environ=misspelt)
    assert_screen("setting-misspelt-variable", result.succeeded().out, {})


def test_switched_off_before_everything_else(
    new_project: Callable[..., Project], home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    project = new_project(tail=SECTION + "lock-timeuot = 5")
    off = {
        "POETRY_SAFE_INSTALL_ENABLED": "false",
        "POETRY_SAFE_INSTALL_LOCK_SCOPE": "nonsense",
    }
    venv = new_venv("environment")
    project.poetry(home, "run", "true", venv=venv, environ=off).succeeded()
    assert not project.store.exists()
