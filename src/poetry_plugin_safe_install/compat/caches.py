"""Poetry's caches: what it keeps of indexes below its cache directory."""

from __future__ import annotations

import logging

from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from poetry.utils.cache import FileCache

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Protocol

    from poetry.utils.authenticator import Authenticator
    from requests import Session

    from poetry_plugin_safe_install.compat.http_cache import HttpEntries

    class ReleaseFiles(Protocol):
        """How the files of the release cache are written and removed."""

        def replacing(self, path: Path) -> AbstractContextManager[Path]:
            """Yields where to write what replaces ``path``."""

        def remove_all(self, directory: Path) -> None: ...


logger = logging.getLogger(__name__)

CACHE_CONTROL = "CacheControl 0.14.0 to 0.14.4"

HTTP_CACHE = Internals("the HTTP cache")
RELEASE_CACHE = Internals("the release cache")


@HTTP_CACHE.uses(
    "cachecontrol.controller",
    "CacheController._cache_set",
    "CacheController._load_from_cache",
    "CacheController.cache_response",
    "CacheController.cacheable_status_codes",
    "CacheController.cached_request",
    "CacheController.update_cached_response",
    seen_in=CACHE_CONTROL,
)
@HTTP_CACHE.uses(
    "cachecontrol", "CacheControlAdapter.controller", seen_in=CACHE_CONTROL
)
@HTTP_CACHE.uses(
    "cachecontrol.caches",
    "SeparateBodyFileCache._fn",
    "SeparateBodyFileCache.filemode",
    seen_in=CACHE_CONTROL,
)
@HTTP_CACHE.uses(
    "cachecontrol.serialize",
    "Serializer.prepare_response",
    "Serializer.serde_version",
    seen_in=CACHE_CONTROL,
)
@HTTP_CACHE.around("poetry.utils.authenticator", "Authenticator.create_session")
def _create_session(
    entries: HttpEntries,
    original: Callable[..., Session],
    authenticator: Authenticator,
) -> Session:
    """All that Poetry asks of indexes goes through the adapters of such sessions."""
    from cachecontrol import CacheControlAdapter

    from poetry_plugin_safe_install.compat.http_cache import WholeEntryController

    session = original(authenticator)
    for adapter in session.adapters.values():
        if isinstance(adapter, CacheControlAdapter):
            adapter.controller = WholeEntryController.instead_of(
                adapter.controller, entries
            )
    return session


PLACE = "_safe_install_place"
"""Of a ``FileCache``: the file that it reads and writes instead."""


class _Elsewhere(FileCache[Any]):
    """One file of the release cache under another name, which is not removed."""

    def __init__(self, cache: FileCache[Any], path: Path) -> None:
        super().__init__(cache.path, cache.hash_type)
        object.__setattr__(self, PLACE, path)  # a frozen dataclass

    def _path(self, key: str) -> Path:
        place: Path = vars(self)[PLACE]
        return place

    def forget(self, key: str) -> None:
        pass


@RELEASE_CACHE.uses("poetry.utils.cache", "FileCache._path")
@RELEASE_CACHE.around("poetry.utils.cache", "FileCache.put")
def _put(
    files: ReleaseFiles,
    original: Callable[..., None],
    cache: FileCache[Any],
    key: str,
    *args: Any,
    **kwargs: Any,
) -> None:
    """``FileCache.put`` empties the file and then writes it."""
    path = cache._path(key)
    try:
        with files.replacing(path) as private:
            original(_Elsewhere(cache, private), key, *args, **kwargs)
    except OSError as error:  # the value is there all the same
        logger.debug("%s cannot be cached: %s", path, error)


@RELEASE_CACHE.around("poetry.utils.cache", "FileCache._get_payload")
def _get_payload(
    files: ReleaseFiles, original: Callable[..., Any], cache: FileCache[Any], key: str
) -> Any:
    """It looks for the file, then opens it, and removes one that it cannot parse.

    Another command's may be there by then.
    """
    try:
        return original(_Elsewhere(cache, cache._path(key)), key)
    except OSError:
        return None


@RELEASE_CACHE.around("poetry.utils.cache", "FileCache.forget")
def _forget(
    files: ReleaseFiles, original: Callable[..., None], cache: FileCache[Any], key: str
) -> None:
    """It looks for the file, then removes it."""
    with suppress(FileNotFoundError):
        original(cache, key)


@RELEASE_CACHE.around("poetry.utils.cache", "FileCache.flush")
def _flush(
    files: ReleaseFiles, original: Callable[..., None], cache: FileCache[Any]
) -> None:
    """``poetry cache clear --all``, for the HTTP cache below it too."""
    files.remove_all(cache.path)
