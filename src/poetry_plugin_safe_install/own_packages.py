"""Own packages: what the running Poetry and its plugins need to go on working."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping


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
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(canonicalize_name(root), frozenset[str]()) for root in roots]
    while waiting:
        item = waiting.pop()
        name, extras = item
        if item in seen or name not in installed:
            continue
        seen.add(item)
        found.add(name)
        waiting += [
            (canonicalize_name(requirement.name), frozenset(requirement.extras))
            for requirement in requirements(installed[name], extras)
        ]
    return found


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
