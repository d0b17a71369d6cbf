"""How findings and settings are shown: a table for people, JSON for programs."""

from __future__ import annotations

import json
import os
import textwrap

from dataclasses import asdict
from typing import TYPE_CHECKING
from typing import Any

from cleo.formatters.formatter import Formatter

from poetry_plugin_safe_install.check.topics import Level
from poetry_plugin_safe_install.check.topics import is_refused
from poetry_plugin_safe_install.settings import SETTINGS


if TYPE_CHECKING:
    from collections.abc import Sequence

    from cleo.io.io import IO

    from poetry_plugin_safe_install.check.topics import Finding
    from poetry_plugin_safe_install.settings import Settings

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
        "findings": found,
    }
    return json.dumps(whole, indent=2)


def write_table(io: IO, about: dict[str, str], findings: Sequence[Finding]) -> None:
    """A row per finding, a remedy beneath each risk, and the sum of it all."""
    io.write_line(
        f"<c1>{Formatter.escape(about['project'])}</c1>\n"
        f"Poetry <c2>{about['poetry']}</c2> on Python <c2>{about['python']}</c2>\n"
    )
    level_width = max(len(level.value) for level in Level)
    topic_width = max(len(finding.topic) for finding in findings)
    margin = level_width + topic_width + 4
    width = _columns(io)
    for finding in findings:
        style = _STYLES[finding.level]
        level = f"{finding.level.value:{level_width}}"
        rows = _rows(finding.text, width - margin)
        start = f"<{style}>{level}</>  <c1>{finding.topic:{topic_width}}</c1>"
        io.write_line(f"{start}  {rows[0]}")
        rest = [*rows[1:]]
        if finding.remedy:
            rest += _rows(f"Remedy: {finding.remedy}", width - margin)
        if io.is_verbose():
            rest += finding.details
        for row in rest:
            io.write_line(f"{'':{margin}}{row}")
    io.write_line(f"\n{_sum(findings)}")


def write_settings(io: IO, settings: Settings) -> None:
    """Each setting's value and where it came from."""
    rows = [
        (
            setting.key,
            _shown(settings.values[setting.key]),
            settings.sources[setting.key],
        )
        for setting in SETTINGS
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for key, value, source in rows:
        io.write_line(
            f"<c1>{key:{widths[0]}}</c1>  <c2>{value:{widths[1]}}</c2>"
            f"  {Formatter.escape(source)}"
        )


def _sum(findings: Sequence[Finding]) -> str:
    risks = sum(finding.level is Level.RISK for finding in findings)
    also = f"{risks or 'no'} risk{'' if risks == 1 else 's'}"
    if is_refused(list(findings)):
        return f"<error>An install would be refused</error>; {also}."
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
