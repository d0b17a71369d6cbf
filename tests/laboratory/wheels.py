"""Small distributions made on the spot."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile

from dataclasses import dataclass
from dataclasses import field
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Distribution:
    """A pure distribution: file contents by name, and its metadata."""

    name: str
    version: str
    files: dict[str, str] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    entry_points: str = ""
    """The text of entry_points.txt."""

    @property
    def _stem(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}"

    @property
    def metadata(self) -> str:
        lines = ["Metadata-Version: 2.1", f"Name: {self.name}"]
        lines += [f"Version: {self.version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        return "\n".join(lines) + "\n"

    def wheel(self, directory: Path, *, metadata_first: bool = False) -> Path:
        """Write the wheel into a directory.

        :param metadata_first: before all other files, and not after them.
        """
        return self._pack(directory, metadata_first)

    def _pack(self, directory: Path, metadata_first: bool) -> Path:
        info = f"{self._stem}.dist-info"
        contents = dict(self.files)
        contents[f"{info}/METADATA"] = self.metadata
        contents[f"{info}/WHEEL"] = (
            "Wheel-Version: 1.0\nGenerator: test\n"
            "Root-Is-Purelib: true\nTag: py3-none-any\n"
        )
        if self.entry_points:
            contents[f"{info}/entry_points.txt"] = self.entry_points
        record = [
            f"{name},{_digest(text)},{len(text.encode())}"
            for name, text in contents.items()
        ]
        contents[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
        if metadata_first:
            metadata = f"{info}/METADATA"
            contents = {metadata: contents.pop(metadata), **contents}
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self._stem}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in contents.items():
                # The same bytes each time: Poetry's cache knows them by their address.
                archive.writestr(zipfile.ZipInfo(name), text)
        return path

    def unpack(self, directory: Path) -> None:
        """Install it into a directory, as far as that goes without an installer."""
        with zipfile.ZipFile(self._pack(directory / "wheels", False)) as archive:
            archive.extractall(directory)

    def sdist(self, directory: Path) -> Path:
        """Write an sdist whose files must bring their own pyproject.toml."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self._stem}.tar.gz"
        contents = {**self.files, "PKG-INFO": self.metadata}
        with (
            # The same bytes each time here too: gzip would write when it was made.
            gzip.GzipFile(path, "w", mtime=0) as file,
            tarfile.open(fileobj=file, mode="w") as archive,
        ):
            for name, text in contents.items():
                data = text.encode()
                member = tarfile.TarInfo(f"{self._stem}/{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return path


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
