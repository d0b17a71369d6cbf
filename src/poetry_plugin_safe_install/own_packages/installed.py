"""What is installed, as ``importlib.metadata`` has it, and what of that is Poetry's own."""

from __future__ import annotations

import json
import os

from functools import cached_property
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from poetry_plugin_safe_install.releases import PLUGIN_GROUPS
from poetry_plugin_safe_install.releases import Release
from poetry_plugin_safe_install.releases import Requires


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping


class OwnPackages:
    """What the running Poetry and its plugins need, as it is installed."""

    def __init__(self, paths: Iterable[str]) -> None:
        """
        :param paths: those of ``sys.path``.
        """
        self.installed = distributions(paths)
        self.roots = poetry_and_plugins(self.installed)
        self.releases = own_releases(self.roots, self.installed)

    @cached_property
    def owners(self) -> dict[str, str]:
        """The own package that each file belongs to, by its ``RECORD``."""
        return {
            real(str(file.locate())): name
            for name in self.releases
            for file in self.installed[name].files or []
            if file.suffix != ".pyc"
        }

    @cached_property
    def others(self) -> dict[str, Release]:
        """All else that is installed."""
        return {
            name: _release(name, distribution, ())
            for name, distribution in self.installed.items()
            if name not in self.releases
        }

    @cached_property
    def origins(self) -> dict[str, str]:
        """Where they come from, if not from an index: ``direct_url.json`` (PEP 610)."""
        found = {}
        for name in self.releases:
            if text := self.installed[name].read_text("direct_url.json"):
                found[name] = str(json.loads(text).get("url", ""))
        return found


def real(path: str) -> str:
    """One path for one file, the last link of it not followed."""
    directory, name = os.path.split(os.path.normpath(path))
    return os.path.normcase(os.path.join(_real_directory(directory), name))


@lru_cache(maxsize=4096)
def _real_directory(path: str) -> str:
    return os.path.realpath(path)


def distributions(paths: Iterable[str]) -> dict[str, metadata.Distribution]:
    """What is installed in these entries of ``sys.path``, by canonical name.

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
