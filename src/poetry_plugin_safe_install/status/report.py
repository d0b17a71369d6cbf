"""How the status is shown: paragraphs for people, JSON for programs."""

from __future__ import annotations

import json
import time

from dataclasses import asdict
from typing import TYPE_CHECKING

from cleo.formatters.formatter import Formatter

from poetry_plugin_safe_install.check.plugin_sets import DAY
from poetry_plugin_safe_install.check.plugin_sets import ago


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Sequence

    from cleo.io.io import IO

    from poetry_plugin_safe_install.status.look import HeldNow
    from poetry_plugin_safe_install.status.look import Kept
    from poetry_plugin_safe_install.status.look import Left
    from poetry_plugin_safe_install.status.look import Status
    from poetry_plugin_safe_install.status.prune import Removed

JSON_VERSION = 1
"""Raised when a field of the JSON is removed or changes its meaning."""

NAMES = {
    "plugin-set": "plugin set",
    "plugin-copy": "copy of a plugin set",
    "store": "locks and plugin sets of another project",
    "staging": "plugin set that was not finished",
    "record": "record of a command that had a lock or waited for it",
    "removed-environment": "environment that was being removed",
    "files": "poetry.lock without its pyproject.toml",
    "environment": "environment that was not finished",
    "package": "package that was not finished",
}


def as_json(
    about: dict[str, str], status: Status, removed: Sequence[Removed] | None
) -> str:
    """The status as one JSON object, described in docs/status.schema.json.

    :param about: versions of what takes part, and the project's directory.
    :param removed: what ``--prune`` has removed; ``None`` without it.
    """
    gone = None if removed is None else [asdict(one) for one in removed]
    return json.dumps(
        {"version": JSON_VERSION, **about, **asdict(status), "removed": gone}, indent=2
    )


def write_status(
    io: IO, about: dict[str, str], status: Status, removed: Sequence[Removed] | None
) -> None:
    """What was removed, if that was asked for, and what there is now."""
    io.write_line(
        f"<c1>{Formatter.escape(about['project'] or 'No project here')}</c1>\n"
        f"Poetry <c2>{about['poetry']}</c2> on Python <c2>{about['python']}</c2>"
    )
    if removed is not None:
        gone = (f"{NAMES[one.kind]} {one.path} ({_size(one.bytes)})" for one in removed)
        _write(io, "Removed", gone)
    if status.store:
        title = f"Kept for this project, in {status.store}"
        if status.lock_directory != status.store:
            title += f" (locks in {status.lock_directory})"
        _write(io, title, map(_kept, status.project_kept))
    _write(
        io,
        f"Kept on this machine, in {status.machine}",
        map(_kept, status.machine_kept),
    )
    _write(io, "Held now", (row for lock in status.locks for row in _held(lock)))
    _write(io, "Left by killed commands", map(_left, status.left))


def _write(io: IO, title: str, rows: Iterable[str]) -> None:
    io.write_line(f"\n<info>{Formatter.escape(title)}</info>")
    for row in [*rows] or ["nothing"]:
        io.write_line(f"  {Formatter.escape(row)}")


def _kept(kept: Kept) -> str:
    days = max(0, int((time.time() - kept.last_used) // DAY))
    words = [_size(kept.bytes), f"used {ago(days)}" if kept.last_used else "damaged"]
    if kept.requires:
        words.append(", ".join(kept.requires))
    if kept.unused:
        words.append("--prune removes it")
    return f"{NAMES[kept.kind]} {kept.path} ({'; '.join(words)})"


def _held(lock: HeldNow) -> Iterable[str]:
    for holder in lock.holders:
        yield f"{lock.guards}: {holder.mode}, {holder.shown}"
    for waiter in lock.waiters:
        yield f"{lock.guards}: awaited, {waiter.shown}"


def _left(left: Left) -> str:
    what = f"{NAMES[left.kind]}: {left.package or left.path}"
    by = {"prune": "--prune removes it", "install": "poetry install repairs it"}
    return f"{what} ({by[left.removed_by]})"


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
