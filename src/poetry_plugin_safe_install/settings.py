"""The settings: their names, what they allow, and where each value comes from.

``read_project_file`` reads what the protection needs of pyproject.toml before Poetry does.
"""

from __future__ import annotations

import math
import os

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.command_line import parse_toml
from poetry_plugin_safe_install.errors import SettingError


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Mapping

    from poetry_plugin_safe_install.compat.command_line import StartingCommand

SECTION = "poetry-plugin-safe-install"
ENVIRONMENT_PREFIX = "POETRY_SAFE_INSTALL_"

EVENTS_VARIABLE = "POETRY_SAFE_INSTALL_EVENTS"
"""No setting: it names a file of the one who started the command. See ``events``."""

DEFAULT_LOCK_TIMEOUT = 900.0


DEFAULT = "default"
"""Where a value that nobody set comes from."""


class Setting:
    """One setting."""

    def __init__(
        self,
        key: str,
        default: Any,
        allowed: str,
        choices: str,
        parse: Callable[[Any], Any],
        help: str,
    ) -> None:
        """
        :param allowed: what ``parse`` accepts, to complete "must be …".
        :param choices: the same in the short form of help texts.
        :param parse: turns what the user wrote into a value or raises ``ValueError``.
        """
        self.key = key
        self.default = default
        self.allowed = allowed
        self.choices = choices
        self.parse = parse
        self.help = help

    @property
    def variable(self) -> str:
        return ENVIRONMENT_PREFIX + self.key.upper().replace("-", "_")


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise ValueError

    return parse


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        lowered = value.strip().lower()
        if lowered in {"true", "1", "yes", "on"}:
            return True
        if lowered in {"false", "0", "no", "off"}:
            return False
    raise ValueError


def _seconds(value: Any) -> float | None:
    if value == "none":
        return None
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            raise ValueError from None
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    raise ValueError


def _choice(key: str, default: str, others: tuple[str, ...], help: str) -> Setting:
    choices = (default, *others)
    allowed = "one of " + ", ".join(f'"{choice}"' for choice in choices)
    return Setting(key, default, allowed, "|".join(choices), _one_of(*choices), help)


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "enabled",
        True,
        "true or false",
        "true|false",
        _boolean,
        "Whether commands are protected at all.",
    ),
    _choice(
        "on-self-change",
        "refuse",
        ("pin", "strict", "allow"),
        "What to do when a command would damage the Poetry that runs it.",
    ),
    _choice(
        "externally-managed",
        "warn",
        ("refuse", "allow"),
        "What to do when the target is a Python that the system manages (PEP 668).",
    ),
    Setting(
        "lock-timeout",
        DEFAULT_LOCK_TIMEOUT,
        'a number of seconds (0: do not wait) or "none" (no limit)',
        "SECONDS|none",
        _seconds,
        "How long to wait for a lock; 0: not at all, none: no limit.",
    ),
    _choice(
        "lock-scope",
        "auto",
        ("command", "phase"),
        "Whether an install keeps the project to itself for the whole command.",
    ),
    _choice(
        "lock-backend",
        "auto",
        ("native", "soft"),
        "How locks are held: by the kernel, or by marker files.",
    ),
    _choice(
        "always-copy",
        "auto",
        ("always", "never"),
        "Whether isolated build environments copy the interpreter.",
    ),
    _choice(
        "plugin-copies",
        "auto",
        ("never",),
        "Whether the project's plugins are taken from copies in the user's cache.",
    ),
)

_BY_KEY = {setting.key: setting for setting in SETTINGS}


class Settings:
    """Every setting's value, each with its source."""

    def __init__(self, values: Mapping[str, Any], sources: Mapping[str, str]) -> None:
        """
        :param sources: where each was set, in words for an error or a table.
        """
        self.values = values
        self.sources = sources

    @property
    def enabled(self) -> bool:
        return bool(self.values["enabled"])

    @property
    def on_self_change(self) -> str:
        return str(self.values["on-self-change"])

    @property
    def externally_managed(self) -> str:
        return str(self.values["externally-managed"])

    @property
    def lock_timeout(self) -> float | None:
        """Seconds, ``None`` without limit."""
        timeout: float | None = self.values["lock-timeout"]
        return timeout

    @property
    def lock_scope(self) -> str:
        return str(self.values["lock-scope"])

    @property
    def lock_backend(self) -> str:
        return str(self.values["lock-backend"])

    @property
    def always_copy(self) -> str:
        return str(self.values["always-copy"])

    @property
    def plugin_copies(self) -> str:
        return str(self.values["plugin-copies"])


def resolve(
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    section: Any,
    file_name: str = "pyproject.toml",
) -> Settings:
    """Settle every setting: option, then environment variable, then file, then default.

    :param options: values given on the command line, by key.
    :param environ: the environment variables of the process.
    :param section: what ``[tool.poetry-plugin-safe-install]`` holds in
        ``file_name``.
    :raises SettingError: for an unknown key of the file or a value that is not allowed;
        the message names the option, variable or file.
    """
    table = f"[tool.{SECTION}] in {file_name}"
    _refuse_unknown(section, table)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        key = setting.key
        found = _given(setting, options, environ, section, table)
        if found is None:
            values[key], sources[key] = setting.default, DEFAULT
            continue
        given, sources[key] = found
        try:
            values[key] = setting.parse(given)
        except ValueError:
            place = sources[key]
            place = f"setting {key} of {table}" if place == table else place
            raise SettingError(
                f"The {place} must be {setting.allowed}, but is {_shown(given)}."
            ) from None
    return Settings(values, sources)


def _refuse_unknown(section: Any, table: str) -> None:
    if not isinstance(section, dict):
        raise SettingError(f"{table} must be a table of settings.")
    for key in section:
        if key not in _BY_KEY:
            raise _unknown(f'Unknown setting "{key}" of {table}.', key, list(_BY_KEY))


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A warning for each: a newer release may know it, which others here use."""
    variables = [*(setting.variable for setting in SETTINGS), EVENTS_VARIABLE]
    return [
        f"Unknown environment variable {name}{_hint(name, variables)}"
        for name in environ
        if name.startswith(ENVIRONMENT_PREFIX) and name not in variables
    ]


def is_switched_off(environ: Mapping[str, str]) -> bool:
    """Whether a variable says so: whatever else is set wrong does not matter then."""
    try:
        return not _boolean(environ.get(_BY_KEY["enabled"].variable, "true"))
    except ValueError:
        return False


def _given(
    setting: Setting,
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    section: Mapping[str, Any],
    table: str,
) -> tuple[Any, str] | None:
    """What was set, and where; the first one that is set wins."""
    if options.get(setting.key) is not None:
        return options[setting.key], f"option --{setting.key}"
    if environ.get(setting.variable):
        source = f"environment variable {setting.variable}"
        return environ[setting.variable], source
    if setting.key in section:
        return section[setting.key], table
    return None


def settings_of(command: StartingCommand) -> Settings:
    """The settings of a command, from its options, the environment and its project.

    As they are when it starts: each part of its protection asks.

    :raises SettingError: as ``resolve`` does.
    """
    return command.once(_settings_of)


def _settings_of(command: StartingCommand) -> Settings:
    options, project = {}, command.project
    if command.words[0] == "safe-install":
        options = {setting.key: command.option(setting.key) for setting in SETTINGS}
    if project is None:
        return resolve(options, os.environ, {})
    section = read_project_file(project).section
    return resolve(options, os.environ, section, shown_path(project))


def settings_or_default(command: StartingCommand) -> Settings:
    """The same, for what leaves it to others to tell of settings that are wrong."""
    try:
        return settings_of(command)
    except SettingError:
        return resolve({}, {}, {})


class ProjectFile:
    """The sections that concern this plugin."""

    def __init__(
        self, requires_plugins: dict[str, Any] | None, section: Any, sources: Any = None
    ) -> None:
        """
        :param requires_plugins: ``None`` where the file cannot be read or makes no
            sense: then Poetry will say so in its own words.
        :param sources: where Poetry looks for packages, in this order.
        """
        self.requires_plugins = requires_plugins
        self.section = section
        self.sources = sources


UNREADABLE = ProjectFile(None, {})


def shown_path(path: Path) -> str:
    """How a person here would name this file."""
    here = Path.cwd()
    return str(path.relative_to(here) if here in path.parents else path)


def read_project_file(path: Path) -> ProjectFile:
    try:
        return _parsed(path.read_bytes())
    except (OSError, ValueError):
        return UNREADABLE


@lru_cache(maxsize=1)
def _parsed(content: bytes) -> ProjectFile:
    """A command reads the file again after every wait; usually it is the same."""
    tool = parse_toml(content.decode()).get("tool", {})
    if not isinstance(tool, dict) or not isinstance(tool.get("poetry", {}), dict):
        return UNREADABLE
    poetry = tool.get("poetry", {})
    requires_plugins = poetry.get("requires-plugins", {})
    if not isinstance(requires_plugins, dict):
        requires_plugins = None
    return ProjectFile(requires_plugins, tool.get(SECTION, {}), poetry.get("source"))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _unknown(message: str, name: str, known: list[str]) -> SettingError:
    return SettingError(f"{message[:-1]}{_hint(name, known)}")


def _hint(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    # How all variables begin would make all of them near.
    rests = {one.removeprefix(ENVIRONMENT_PREFIX): one for one in known}
    near = get_close_matches(name.removeprefix(ENVIRONMENT_PREFIX), rests, n=1)
    hint = f" Did you mean {rests[near[0]]}?" if near else ""
    return f".{hint} Allowed: {', '.join(known)}."
