"""Entries of the HTTP cache: a file of metadata and one with the body.

Both belong to one generation, or there is no entry. The body's digest is recorded in the
metadata, so that a reader knows; the body is put in place before its metadata, and while
it is, there is no metadata. Nobody waits for a lock.
"""

from __future__ import annotations

import os
import zlib

from io import BytesIO
from typing import IO
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.caches.files import write_private
from poetry_plugin_safe_install.caches.files import write_whole
from poetry_plugin_safe_install.private_files import remove


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IN_MEMORY = 4 * 1024 * 1024
"""Bytes up to which a body is read once, for its digest and for its use."""

CHUNK = 1024 * 1024


def is_plausible(
    length: int,
    *,
    digest: str | None,
    content_length: int | None,
    is_older: Callable[[], bool],
) -> bool:
    """Whether a body may belong to its metadata; the digest decides, if there is one.

    CacheControl writes the metadata first: a body that is older may be another
    generation's, unless its length is as announced. No answer without a length is empty.

    :param length: of the body, in bytes.
    :param digest: as recorded in the metadata; ``None`` where unprotected Poetry wrote it.
    :param content_length: of the answer that brought the body, if it had one.
    :param is_older: whether the body was written before the metadata.
    """
    if content_length is not None:
        return length == content_length
    return digest is not None or (length > 0 and not is_older())


def open_body(
    path: Path, digest: str | None, content_length: int | None
) -> tuple[IO[bytes], str] | None:
    """The body that the metadata is about, with its digest; ``None`` if there is none.

    :param path: of the metadata.
    :param digest: as for ``is_plausible``, and so for the rest.
    """
    try:
        file = open(body_path(path), "rb")  # noqa: SIM115 (handed to the caller)
    except OSError:
        return None
    found = None
    try:
        status = os.fstat(file.fileno())
        if is_plausible(
            status.st_size,
            digest=digest,
            content_length=content_length,
            is_older=lambda: status.st_mtime_ns < path.stat().st_mtime_ns,
        ):
            found = _read(file, status.st_size)
    except OSError:
        found = None
    finally:
        if found is None or found[0] is not file:
            file.close()
    if found and digest in (None, found[1]):
        return found
    if found:
        found[0].close()
    return None


def _read(file: IO[bytes], length: int) -> tuple[IO[bytes], str]:
    """A body to read from its beginning, and its digest."""
    if length <= IN_MEMORY:
        data = file.read()
        return BytesIO(data), digest_of(data)
    checksum = 0
    while chunk := file.read(CHUNK):
        checksum = zlib.crc32(chunk, checksum)
    file.seek(0)
    return file, _digest(length, checksum)


def digest_of(body: bytes | memoryview) -> str:
    """What tells two generations of a body apart.

    Nobody is kept from forging it, who could replace both files as well; so it is the
    length and a checksum, which takes a third of the time of a cryptographic digest.
    """
    return _digest(len(body), zlib.crc32(body))


def _digest(length: int, checksum: int) -> str:
    return f"{length}-{checksum:08x}"


def write_entry(
    path: Path, metadata: bytes, body: bytes | memoryview, mode: int
) -> None:
    """Replace an entry, or make it.

    :param path: of the metadata.
    :param mode: of the files.
    :raises OSError: if it cannot be written; then there is no entry or the old one.
    """
    new_body = write_private(body_path(path), body, mode)
    new_metadata = None
    try:
        new_metadata = write_private(path, metadata, mode)
        path.unlink(missing_ok=True)
        os.replace(new_body, body_path(path))
        os.replace(new_metadata, path)
    except BaseException:
        remove(new_body)
        if new_metadata:
            remove(new_metadata)
        raise


def write_metadata(path: Path, metadata: bytes, before: bytes, mode: int) -> None:
    """Replace the metadata of a body that stays, unless another command has done so.

    :param before: the metadata that is to be replaced.
    :raises OSError: if it cannot be written.
    """
    try:
        found = path.read_bytes()
    except FileNotFoundError:  # another command is replacing the entry: ``write_entry``
        return
    if found == before:
        write_whole(path, metadata, mode)


def body_path(path: Path) -> Path:
    """Where CacheControl keeps the body of the entry with this metadata."""
    return path.with_name(path.name + ".body")
