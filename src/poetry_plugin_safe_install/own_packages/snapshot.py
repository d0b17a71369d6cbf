"""What Poetry may still need of packages that are about to be replaced while it runs.

A program that replaces itself must not open its own files afterwards: it would find
those of another version, or none. So what it may still open is kept: its modules in
memory, the certificate bundle and the pip it runs in a directory aside. A copy of each
file is kept too (``kept``), so that a Poetry that no longer works can be put back.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import shutil
import sys
import tempfile

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.own_packages.kept import DIRECTORY
from poetry_plugin_safe_install.own_packages.kept import Kept
from poetry_plugin_safe_install.own_packages.proof import Proof


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Mapping
    from collections.abc import Sequence
    from importlib.metadata import Distribution
    from types import ModuleType

CERTIFICATES_VARIABLE = "REQUESTS_CA_BUNDLE"
"""Names the bundle that requests uses, where it is told no other: its documentation."""


class KeptModules(importlib.abc.SourceLoader):
    """Imports modules of these distributions as they were when this was made.

    They are not imported right away: a module may do anything when it is imported.
    """

    def __init__(self, distributions: Iterable[Distribution]) -> None:
        self._files: dict[str, Path] = {}
        self._sources: dict[str, bytes] = {}
        for distribution in distributions:
            for file in distribution.files or []:
                if name := _module_name(file.parts):
                    path = Path(str(distribution.locate_file(file)))
                    with contextlib.suppress(OSError):
                        self._sources[str(path)] = path.read_bytes()
                        self._files[name] = path

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._files:
            return None
        return importlib.util.spec_from_file_location(
            fullname, self._files[fullname], loader=self
        )

    def is_package(self, fullname: str) -> bool:
        return self._files[fullname].name == "__init__.py"

    def get_filename(self, fullname: str) -> str:
        return str(self._files[fullname])

    def get_data(self, path: str | bytes) -> bytes:
        """The source as it was. Compiled files of it are not asked for: they change."""
        try:
            return self._sources[os.fsdecode(path)]
        except KeyError:
            return Path(os.fsdecode(path)).read_bytes()


def _module_name(parts: Sequence[str]) -> str:
    if not parts[-1].endswith(".py"):
        return ""
    names = [*parts[:-1], parts[-1].removesuffix(".py")]
    if names[-1] == "__init__":
        names.pop()
    return ".".join(names) if all(name.isidentifier() for name in names) else ""


def import_extensions(distributions: Iterable[Distribution]) -> None:
    """Import what is compiled: it cannot be kept in memory in any other way."""
    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    for distribution in distributions:
        for file in distribution.files or []:
            if file.name.endswith(suffixes) and ".." not in file.parts:
                names = [*file.parts[:-1], file.name.partition(".")[0]]
                with contextlib.suppress(Exception):
                    import_module(".".join(names))


class OwnFilesSnapshot:
    """Keeps what is needed of some distributions, and can put them back.

    What may be put back outlives this process (``kept``); all else does not need to.
    """

    def __init__(
        self, importers: Iterable[str], keep_pip: Callable[[Path], None], site: Path
    ) -> None:
        """
        :param importers: the distributions that must go on working.
        :param keep_pip: copies the pip that Poetry runs into a directory.
        :param site: the site-packages, where the copies are found after any death.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="poetry-safe-install-"))
        self._variable = os.environ.get(CERTIFICATES_VARIABLE)
        self._copies = Kept(site / DIRECTORY / str(os.getpid()))
        (self._directory / "proof").mkdir()
        self._proof = Proof(self._directory / "proof", importers)
        self._keep_certificates()
        keep_pip(self._directory)

    def keep(self, distributions: Mapping[str, Distribution]) -> None:
        """Keep these as they are now.

        :raises OSError: if there is no room for them.
        """
        new = {
            name: distribution
            for name, distribution in distributions.items()
            if name not in self._copies.packages
        }
        self._proof.will_change(
            {
                module.partition(".")[0]
                for distribution in new.values()
                for file in distribution.files or []
                if (module := _module_name(file.parts))
            }
        )
        import_extensions(new.values())
        sys.meta_path.insert(0, KeptModules(new.values()))
        originals = {name: _files_of(found) for name, found in new.items()}
        self._copies.keep(originals, self._proof.state)

    def put_back_if_broken(self) -> str:
        """Try Poetry out, and put everything back if it does not work.

        :return: what it died of; empty if it works.
        """
        failure = self._proof.failure()
        if failure:
            self._copies.put_back()
        return failure

    def _keep_certificates(self) -> None:
        from requests.utils import DEFAULT_CA_BUNDLE_PATH

        if not any(map(os.environ.get, (CERTIFICATES_VARIABLE, "CURL_CA_BUNDLE"))):
            kept = shutil.copy(DEFAULT_CA_BUNDLE_PATH, self._directory / "cacert.pem")
            os.environ[CERTIFICATES_VARIABLE] = str(kept)

    def discard(self) -> None:
        """The command has ended. The modules stay: the process is not quite over."""
        if self._variable is None:
            os.environ.pop(CERTIFICATES_VARIABLE, None)
        else:
            os.environ[CERTIFICATES_VARIABLE] = self._variable
        self._copies.discard()
        shutil.rmtree(self._directory, ignore_errors=True)


def _files_of(distribution: Distribution) -> list[Path]:
    files = [Path(str(file.locate())) for file in distribution.files or []]
    return [file for file in files if file.suffix != ".pyc" and file.is_file()]
