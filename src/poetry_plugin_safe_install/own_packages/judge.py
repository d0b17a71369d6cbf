"""What may happen to the packages that the running Poetry and its plugins need.

A decision by its arguments alone: nothing is looked at here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from packaging.version import Version


if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Iterable
    from collections.abc import Iterator
    from collections.abc import Mapping
    from collections.abc import Sequence

    from poetry_plugin_safe_install.releases import Change
    from poetry_plugin_safe_install.releases import Release
    from poetry_plugin_safe_install.releases import Requires


class Action(Enum):
    """What is done about an operation on an own package."""

    STOP = "stop"
    """Nothing at all is done: the command is refused."""
    KEEP = "keep"
    """The operation is skipped, and the package stays as it is."""
    LAST = "last"
    """It does no harm, and is done after all else."""
    DO = "do"
    """It does harm, and is done all the same, after all else."""


@dataclass(frozen=True)
class Verdict:
    """What is done about one operation, and why.

    ``locked`` is the version that the operation would bring, none for a removal.
    ``requirers`` says for each requirement of Poetry's own who makes it.
    """

    package: str
    installed: str
    locked: str | None
    action: Action
    requirers: tuple[str, ...]
    reason: str


def judge(
    changes: Sequence[Change],
    own: Mapping[str, Release],
    roots: Collection[str],
    locked: Sequence[Requires],
    mode: str,
) -> list[Verdict]:
    """What to do about each operation on an own package.

    What is upgraded counts with what its new release requires, so that Poetry and
    all it needs can be upgraded together.

    :param own: Poetry's own packages as installed, each of ``changes`` among them.
    :param roots: those for the sake of which the others are installed.
    :param locked: every requirement of the project and its lock file.
    :param mode: the setting ``on-self-change``.
    """
    harm = _harm(changes, own, roots, alone=mode == "allow")
    return [
        _verdict(change, own, locked, mode, harm)
        for change in sorted(changes, key=lambda change: change.package)
    ]


def _harm(
    changes: Sequence[Change],
    own: Mapping[str, Release],
    roots: Collection[str],
    *,
    alone: bool,
) -> dict[str, str]:
    """Which changes do harm, and what harm.

    :param alone: judge every change as if all others were made; else those that do
        harm are taken for not made, and what follows from that counts too.
    """
    harm: dict[str, str] = {}
    while True:
        after = {**own}
        for change in changes:
            if change.target and change.package not in harm:
                after[change.package] = change.target
        needs = list(_needs(roots, after))
        found = {
            change.package: reason
            for change in changes
            if change.package not in harm
            and (reason := _harm_of(change, own, roots, needs))
        }
        harm |= found
        if alone or not found:
            return harm


def _needs(roots: Iterable[str], releases: Mapping[str, Release]) -> Iterator[Requires]:
    """All that is required for the sake of the roots."""
    waiting = [*roots]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in releases:
            continue
        seen.add(name)
        yield from releases[name].requires
        waiting += [requires.package for requires in releases[name].requires]


def _harm_of(
    change: Change,
    own: Mapping[str, Release],
    roots: Collection[str],
    needs: Sequence[Requires],
) -> str:
    mine = [requires for requires in needs if requires.package == change.package]
    if change.target is None:
        if change.package in roots or mine:
            return "removed"
        return ""
    version = change.target.version
    if Version(version) < Version(own[change.package].version):
        return "downgraded"
    if change.over and Version(version) != Version(own[change.package].version):
        return "written over"
    refused = [str(requires) for requires in mine if not requires.accepts(version)]
    return f"changed, but {refused[0]}" if refused else ""


def _verdict(
    change: Change,
    own: Mapping[str, Release],
    locked: Sequence[Requires],
    mode: str,
    harm: Mapping[str, str],
) -> Verdict:
    name, installed = change.package, own[change.package].version
    reason = harm.get(name, "")
    action = Action.LAST
    if reason and mode == "allow":
        action = Action.DO
    elif reason and mode == "refuse":
        action = Action.STOP
    elif reason:
        against = [
            requires
            for requires in locked
            if requires.package == name and not requires.accepts(installed)
        ]
        action = Action.STOP if against else Action.KEEP
        if against:
            reason += f"; cannot stay at {installed}: {against[0]}"
    return Verdict(
        name,
        installed,
        change.target.version if change.target else None,
        action,
        tuple(
            str(requires)
            for _, release in sorted(own.items())
            for requires in release.requires
            if requires.package == name
        ),
        reason,
    )
