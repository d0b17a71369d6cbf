"""Own packages: what the running Poetry and its plugins need to go on working.

What is installed is looked at with ``importlib.metadata`` alone; what may happen to it
is a matter of ``judge``, which looks at nothing but its arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field
from enum import Enum
from importlib import metadata
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Collection
    from collections.abc import Iterable
    from collections.abc import Iterator
    from collections.abc import Mapping
    from collections.abc import Sequence

PLUGIN_GROUPS = ("poetry.application.plugin", "poetry.plugin")
"""The entry points by which Poetry finds its plugins."""


@dataclass(frozen=True)
class Requires:
    """What one package, or the project, requires of another.

    ``requirer`` is for people ("poetry 2.5.1"), as is ``text`` ("packaging>=24.2");
    ``accepts`` says whether a version will do.
    """

    requirer: str
    package: str
    text: str
    accepts: Callable[[str], bool] = field(compare=False)
    extras: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.requirer} requires {self.text}"


@dataclass(frozen=True)
class Release:
    """One version of a package, and what it requires here."""

    name: str
    version: str
    requires: tuple[Requires, ...] = ()


@dataclass(frozen=True)
class Change:
    """What an operation would do to an own package.

    ``target`` is none if it removes the package. ``over``: Poetry does not see that it
    is installed, and would write over its files without removing them first.
    """

    package: str
    target: Release | None
    over: bool = False


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


def distributions(paths: Iterable[str]) -> dict[str, metadata.Distribution]:
    """What is installed beneath these entries of ``sys.path``, by canonical name.

    Of two of one name the first counts, as for Python's import.
    """
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions(path=list(paths)):
        name: str | None = distribution.metadata["Name"]
        if name:
            found.setdefault(canonicalize_name(name), distribution)
    return found


def requirements(
    distribution: metadata.Distribution, extras: Iterable[str] = ()
) -> list[Requirement]:
    """What a distribution requires here, with these of its extras."""
    found = []
    for text in distribution.requires or []:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if marker is None or any(
            marker.evaluate({"extra": extra}) for extra in ("", *extras)
        ):
            found.append(requirement)
    return found


def closure(
    roots: Iterable[str], installed: Mapping[str, metadata.Distribution]
) -> set[str]:
    """The names of the roots and of all they require, one of another."""
    return set(own_releases(roots, installed))


def own_releases(
    roots: Iterable[str], installed: Mapping[str, metadata.Distribution]
) -> dict[str, Release]:
    """The roots and all they require, one of another, as installed."""
    extras: dict[str, frozenset[str]] = {}
    waiting = [(canonicalize_name(root), frozenset[str]()) for root in roots]
    found: dict[str, Release] = {}
    while waiting:
        name, wanted = waiting.pop()
        if name not in installed or (name in found and wanted <= extras[name]):
            continue
        extras[name] = extras.get(name, frozenset()) | wanted
        found[name] = _release(name, installed[name], extras[name])
        waiting += [
            (canonicalize_name(requires.package), requires.extras)
            for requires in found[name].requires
        ]
    return found


def _release(
    name: str, distribution: metadata.Distribution, extras: Iterable[str]
) -> Release:
    return Release(
        name,
        distribution.version,
        tuple(
            _requires(f"{name} {distribution.version}", requirement)
            for requirement in requirements(distribution, extras)
        ),
    )


def _requires(requirer: str, requirement: Requirement) -> Requires:
    return Requires(
        requirer,
        canonicalize_name(requirement.name),
        f"{requirement.name}{requirement.specifier}",
        lambda version: requirement.specifier.contains(version, prereleases=True),
        frozenset(requirement.extras),
    )


def poetry_and_plugins(
    installed: Mapping[str, metadata.Distribution],
) -> set[str]:
    """The names of Poetry and of every plugin that it finds."""
    return {"poetry"} | {
        name
        for name, distribution in installed.items()
        if any(entry.group in PLUGIN_GROUPS for entry in distribution.entry_points)
    }


def unmet(
    names: Iterable[str], installed: Mapping[str, metadata.Distribution]
) -> list[Requirement]:
    """What these distributions require and what is installed does not satisfy."""
    return [
        requirement
        for name in names
        for requirement in requirements(installed[name])
        if (distribution := installed.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(distribution.version, prereleases=True)
    ]
