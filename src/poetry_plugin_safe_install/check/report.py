"""How findings and settings are shown: a table for people, JSON for programs."""

from __future__ import annotations

import json
import os
import textwrap

from dataclasses import asdict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

from cleo.formatters.formatter import Formatter

from poetry_plugin_safe_install.check.finding import Level
from poetry_plugin_safe_install.check.topics import is_refused
from poetry_plugin_safe_install.errors import SettingError
from poetry_plugin_safe_install.settings import SETTINGS
from poetry_plugin_safe_install.settings import resolve


if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence

    from cleo.io.io import IO

    from poetry_plugin_safe_install.check.finding import Finding

JSON_VERSION = 1
"""Raised when a field of the JSON is removed or changes its meaning."""

_STYLES = {
    Level.OK: "success",
    Level.NOTE: "info",
    Level.RISK: "warning",
    Level.REFUSED: "error",
}


def as_json(about: dict[str, str], findings: Sequence[Finding]) -> str:
    """The findings as one JSON object, described in docs/check.schema.json.

    :param about: versions of what takes part, and the project's directory.
    """
    found = [
        {
            "topic": finding.topic.replace(" ", "-"),
            "level": finding.level.value,
            "text": finding.text,
            "remedy": finding.remedy or None,
            "facts": asdict(finding.facts),
        }
        for finding in findings
    ]
    whole = {
        "version": JSON_VERSION,
        **about,
        "refused": is_refused(list(findings)),
        "known": not why_not_known(findings),
        "findings": found,
    }
    return json.dumps(whole, indent=2)


def write_table(io: IO, about: dict[str, str], findings: Sequence[Finding]) -> None:
    """A row per finding, a remedy under each risk, and the sum of it all."""
    project = Formatter.escape(_encodable(about["project"], io))
    io.write_line(
        f"<c1>{project}</c1>\n"
        f"Poetry <c2>{about['poetry']}</c2> on Python <c2>{about['python']}</c2>\n"
    )
    level_width = max(len(level.value) for level in Level)
    topic_width = max(len(finding.topic) for finding in findings)
    margin = level_width + topic_width + 4
    width = _columns(io)
    for finding in findings:
        style = _STYLES[finding.level]
        level = f"{finding.level.value:{level_width}}"
        rows = _rows(_encodable(finding.text, io), width - margin)
        start = f"<{style}>{level}</>  <c1>{finding.topic:{topic_width}}</c1>"
        io.write_line(f"{start}  {rows[0]}")
        rest = [*rows[1:]]
        if finding.remedy:
            rest += _rows(f"Remedy: {finding.remedy}", width - margin)
        if io.is_verbose():
            rest += finding.details
        for row in rest:
            io.write_line(f"{'':{margin}}{row}")
    io.write_line(f"\n{_encodable(_sum(findings), io)}")


def _encodable(text: str, io: IO) -> str:
    """With escapes in the place of what the stream has no encoding for."""
    stream = getattr(io.output, "stream", None)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding, getattr(stream, "errors", None) or "strict")
    except UnicodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


@dataclass(frozen=True)
class ShownSetting:
    """A setting as ``--show-config`` shows it; ``error`` says what is wrong with it."""

    key: str
    value: Any
    source: str
    error: str


def shown_settings(
    options: Mapping[str, Any], environ: Mapping[str, str], section: Any, file: str
) -> list[ShownSetting]:
    """Each setting by itself, so that a bad one does not hide the others.

    The arguments are those of ``settings.resolve``.
    """
    rows = []
    for setting in SETTINGS:
        mine = {setting.key: options.get(setting.key)}
        variables = {
            name: value for name, value in environ.items() if name == setting.variable
        }
        keys = section if isinstance(section, dict) else {}
        keys = {key: value for key, value in keys.items() if key == setting.key}
        try:
            found = resolve(mine, variables, keys, file)
        except SettingError as error:
            rows.append(ShownSetting(setting.key, None, "", error.text))
        else:
            value, source = found.values[setting.key], found.sources[setting.key]
            rows.append(ShownSetting(setting.key, value, source, ""))
    return rows


def settings_as_json(rows: Sequence[ShownSetting], failure: str) -> str:
    """
    :param failure: what is wrong with the settings as a whole, if anything is.
    """
    found = [{**asdict(row), "error": row.error or None} for row in rows]
    whole = {"version": JSON_VERSION, "error": failure or None, "settings": found}
    return json.dumps(whole, indent=2)


def write_settings(io: IO, rows: Sequence[ShownSetting], failure: str) -> None:
    """Each setting's value and where it came from, or what is wrong with it."""
    shown = [_shown(row.value) for row in rows]
    key_width = max(len(row.key) for row in rows)
    width = max(map(len, shown))
    for row, value in zip(rows, shown, strict=True):
        start = f"<c1>{row.key:{key_width}}</c1>  "
        if row.error:
            io.write_line(f"{start}<error>bad</error>: {Formatter.escape(row.error)}")
        else:
            source = Formatter.escape(row.source)
            io.write_line(f"{start}<c2>{value:{width}}</c2>  {source}")
    if failure and not any(row.error for row in rows):
        io.write_line(f"\n<error>{Formatter.escape(failure)}</error>")


def why_not_known(all_findings: Sequence[Finding]) -> str:
    """Why it cannot be said whether an install would be refused; empty if it can."""
    if is_refused(list(all_findings)):
        return ""
    unknown = (getattr(finding.facts, "unknown", "") for finding in all_findings)
    return next(filter(None, unknown), "")


def _sum(findings: Sequence[Finding]) -> str:
    risks = sum(finding.level is Level.RISK for finding in findings)
    also = f"{risks or 'no'} risk{'' if risks == 1 else 's'}"
    if is_refused(list(findings)):
        return f"<error>An install would be refused</error>; {also}."
    if unknown := why_not_known(findings):
        text = f"Not known whether an install would be refused: {unknown}"
        return f"<warning>{Formatter.escape(text)}</warning>; {also}."
    style = "warning" if risks else "success"
    return f"<{style}>An install would not be refused</>; {also}."


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rows(text: str, width: int) -> list[str]:
    rows = textwrap.wrap(
        text, max(width, 40), break_long_words=False, break_on_hyphens=False
    )
    return [Formatter.escape(row) for row in rows]


def _columns(io: IO) -> int:
    """The width of the terminal; without one, nothing is wrapped."""
    try:
        return os.get_terminal_size(io.output.stream.fileno()).columns  # type: ignore[attr-defined]
    except (OSError, ValueError, AttributeError):
        return 100_000
