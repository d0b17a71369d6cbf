"""A package index on this machine: the simple API over folders of distributions."""

from __future__ import annotations

import hashlib
import html
import re
import threading
import uuid
import zipfile

from functools import cache
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    import ssl

    from pathlib import Path

    from typing_extensions import Self


POLL = 0.01
"""Seconds at most until a server has ended that is told to."""

SERVED: dict[str, LocalIndex] = {}
"""The indexes of this process, by their addresses."""


class LocalIndex:
    """Serves every distribution in some folders, as PEP 503 and PEP 658 say."""

    def __init__(self, *folders: Path, context: ssl.SSLContext | None = None) -> None:
        """
        :param folders: the first one holds what no other index serves.
        :param context: serve over TLS with the certificate in it.
        """
        index = self
        self._scheme = "https" if context else "http"
        self._folders = folders
        self.requests: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.requests.append(self.path)
                found = index._answer(self.path)
                self.send_response(200 if found else 404)
                body, kind = found or (b"", "text/plain")
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        # Poetry's caches know a file by its URL, and ports come again.
        self._root = uuid.uuid4().hex
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL,), daemon=True
        )

    @property
    def url(self) -> str:
        port = self._server.server_address[1]
        return f"{self._scheme}://127.0.0.1:{port}/{self._root}/simple"

    def __enter__(self) -> Self:
        self._thread.start()
        SERVED[self.url] = self
        return self

    def __exit__(self, *exc: object) -> None:
        del SERVED[self.url]
        self._server.shutdown()
        self._server.server_close()

    @property
    def own_files(self) -> dict[str, str]:
        """What no other index serves: names and hashes."""
        files = _distributions(self._folders[0])
        return {name: sha256(path) for name, path in files.items()}

    def has(self, name: str, digest: str) -> bool:
        """Whether it serves this file, with this content."""
        path = self._files().get(name)
        return path is not None and sha256(path) == digest

    def _files(self) -> dict[str, Path]:
        return {
            name: path
            for folder in self._folders
            for name, path in _distributions(folder).items()
        }

    def _answer(self, path: str) -> tuple[bytes, str] | None:
        root, *parts = path.strip("/").split("/")
        if root != self._root or len(parts) != 2:
            return None
        files = self._files()
        if parts[0] == "simple":
            page = self._page(parts[1], files)
            return (page.encode(), "text/html") if page else None
        if parts[0] == "files":
            if file := files.get(parts[1]):
                return file.read_bytes(), "application/octet-stream"
            if file := files.get(parts[1].removesuffix(".metadata")):
                return wheel_metadata(file), "text/plain"
        return None

    def _page(self, name: str, files: dict[str, Path]) -> str:
        links = []
        for file in files.values():
            if _project(file.name) != _canonical(name):
                continue
            digest = sha256(file)
            extra = ""
            if file.suffix == ".whl":
                metadata = metadata_sha256(file)
                extra = f' data-core-metadata="sha256={metadata}"'
                extra += f' data-dist-info-metadata="sha256={metadata}"'
            links.append(
                f'<a href="/{self._root}/files/{html.escape(file.name)}#sha256={digest}"{extra}>'
                f"{html.escape(file.name)}</a><br/>"
            )
        return (
            f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>"
            if links
            else ""
        )


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _project(file_name: str) -> str:
    if file_name.endswith(".tar.gz"):
        return _canonical(file_name.removesuffix(".tar.gz").rpartition("-")[0])
    return _canonical(file_name.partition("-")[0])


def wheel_metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return archive.read(name)


def _distributions(folder: Path) -> dict[str, Path]:
    """Wheels and sdists in a folder, by name; none if there is no folder."""
    return {
        path.name: path
        for path in sorted(folder.iterdir() if folder.is_dir() else ())
        if path.name.endswith((".whl", ".tar.gz"))
    }


def sha256(file: Path) -> str:
    return _sha256(file, file.stat().st_mtime_ns)


def metadata_sha256(wheel: Path) -> str:
    return _metadata_sha256(wheel, wheel.stat().st_mtime_ns)


@cache
def _sha256(file: Path, changed: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@cache
def _metadata_sha256(wheel: Path, changed: int) -> str:
    return hashlib.sha256(wheel_metadata(wheel)).hexdigest()
