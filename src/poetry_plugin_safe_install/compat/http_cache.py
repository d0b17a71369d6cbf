"""CacheControl's controller, with entries that are whole or not there.

A cache class cannot do this: it does not know an answer from a 304, which replaces the
metadata alone. Poetry requires CacheControl 0.14; seen in 0.14.0 to 0.14.4.
"""

from __future__ import annotations

import logging

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal
from typing import cast

import msgpack  # type: ignore[import-untyped]

from cachecontrol import CacheController
from cachecontrol.caches import SeparateBodyFileCache
from cachecontrol.controller import PERMANENT_REDIRECT_STATUSES


if TYPE_CHECKING:
    from collections.abc import Iterator

    from requests import PreparedRequest
    from urllib3 import HTTPResponse

DIGEST = "safe-install-body"
"""The key of the body's digest in the metadata, where CacheControl overlooks it."""

_KEPT = "_safe_install_entry"

logger = logging.getLogger(__name__)


if TYPE_CHECKING:
    from typing import IO
    from typing import Protocol

    class HttpEntries(Protocol):
        """How entries of two files are read and written; ``path``: of the metadata."""

        def open_body(
            self, path: Path, digest: str | None, content_length: int | None
        ) -> tuple[IO[bytes], str] | None:
            """The body that belongs to the metadata and its digest, if there is one."""

        def digest_of(self, body: bytes | memoryview) -> str: ...

        def write_entry(
            self, path: Path, metadata: bytes, body: bytes | memoryview, mode: int
        ) -> None: ...

        def write_metadata(
            self, path: Path, metadata: bytes, before: bytes, mode: int
        ) -> None:
            """Replace this metadata by that of the same body."""


class Entry:
    """An entry as it was read, with its body open."""

    def __init__(
        self, response: HTTPResponse, metadata: bytes, digest: str = ""
    ) -> None:
        self.response = response
        self.metadata = metadata
        self.digest = digest


class WholeEntryController(CacheController):
    """Hands out entries that are whole; to it a broken one is not there.

    The entry that a request was found to have is kept until it is answered: when the
    index says 304, this is the body it means, whatever has become of the files.
    """

    def __init__(self, *args: Any, entries: HttpEntries, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self._entries = entries

    @classmethod
    def instead_of(
        cls, controller: CacheController, entries: HttpEntries
    ) -> WholeEntryController:
        return cls(
            controller.cache,
            controller.cache_etags,
            controller.serializer,
            controller.cacheable_status_codes,
            entries=entries,
        )

    def cached_request(self, request: PreparedRequest) -> HTTPResponse | Literal[False]:
        _forget(request)
        response: HTTPResponse | Literal[False] = False
        with _may_stay(request):
            response = super().cached_request(request)
        kept = _kept(request)
        # What has no ETag is removed when it is stale.
        if response or (kept and "etag" not in kept.response.headers):
            _forget(request)
        return response

    def cache_response(self, request: PreparedRequest, *args: Any, **kw: Any) -> None:
        _forget(request)
        with _may_stay(request):
            super().cache_response(request, *args, **kw)

    def update_cached_response(
        self, request: PreparedRequest, response: HTTPResponse
    ) -> HTTPResponse:
        try:
            return super().update_cached_response(request, response)
        finally:
            _forget(request)

    def _load_from_cache(self, request: PreparedRequest) -> HTTPResponse | None:
        if kept := _kept(request):
            return kept.response
        try:
            entry = self._load(request)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.debug("Cache entry of %s ignored: %r", request.url, error)
            return None
        if entry is None:
            return None
        vars(request)[_KEPT] = entry
        return entry.response

    def _load(self, request: PreparedRequest) -> Entry | None:
        if request.url is None or "Range" in request.headers:
            return None
        metadata = self.cache.get(request.url)
        if not metadata:
            return None
        if not isinstance(self.cache, SeparateBodyFileCache):
            response = self.serializer.loads(request, metadata)
            return Entry(response, metadata) if response else None
        if not metadata.startswith(self._prefix):
            return None
        cached = msgpack.loads(metadata[len(self._prefix) :], raw=False)
        digest = cached.get(DIGEST)
        length = None if digest else _content_length(cached["response"])
        path = Path(self.cache._fn(request.url))
        found = self._entries.open_body(path, digest, length)
        if found is None:
            return None
        body, digest = found
        response = self.serializer.prepare_response(request, cached, body)
        if response is None:  # of another Accept header, for example
            body.close()
            return None
        return Entry(response, metadata, digest)

    def _cache_set(
        self,
        cache_url: str,
        request: PreparedRequest,
        response: HTTPResponse,
        body: bytes | None = None,
        expires_time: int | None = None,
    ) -> None:
        """A cache that cannot be written is no reason to fail: the answer is there."""
        try:
            if isinstance(self.cache, SeparateBodyFileCache):
                self._write(self.cache, cache_url, request, response, body)
            else:
                super()._cache_set(cache_url, request, response, body, expires_time)
        except OSError as error:
            logger.debug("%s cannot be cached: %s", cache_url, error)

    def _write(
        self,
        cache: SeparateBodyFileCache,
        cache_url: str,
        request: PreparedRequest,
        response: HTTPResponse,
        body: bytes | None,
    ) -> None:
        path, mode = Path(cache._fn(cache_url)), cache.filemode
        metadata = self.serializer.dumps(request, response, b"")
        if body is not None:
            metadata = self._with_digest(metadata, self._entries.digest_of(body))
            self._entries.write_entry(path, metadata, body, mode)
        elif kept := _kept(request):  # the index has said 304
            metadata = self._with_digest(metadata, kept.digest)
            self._entries.write_metadata(path, metadata, kept.metadata, mode)

    def _with_digest(self, metadata: bytes, digest: str) -> bytes:
        data = msgpack.loads(metadata[len(self._prefix) :], raw=False)
        data[DIGEST] = digest
        return self._prefix + cast("bytes", msgpack.dumps(data, use_bin_type=True))

    @property
    def _prefix(self) -> bytes:
        return f"cc={self.serializer.serde_version},".encode()


@contextmanager
def _may_stay(request: PreparedRequest) -> Iterator[None]:
    """CacheControl removes what is stale and has no ETag, and what may not be stored.

    In a cache that is read-only, or another user's, it stays, and is not used.
    """
    try:
        yield
    except OSError as error:
        logger.debug("Cache entry of %s cannot be removed: %s", request.url, error)


def _content_length(response: dict[str, Any]) -> int | None:
    """As the index announced it, if that can be compared to what is in the cache."""
    if response["status"] in PERMANENT_REDIRECT_STATUSES:
        return 0  # ``CacheController.cache_response`` keeps no body of them
    headers = {name.lower(): value for name, value in response["headers"].items()}
    length = headers.get("content-length", "")
    return int(length) if length.isdigit() else None


def _kept(request: PreparedRequest) -> Entry | None:
    return vars(request).get(_KEPT)


def _forget(request: PreparedRequest) -> None:
    vars(request).pop(_KEPT, None)
