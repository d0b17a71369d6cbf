"""What is installed beside Poetry, without asking an index for it.

Poetry has its resolver choose the project's plugins beside all that is installed in its
own environment, each pinned to its version (``ProjectPluginCache._install``). It then asks
the index for every one of them: for a page, and for the metadata that lie on this disk.
"""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import distributions
from typing import TYPE_CHECKING
from typing import Any

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.utils import NormalizedName
    from poetry.core.packages.dependency import Dependency
    from poetry.core.packages.package import Package
    from poetry.repositories import RepositoryPool


POOL = Internals("where packages are looked for")


@POOL.uses(
    "poetry.repositories.repository_pool",
    "RepositoryPool.find_packages",
    "RepositoryPool.package",
)
def installed_first(
    pool: RepositoryPool, installed: Iterable[Package], path: list[str]
) -> RepositoryPool:
    """The same pool, but for what is installed.

    :param installed: packages that cannot be had in any other version.
    :param path: the entries of ``sys.path`` that they are in.
    """
    pinned = {
        package.name: package
        for package in installed
        if not package.is_direct_origin()  # these are never looked for in a pool
    }
    versions = {name: str(package.version) for name, package in pinned.items()}
    known = _Installed(path, versions)

    class Pool(type(pool)):  # type: ignore[misc]
        def find_packages(self, dependency: Dependency) -> list[Package]:
            package = pinned.get(dependency.name)
            if package is None:
                return list(super().find_packages(dependency))
            return [package] if package.satisfies(dependency) else []

        def package(
            self, name: str, version: Any, *args: Any, **kwargs: Any
        ) -> Package:
            pin = pinned.get(canonicalize_name(name))
            if pin is not None and pin.version == version:
                installed_package = known.package(pin)
                if installed_package is not None:
                    return installed_package
            found: Package = super().package(name, version, *args, **kwargs)
            return found

    same: RepositoryPool = Pool.__new__(Pool)
    same.__dict__.update(pool.__dict__)
    return same


class _Installed:
    """The metadata of what is installed."""

    def __init__(self, path: list[str], pinned: dict[NormalizedName, str]) -> None:
        """
        :param pinned: versions of what can be had in no other.
        """
        self._path = path
        self._pinned = pinned

    @cached_property
    def _texts(self) -> dict[NormalizedName, str]:
        """By name; what comes first on the path is what is imported."""
        found: dict[NormalizedName, str] = {}
        for distribution in distributions(path=self._path):
            text = distribution.read_text("METADATA")
            if text:
                name = canonicalize_name(distribution.metadata["Name"])
                found.setdefault(name, text)
        return found

    @POOL.uses("poetry.inspection.info", "PackageInfo.from_metadata")
    @POOL.uses("poetry.inspection.info", "PackageInfo.to_package")
    def package(self, pin: Package) -> Package | None:
        """As an index that has this metadata would tell of it.

        What it requires on other systems only is left out: a plugin set is for this one.
        So is what it requires of pinned packages, where these are as it wants them.
        """
        from packaging.metadata import parse_email
        from poetry.inspection.info import PackageInfo

        text = self._texts.get(pin.name)
        if text is None:
            return None
        metadata, _ = parse_email(text)
        metadata["requires_dist"] = [
            *filter(self._may_decide, metadata.get("requires_dist", []))
        ]
        package = PackageInfo.from_metadata(metadata).to_package()
        return package if package.version == pin.version else None

    def _may_decide(self, text: str) -> bool:
        """Whether a requirement can make a difference to what is chosen."""
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            return True  # Poetry says what it thinks of that
        marker = requirement.marker
        if marker and "extra" not in str(marker) and not marker.evaluate():
            return False
        version = self._pinned.get(canonicalize_name(requirement.name))
        if version is None or requirement.extras or requirement.url:
            return True
        return not requirement.specifier.contains(version, prereleases=True)
