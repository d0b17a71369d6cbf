"""Wheels of one command that bring the same file, written by threads at once."""

from __future__ import annotations

import os
import threading

from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any
from typing import cast

from packaging.utils import canonicalize_name

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO
    from typing import Protocol

    from poetry.core.packages.package import Package
    from poetry.installation.executor import Executor
    from poetry.installation.operations.operation import Operation
    from poetry.installation.wheel_installer import WheelDestination
    from poetry.installation.wheel_installer import WheelInstaller

    class SameFiles(Protocol):
        """What is asked before a file of a wheel is written."""

        def begin(self, path: str, package: str, rank: int) -> bool:
            """Whether to write it; waits while another thread does.

            :param rank: the number of the operation, in the order of one after the other.
            """

        def end(self, path: str) -> None:
            """It has been written."""

        def report(self) -> None:
            """All has been executed."""


SAME_FILES = Internals("files of several packages")

_ORDER = "_safe_install_order"


class _Now(threading.local):
    """The name and the rank of what a thread installs."""

    package: tuple[str, int] | None = None

    @contextmanager
    def installing(self, name: str, order: dict[str, int]) -> Iterator[None]:
        self.package = (name, order[name]) if name in order else None
        try:
            yield
        finally:
            self.package = None


_now = _Now()


@SAME_FILES.uses("poetry.installation.executor", "Executor._wheel_installer")
@SAME_FILES.around("poetry.installation.executor", "Executor.execute")
def _execute(
    files: SameFiles,
    original: Callable[..., int],
    executor: Executor,
    operations: list[Operation],
) -> int:
    packages: list[Package] = [operation.package for operation in operations]
    order = {package.name: number for number, package in enumerate(packages)}
    vars(executor._wheel_installer)[_ORDER] = order
    try:
        return original(executor, operations)
    finally:
        files.report()


@SAME_FILES.around("poetry.installation.wheel_installer", "WheelInstaller.install")
def _install(
    files: SameFiles,
    original: Callable[..., None],
    installer: WheelInstaller,
    wheel: Path,
) -> None:
    order: dict[str, int] = vars(installer).get(_ORDER, {})
    with _now.installing(canonicalize_name(wheel.name.partition("-")[0]), order):
        original(installer, wheel)


@SAME_FILES.uses("poetry.installation.wheel_installer", "WheelDestination.scheme_dict")
@SAME_FILES.around(
    "poetry.installation.wheel_installer", "WheelDestination.write_to_fs"
)
def _write_to_fs(
    files: SameFiles,
    original: Callable[..., Any],
    destination: WheelDestination,
    scheme: str,
    path: str,
    stream: BinaryIO,
    is_executable: bool,
) -> Any:
    package = _now.package
    if package is None:
        return original(destination, scheme, path, stream, is_executable)
    target = f"{destination.scheme_dict[scheme]}{os.sep}{path}"
    if not files.begin(target, *package):
        return _recorded(destination, path, stream)
    try:
        return original(destination, scheme, path, stream, is_executable)
    finally:
        files.end(target)


@SAME_FILES.uses("installer.records", "Hash", "RecordEntry")
@SAME_FILES.uses("installer.utils", "copyfileobj_with_hashing")
@SAME_FILES.uses(
    "poetry.installation.wheel_installer", "WheelDestination.hash_algorithm"
)
def _recorded(destination: WheelDestination, path: str, stream: BinaryIO) -> Any:
    """The row of RECORD, as if the file had been written and then written over."""
    from installer.records import Hash
    from installer.records import RecordEntry
    from installer.utils import copyfileobj_with_hashing

    algorithm = destination.hash_algorithm
    nowhere = cast("BinaryIO", _Nowhere())
    digest, size = copyfileobj_with_hashing(stream, nowhere, algorithm)
    return RecordEntry(path, Hash(algorithm, digest), size)


class _Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)
