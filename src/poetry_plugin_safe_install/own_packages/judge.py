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
    from collections.abc import Mapping
    from collections.abc import Sequence

    from poetry_plugin_safe_install.releases import Change
    from poetry_plugin_safe_install.releases import Release
    from poetry_plugin_safe_install.releases import Requires
    from poetry_plugin_safe_install.releases import Root


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
    ``requirers`` says for each requirement of Poetry's own who makes it; ``reason``
    names the one that is violated.
    """

    package: str
    installed: str
    locked: str | None
    action: Action
    requirers: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Installed:
    """What is there before the operations.

    ``own`` are Poetry's own packages, ``roots`` those for the sake of which the others
    are installed, ``others`` whatever else there will be afterwards.
    """

    own: Mapping[str, Release]
    roots: Collection[str]
    others: Mapping[str, Release]

    def after(
        self, changes: Sequence[Change], left: Collection[str]
    ) -> dict[str, Release]:
        """What is installed when the changes are made, but for those of ``left``."""
        releases = {**self.others, **self.own}
        for change in changes:
            if change.package in left:
                continue
            if change.target:
                releases[change.package] = change.target
            else:
                releases.pop(change.package, None)
        return releases


def judge(
    changes: Sequence[Change], found: Installed, locked: Sequence[Requires], mode: str
) -> list[Verdict]:
    """What to do about each operation on an own package.

    A change counts with what its new release requires, so that Poetry and all it needs
    can be changed together. Whether it goes up or down does not matter, unless the mode
    is "strict".

    :param changes: of own packages only.
    :param locked: every requirement of the project and its lock file.
    :param mode: the setting ``on-self-change``.
    """
    harm = _harm(changes, found, mode)
    return [
        _verdict(change, found.own, locked, mode, harm)
        for change in sorted(changes, key=lambda change: change.package)
    ]


def judge_root(
    root: Root, own: Mapping[str, Release], origins: Mapping[str, str], mode: str
) -> list[Verdict]:
    """What to do about the project if it is named like an own package.

    A plugin, or Poetry, may be developed in the environment that it is installed in.

    :param origins: where each own package was installed from, if not from an index.
    """
    if (
        root.name not in own
        or root.is_plugin
        or origins.get(root.name, "") == root.origin
    ):
        return []
    return [_foreign(own[root.name], own, mode, "replaced by the project of that name")]


def judge_written(
    writer: str,
    files: Iterable[str],
    owners: Mapping[str, str],
    own: Mapping[str, Release],
    mode: str,
) -> list[Verdict]:
    """What to do about files that would be written over those of own packages.

    :param writer: what they belong to: a package or the project, for people.
    :param owners: the own package that each file belongs to now.
    """
    written: dict[str, list[str]] = {}
    for file in files:
        if owner := owners.get(file):
            written.setdefault(owner, []).append(file)
    verdicts = []
    for owner, taken in sorted(written.items()):
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        reason = f"written over by {writer}: {taken[0]}{more}"
        verdicts.append(_foreign(own[owner], own, mode, reason))
    return verdicts


def _foreign(
    release: Release, own: Mapping[str, Release], mode: str, reason: str
) -> Verdict:
    """Something else would take the place of an own package: nothing can be skipped."""
    return Verdict(
        release.name,
        release.version,
        release.version,
        Action.DO if mode == "allow" else Action.STOP,
        _requirers(release.name, own),
        reason,
    )


def _requirers(name: str, own: Mapping[str, Release]) -> tuple[str, ...]:
    return tuple(
        str(requires)
        for _, release in sorted(own.items())
        for requires in release.requires
        if requires.package == name
    )


def _harm(changes: Sequence[Change], found: Installed, mode: str) -> dict[str, str]:
    """Which changes do harm, and what harm.

    With "pin" those that do harm are not made, and what follows from that counts too.
    Otherwise all are made or none, and each is judged as if all others were made.
    """
    harm: dict[str, str] = {}
    while True:
        after = found.after(changes, harm if mode == "pin" else ())
        needed = _needed(found.roots, after)
        new = {
            change.package: reason
            for change in changes
            if change.package not in harm
            and (reason := _harm_of(change, changes, found, needed, after, mode))
        }
        harm |= new
        if mode != "pin" or not new:
            return harm


def _needed(
    roots: Iterable[str], releases: Mapping[str, Release]
) -> dict[str, Release]:
    """The roots and all that they require, one of another."""
    waiting = [*roots]
    needed: dict[str, Release] = {}
    while waiting:
        name = waiting.pop()
        if name not in needed and name in releases:
            needed[name] = releases[name]
            waiting += [requires.package for requires in releases[name].requires]
    return needed


def _harm_of(
    change: Change,
    changes: Sequence[Change],
    found: Installed,
    needed: Mapping[str, Release],
    after: Mapping[str, Release],
    mode: str,
) -> str:
    required = [
        requires
        for _, release in sorted(needed.items())
        for requires in release.requires
        if requires.package == change.package
    ]
    if change.target is None:
        if change.package in found.roots:
            return "removed"
        return f"removed, but {required[0]}" if required else ""
    before, version = found.own[change.package].version, change.target.version
    if change.over and Version(version) != Version(before):
        return "written over"
    if change.source and Version(version) == Version(before):
        return f"replaced by the same version from {change.source}"
    refused = [requires for requires in required if not requires.accepts(version)]
    if refused:
        return f"changed, but {refused[0]}"
    if mode == "strict" and Version(version) < Version(before):
        return "downgraded"
    if change.package not in needed:
        return ""
    return _unmet(change.target, changes, after)


def _unmet(
    release: Release, changes: Sequence[Change], after: Mapping[str, Release]
) -> str:
    """What a new release requires and does not find.

    What is changed itself is judged by that: here are only those that stay.
    """
    changed = {change.package for change in changes}
    for requires in release.requires:
        other = after.get(requires.package)
        if other is None and requires.package not in changed:
            return f"changed, but {requires}, which is not installed"
        if other and other.name not in changed and not requires.accepts(other.version):
            return f"changed, but {requires}, and {other.version} is installed"
    return ""


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
    elif reason and mode != "pin":
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
        _requirers(name, own),
        reason,
    )
