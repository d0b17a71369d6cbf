"""Every setting from every source, and every bad value."""

from __future__ import annotations

from typing import Any

import pytest

from poetry_plugin_safe_install.errors import SettingError
from poetry_plugin_safe_install.settings import SETTINGS
from poetry_plugin_safe_install.settings import Setting
from poetry_plugin_safe_install.settings import is_switched_off
from poetry_plugin_safe_install.settings import resolve
from poetry_plugin_safe_install.settings import unknown_variables


GOOD: dict[str, list[tuple[Any, Any]]] = {
    "enabled": [
        (True, True),
        (False, False),
        *((text, True) for text in ("true", "True", "1", "yes", "on")),
        *((text, False) for text in ("false", "FALSE", "0", "no", "off")),
    ],
    "on-self-change": [(text, text) for text in ("refuse", "pin", "allow")],
    "externally-managed": [(text, text) for text in ("warn", "refuse", "allow")],
    "lock-timeout": [
        (5, 5.0),
        (0.5, 0.5),
        (0, 0.0),
        ("30", 30.0),
        ("0", 0.0),
        ("none", None),
    ],
    "lock-scope": [(text, text) for text in ("auto", "command", "phase")],
    "lock-backend": [(text, text) for text in ("auto", "native", "soft")],
    "always-copy": [(text, text) for text in ("auto", "always", "never")],
    "plugin-copies": [(text, text) for text in ("auto", "never")],
}
BAD: dict[str, list[Any]] = {
    "enabled": ["", "maybe", "2", 1, 0, [], {}],
    "on-self-change": ["", "Refuse", "yes", True, 1, ["pin"]],
    "externally-managed": ["", "error", "pin", False, 0],
    "lock-timeout": ["", "-1", -1, "nan", "inf", "5s", True, [5], {}, "None "],
    "lock-scope": ["", "whole", "COMMAND", True, 5],
    "lock-backend": ["", "flock", False, ["soft"]],
    "always-copy": ["", "true", True, 1],
    "plugin-copies": ["", "always", False, 0],
}
BY_KEY = {setting.key: setting for setting in SETTINGS}
SOURCES = ("option", "variable", "file")


def given(source: str, setting: Setting, value: Any) -> tuple[Any, Any, Any]:
    return (
        {setting.key: value} if source == "option" else {},
        {setting.variable: value} if source == "variable" else {},
        {setting.key: value} if source == "file" else {},
    )


def test_all_are_tested() -> None:
    assert set(BY_KEY) == set(GOOD) == set(BAD)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [(key, value, expected) for key in GOOD for value, expected in GOOD[key]],
)
def test_good_value(source: str, key: str, value: Any, expected: Any) -> None:
    setting = BY_KEY[key]
    if source != "file" and not isinstance(value, str):
        value = str(value)
    settings = resolve(*given(source, setting, value))
    assert settings.values[key] == expected
    assert {k for k, v in settings.sources.items() if str(v) != "default"} == {key}
    name = {
        "option": f"option --{key}",
        "variable": f"environment variable {setting.variable}",
        "file": "[tool.poetry-plugin-safe-install] in pyproject.toml",
    }[source]
    assert str(settings.sources[key]) == name


@pytest.mark.parametrize(
    ("source", "key", "value"),
    [
        (source, key, value)
        for source in SOURCES
        for key in BAD
        for value in BAD[key]
        if source == "file" or isinstance(value, str)
        if (source, value) != ("variable", "")
    ],
)
def test_bad_value(source: str, key: str, value: Any) -> None:
    setting = BY_KEY[key]
    with pytest.raises(SettingError) as raised:
        resolve(*given(source, setting, value), "sub/pyproject.toml")
    name = {
        "option": f"option --{key}",
        "variable": setting.variable,
        "file": f"{key} of [tool.poetry-plugin-safe-install] in sub/pyproject.toml",
    }[source]
    assert name in raised.value.text
    assert setting.allowed in raised.value.text


@pytest.mark.parametrize("key", BY_KEY)
def test_empty_variable_is_none(key: str) -> None:
    setting = BY_KEY[key]
    settings = resolve(*given("variable", setting, ""))
    assert settings.values[key] == setting.default
    assert str(settings.sources[key]) == "default"


@pytest.mark.parametrize("key", BY_KEY)
def test_precedence(key: str) -> None:
    """Option, then environment variable, then file, then default."""
    setting = BY_KEY[key]
    values = [value for value in GOOD[key] if isinstance(value[0], str)]
    (first, one), (second, two) = values[0], values[-1]
    assert one != two
    option, variable, file = {key: first}, {setting.variable: second}, {key: first}
    assert resolve(option, variable, {}).values[key] == one
    assert resolve({}, variable, file).values[key] == two
    assert resolve({}, {}, file).values[key] == one
    assert resolve({}, {}, {}).values[key] == setting.default


@pytest.mark.parametrize(
    ("environ", "section", "texts"),
    [
        ({}, {"lock-timeuot": 5}, ['"lock-timeuot"', "mean lock-timeout?", "in py"]),
        ({}, {"lock_scope": "auto"}, ['"lock_scope"', "mean lock-scope?"]),
        ({}, {"xyzzy": 1}, ['"xyzzy"', "Allowed: enabled, on-self-change"]),
        ({}, "on", ["must be a table of settings"]),
        ({}, [], ["must be a table of settings"]),
    ],
)
def test_unknown(environ: Any, section: Any, texts: list[str]) -> None:
    with pytest.raises(SettingError) as raised:
        resolve({}, environ, section)
    for text in texts:
        assert text in raised.value.text


def test_variable_that_only_another_release_knows() -> None:
    environ = {"POETRY_SAFE_INSTALL_LOCKTIMEOUT": "5", "POETRY_SAFE_INSTALL_XYZ": "1"}
    assert resolve({}, environ, {}).lock_timeout == 900
    near, far = unknown_variables(environ)
    assert "LOCKTIMEOUT. Did you mean POETRY_SAFE_INSTALL_LOCK_TIMEOUT? All" in near
    assert "Unknown environment variable POETRY_SAFE_INSTALL_XYZ." in far


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LOCK_TIMOUT", "LOCK_TIMEOUT"),
        ("ONSELFCHANGE", "ON_SELF_CHANGE"),
        ("EVENT", "EVENTS"),
        ("RETRIES", ""),
        ("CACHE_DIR", ""),
        ("VERBOSE", ""),
    ],
)
def test_only_what_is_near_is_suggested(name: str, meant: str) -> None:
    """All variables begin in the same way, which says nothing."""
    prefix = "POETRY_SAFE_INSTALL_"
    [said] = unknown_variables({f"{prefix}{name}": "1"})
    assert f"Did you mean {prefix}{meant}? " in said if meant else "mean" not in said


def test_huge_number_is_a_bad_value() -> None:
    with pytest.raises(SettingError):
        resolve({}, {}, {"lock-timeout": 10**400})


@pytest.mark.parametrize("value", ["false", "0", "No", "off"])
def test_switched_off(value: str) -> None:
    assert is_switched_off({"POETRY_SAFE_INSTALL_ENABLED": value})
    for other in ({}, {"POETRY_SAFE_INSTALL_ENABLED": "perhaps"}):
        assert not is_switched_off(other)
