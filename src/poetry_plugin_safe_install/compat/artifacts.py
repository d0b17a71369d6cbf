"""What Poetry downloads into its artifact cache, and takes from there."""

from __future__ import annotations

import threading

from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals
from poetry_plugin_safe_install.compat.progress import PROGRESS
from poetry_plugin_safe_install.compat.progress import teller


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Protocol

    from poetry.core.packages.package import Package
    from poetry.core.packages.utils.link import Link
    from poetry.installation.executor import Executor
    from poetry.packages.direct_origin import DirectOrigin
    from poetry.utils.cache import ArtifactCache

    class Downloads(Protocol):
        """What is asked by everything that downloads into the artifact cache."""

        def alone(
            self, destination: Path, tell: Callable[[str], bool] | None = None
        ) -> AbstractContextManager[None]:
            """Nobody else downloads this file meanwhile, where a lock can be taken.

            :param tell: shows a text where the user looks for the progress of this
                download, and returns whether it did.
            """

        def again(self, file: Path) -> None:
            """A file in the cache is not what the lock file names: another is fetched."""

        def is_whole(self, wheel: Path) -> bool:
            """Whether a wheel that was built is one from its beginning to its end."""


ARTIFACTS = Internals("the artifact cache", PROGRESS)


@ARTIFACTS.around("poetry.installation.executor", "Executor._download_archive")
def _download_archive(
    downloads: Downloads,
    original: Callable[..., None],
    executor: Executor,
    operation: Any,
    url: str,
    dest: Path,
) -> None:
    """The second of two commands finds what the first has downloaded."""

    with downloads.alone(dest, teller(executor, operation)):
        if not (dest.exists() and _agrees(dest, operation.package)):
            original(executor, operation, url, dest)


@ARTIFACTS.around("poetry.packages.direct_origin", "DirectOrigin._download_file")
def _download_file(
    downloads: Downloads,
    original: Callable[..., None],
    origin: DirectOrigin,
    url: str,
    dest: Path,
) -> None:
    with downloads.alone(dest):
        if not dest.exists():
            original(origin, url, dest)


class _Looking(threading.local):
    """What a thread has seen in the cache that looks for the file of one link."""

    name = ""
    """Until it has looked for the first time."""
    cached: Path | None = None
    """The file, if it was there at once."""
    _listed: list[Path] | None = None

    @contextmanager
    def looking(self, name: str) -> Iterator[None]:
        outer = self.cached  # of a link whose build needs this one
        self.name, self.cached, self._listed = name, None, None
        try:
            yield
        finally:
            self.name, self.cached, self._listed = "", outer, None

    def look(self, list_files: Callable[[], list[Path]]) -> list[Path]:
        """Poetry looks twice, for the file and for a wheel that was built from it.

        Where the file was there, nothing happens in between.
        """
        if self._listed:
            listed, self._listed = self._listed, None
            return listed
        name, self.name = self.name, ""
        listed = list_files()
        if name:
            self.cached = next((path for path in listed if path.name == name), None)
            self._listed = listed if self.cached else None
        return listed


_thread = _Looking()


@ARTIFACTS.around("poetry.utils.cache", "ArtifactCache._get_cached_archives")
def _get_cached_archives(
    _: Downloads,
    original: Callable[..., list[Path]],
    cache: ArtifactCache,
    cache_dir: Path,
) -> list[Path]:
    return _thread.look(lambda: original(cache, cache_dir))


@ARTIFACTS.uses("poetry.installation.executor", "Executor._authenticator")
@ARTIFACTS.uses("poetry.utils.authenticator", "Authenticator.delete_cache")
@ARTIFACTS.around("poetry.installation.executor", "Executor._download_link")
def _download_link(
    downloads: Downloads,
    original: Callable[..., Path],
    executor: Executor,
    operation: Any,
    link: Link,
) -> Path:
    """A file that was in the cache and is not the right one is fetched once more.

    One that has just been fetched is not: that index serves something else than what
    was locked, and the install fails.
    """
    with _thread.looking(link.filename):
        try:
            return original(executor, operation, link)
        except Exception:
            cached = _thread.cached
            if cached is None or _agrees(cached, operation.package):
                raise
    downloads.again(cached)
    executor._authenticator.delete_cache(link.url)
    executor._download_archive(operation, link.url, cached)
    for built in set(cached.parent.glob("*.whl")) - {cached}:
        built.unlink(missing_ok=True)  # from what was not the right one
    return original(executor, operation, link)


# No lock file has the hash of a wheel that was built here. Poetry without this plugin
# builds into the cache itself: where it was killed there is half a wheel, for good.


@ARTIFACTS.around("poetry.utils.cache", "ArtifactCache.get_cached_archive_for_link")
def _get_cached_archive_for_link(
    downloads: Downloads,
    original: Callable[..., Path | None],
    cache: ArtifactCache,
    link: Link,
    **kwargs: Any,
) -> Path | None:
    found = original(cache, link, **kwargs)
    if found is None or found.name == link.filename or downloads.is_whole(found):
        return found
    found.unlink(missing_ok=True)
    return original(cache, link, **kwargs)


@ARTIFACTS.around("poetry.utils.cache", "ArtifactCache.get_cached_archive_for_git")
def _get_cached_archive_for_git(
    downloads: Downloads,
    original: Callable[..., Path | None],
    cache: ArtifactCache,
    *args: Any,
    **kwargs: Any,
) -> Path | None:
    found = original(cache, *args, **kwargs)
    if found is None or downloads.is_whole(found):
        return found
    found.unlink(missing_ok=True)
    return None


@ARTIFACTS.uses("poetry.installation.executor", "Executor._validate_archive_hash")
def _agrees(archive: Path, package: Package) -> bool:
    """Whether a file has the hash that the lock file names, if it names one."""
    from poetry.installation.executor import Executor

    if archive.name not in {file["file"] for file in package.files}:
        return True
    try:
        Executor._validate_archive_hash(archive, package)
    except RuntimeError:
        return False
    return True
