"""A package index on this machine: the simple API over folders of distributions."""

from __future__ import annotations

import hashlib
import html
import re
import threading
import uuid
import zipfile

from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    import ssl

    from pathlib import Path

    from typing_extensions import Self


class LocalIndex:
    """Serves every distribution in some folders, as PEP 503 and PEP 658 say."""

    def __init__(self, *folders: Path, context: ssl.SSLContext | None = None) -> None:
        """
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
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        port = self._server.server_address[1]
        return f"{self._scheme}://127.0.0.1:{port}/{self._root}/simple"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _files(self) -> dict[str, Path]:
        return {
            path.name: path
            for folder in self._folders
            if folder.is_dir()
            for path in sorted(folder.iterdir())
            if path.name.endswith((".whl", ".tar.gz"))
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
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            extra = ""
            if file.suffix == ".whl":
                metadata = hashlib.sha256(wheel_metadata(file)).hexdigest()
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
