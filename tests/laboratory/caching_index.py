"""An index whose answers may be kept, as real ones are; it can be made to wait."""

from __future__ import annotations

import hashlib
import threading

from typing import TYPE_CHECKING
from typing import Any

from tests.laboratory.index import LocalIndex


if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path


PATIENT = {"POETRY_REQUESTS_TIMEOUT": "300"}
"""For commands whose requests are held: Poetry asks again after 15 s of its own accord."""


class Held:
    """A request that the index does not answer before it is told to."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self._go = threading.Event()

    def wait(self) -> None:
        assert self.arrived.wait(60), "nobody asked for it"

    def answer(self) -> None:
        self._go.set()

    def hold(self) -> None:
        self.arrived.set()
        self._go.wait(120)


class CachingIndex(LocalIndex):
    """Sends ``ETag`` and ``Cache-Control``, and knows who has a page already."""

    def __init__(
        self, *folders: Path, max_age: int = 600, announces_length: bool = True
    ) -> None:
        """
        :param max_age: seconds for which an answer is fresh.
        :param announces_length: whether there is a ``Content-Length``; where an index
            compresses on the fly there is none.
        """
        super().__init__(*folders)
        self.max_age = max_age
        self.announces_length = announces_length
        self.answers: list[tuple[str, int]] = []
        """Every path that was asked for, with the status of the answer."""
        self.held: dict[str, Held] = {}
        """Whom to let wait: by the end of the path."""
        self.instead: dict[str, bytes] = {}
        """What is served in the place of what is there: by the end of the path."""
        self.generation = 0
        """Raise it, and all pages are others than before."""
        self.headers: dict[str, str | None] = {}
        """Sent in the place of its own; ``None``: not sent."""
        self.unchanged: set[str] = set()
        """Ends of paths of which the index says 304 whatever the asker has."""
        index = self
        handler = self._server.RequestHandlerClass

        class Caching(handler):  # type: ignore[misc,valid-type]
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # noqa: N802 (the name http.server calls)
                index._do_get(self)

        self._server.RequestHandlerClass = Caching

    def hold(self, path: str) -> Held:
        """Have the next request for a path that ends so wait."""
        held = self.held[path] = Held()
        return held

    def asked(self, path: str) -> list[int]:
        """The statuses of all answers to requests for a path that ends so."""
        return [status for asked, status in self.answers if asked.endswith(path)]

    def page_key(self, name: str) -> str:
        """What CacheControl calls the page of a project in the cache."""
        return hashlib.sha224(f"{self.url}/{name}/".encode()).hexdigest()

    def _do_get(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        self.requests.append(path)
        body, kind = self._answer(path) or (b"", "text/plain")
        for end, other in self.instead.items():
            body = other if path.endswith(end) else body
        if body and kind == "text/html" and self.generation:
            body += f"<!-- {self.generation} -->".encode()
        status = 200 if body else 404
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        known = handler.headers.get("If-None-Match")
        for end in list(self.held):
            if path.endswith(end):
                self.held.pop(end).hold()
        if known and (known == tag or path.endswith(tuple(self.unchanged))):
            status, body, tag = 304, b"", known
        headers: dict[str, Any] = {"Content-Type": kind}
        if status != 404:
            headers["ETag"] = tag
            headers["Cache-Control"] = f"max-age={self.max_age}"
        if self.announces_length or status != 200:
            headers["Content-Length"] = len(body)
        else:
            headers["Connection"] = "close"
        self.answers.append((path, status))
        handler.send_response(status)
        for name, value in {**headers, **self.headers}.items():
            if value is not None:
                handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(body)
