"""How Poetry installs and removes packages: what is written, and when it is done."""

from __future__ import annotations

import logging
import os
import threading

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Collection
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from importlib.metadata import Distribution
    from typing import BinaryIO
    from typing import Protocol
    from zipfile import ZipFile

    from installer.sources import WheelFile
    from poetry.core.packages.package import Package
    from poetry.installation.executor import Executor
    from poetry.installation.operations.operation import Operation
    from poetry.installation.wheel_installer import WheelDestination
    from poetry.installation.wheel_installer import WheelInstaller
    from poetry.utils.env import Env
    from poetry.utils.env.site_packages import SitePackages

    class Installation(Protocol):
        """One package that is being written."""

        @property
        def site(self) -> str:
            """The site-packages it is written into."""

        @property
        def staging(self) -> str:
            """Where its dist-info is made, relative to ``site``."""

        def stage(self, dist_info: str) -> str:
            """``staging``, where a dist-info of this name is made from now on."""

        @property
        def temporary(self) -> str:
            """The name under which a file is written that replaces another one."""

        @property
        def dist_info(self) -> str | None:
            """The dist-info that is being made, if it has been begun."""

        def writes(self, path: str) -> bool:
            """A file is about to be written; whether it is known not to be there."""

        def replace(self, temporary: str, path: str) -> None:
            """A file has been written that replaces another one."""

        def commit(self) -> None:
            """The package is installed from now on."""

        def undo(self) -> None:
            """The package is not going to be installed."""

    class Installs(Protocol):
        """What is asked by everything of Poetry's that installs or removes a package."""

        @property
        def may_be_outdated(self) -> bool:
            """Whether others may have changed packages since Poetry has looked."""

        def concerns(self, site: str) -> bool:
            """Whether this site-packages is one of the environment's."""

        def writing(self) -> AbstractContextManager[None]:
            """To be entered around what is removed by something else."""

        def ended(self) -> None:
            """The installation of a package is over, in whichever way."""

        def install(
            self,
            site: str,
            package: str,
            job: str,
            files: Collection[str],
            pip_makes: str = "",
        ) -> Installation:
            """A package is about to be written; ``ended`` has to follow.

            :param job: the ``job_type`` of the operation, or ``PROJECT``.
            :param files: what is known of the files beforehand.
            :param pip_makes: the name of its dist-info, if that is left to pip.
            """

        def remove(
            self, dist_info: str, package: str, job: str, trees: Collection[str]
        ) -> bool:
            """Remove a package; ``False`` where Poetry has to do it.

            :param trees: directories that go with it.
            """


INSTALLS = Internals("installs")

PROJECT = "project"
"""The job of installing the project itself, which is no operation of the executor."""

SCHEMES = ("purelib", "platlib", "headers", "scripts", "data")
"""What a wheel can hold; ``Env.paths`` has other things besides."""


class InstallWatch(threading.local):
    """What a thread of the executor is doing. The context of ``INSTALLS``."""

    job = "install"
    is_operation = False
    installation: Installation | None = None
    environment: Env | None = None
    """Where a wheel is being installed."""
    dist_info = ""
    """The name of the dist-info of the wheel that is being written."""

    def __init__(self, installs: Installs) -> None:
        self.installs = installs

    def end(self, *, commit: bool) -> None:
        """What was installed is there from now on, or nothing of it."""
        installation, self.installation = self.installation, None
        if installation is None:
            return
        try:
            if commit:
                installation.commit()
            else:
                installation.undo()
        finally:
            self.installs.ended()


# A wheel: ``WheelInstaller.install`` opens it and has ``installer.install`` write it.


@INSTALLS.uses("poetry.installation.wheel_installer", "WheelInstaller._env")
@INSTALLS.around("poetry.installation.wheel_installer", "WheelInstaller.install")
def _install(
    watch: InstallWatch,
    original: Callable[..., None],
    installer: WheelInstaller,
    wheel: Path,
) -> None:
    watch.environment = installer._env
    try:
        original(installer, wheel)
    finally:
        watch.environment = None


@INSTALLS.uses("poetry.installation.wheel_installer", "WheelDestination.scheme_dict")
@INSTALLS.around("poetry.installation.wheel_installer", "install")
def _write(
    watch: InstallWatch,
    original: Callable[..., None],
    source: WheelFile,
    destination: WheelDestination,
    additional_metadata: dict[str, bytes],
) -> None:
    def write() -> None:
        original(
            source=source,
            destination=destination,
            additional_metadata=additional_metadata,
        )

    schemes: dict[str, str] = dict(destination.scheme_dict)
    environment = watch.environment
    if environment is None or not watch.installs.concerns(schemes["purelib"]):
        write()
        return
    contents = _Contents.of(source, schemes)
    if contents is None:  # Poetry will say what is wrong with it
        write()
        return
    if watch.installs.may_be_outdated:
        _remove_other(watch, environment.site_packages, contents.package)
    watch.dist_info = contents.dist_info
    watch.installation = watch.installs.install(
        contents.site, contents.package, watch.job, contents.paths
    )
    try:
        write()
    except BaseException:
        watch.end(commit=False)
        raise
    if not watch.is_operation:
        watch.end(commit=True)


def _remove_other(watch: InstallWatch, site: SitePackages, package: str) -> None:
    """Remove what a build script has installed since Poetry has looked."""
    for found in list(site.distributions(package.replace("_", "-"), True)):
        path = str(getattr(found, "_path", ""))
        watch.installs.remove(path, package, watch.job, ())


@INSTALLS.uses("installer.sources", "WheelFile._zipfile")
class _Contents:
    """What a wheel is going to write, as ``installer`` 0.7 and 1.1 do."""

    def __init__(self, names: Collection[str], schemes: dict[str, str]) -> None:
        (self.dist_info,) = {
            name.partition("/")[0] for name in names if ".dist-info/" in name
        }
        stem = self.dist_info.removesuffix(".dist-info")
        self.package = stem.rpartition("-")[0]
        self.site = ""
        self.paths: list[str] = []
        self._schemes = schemes
        self._names = names
        self._data = f"{stem}.data/"

    @classmethod
    def of(cls, wheel: WheelFile, schemes: dict[str, str]) -> _Contents | None:
        from zipfile import BadZipFile

        archive = wheel._zipfile
        try:
            contents = cls(archive.namelist(), schemes)
            contents._look(archive)
            return contents
        except (OSError, BadZipFile, KeyError, ValueError):
            return None

    def _look(self, archive: ZipFile) -> None:
        told = archive.read(f"{self.dist_info}/WHEEL").decode()
        pure = any(
            line.partition(":")[2].strip() == "true"
            for line in told.splitlines()
            if line.startswith("Root-Is-Purelib")
        )
        self.site = self._schemes["purelib" if pure else "platlib"]
        self.paths = [path for path in map(self._path, self._names) if path]
        if f"{self.dist_info}/entry_points.txt" in self._names:
            self.paths += self._scripts(archive)

    def _path(self, name: str) -> str:
        if name.endswith("/") or name.startswith(f"{self.dist_info}/"):
            return ""
        if not name.startswith(self._data):
            return _place(self.site, name)
        scheme, _, rest = name[len(self._data) :].partition("/")
        return _place(self._schemes[scheme], rest) if scheme in SCHEMES else ""

    def _scripts(self, archive: ZipFile) -> list[str]:
        from installer.utils import parse_entrypoints

        text = archive.read(f"{self.dist_info}/entry_points.txt").decode()
        directory = self._schemes["scripts"]
        return [_place(directory, name) for name, *_ in parse_entrypoints(text)]


def _place(directory: str, path: str) -> str:
    """As ``os.path.join``, which takes its time, does it for what a wheel may name."""
    return f"{directory}{os.sep}{path.replace('/', os.sep)}"


@INSTALLS.uses("installer.records", "RecordEntry.path")
@INSTALLS.uses("poetry.installation.wheel_installer", "WheelDestination.scheme_dict")
@INSTALLS.around("poetry.installation.wheel_installer", "WheelDestination.write_to_fs")
def _write_to_fs(
    watch: InstallWatch,
    original: Callable[..., Any],
    destination: WheelDestination,
    scheme: str,
    path: str,
    stream: BinaryIO,
    is_executable: bool,
) -> Any:
    """The dist-info goes out of sight.

    A file that is already there, which may be another distribution's too, is replaced
    as a whole.
    """
    installation = watch.installation
    if installation is None:
        return original(destination, scheme, path, stream, is_executable)
    directory = destination.scheme_dict[scheme]
    if path.startswith(f"{watch.dist_info}/") and directory == installation.site:
        staged = f"{installation.stage(watch.dist_info)}/{path}"
        entry = original(destination, scheme, staged, stream, is_executable)
        entry.path = path
        return entry
    target = _place(directory, path)
    if installation.writes(target) or not os.path.lexists(target):
        return original(destination, scheme, path, stream, is_executable)
    logging.getLogger("poetry.installation.wheel_installer").warning(
        f"Installing {target} over existing file"
    )
    temporary = os.path.join(os.path.dirname(path), installation.temporary)
    entry = original(destination, scheme, temporary, stream, is_executable)
    installation.replace(os.path.join(directory, temporary), target)
    entry.path = path
    return entry


# An operation: what it installs is there when its direct_url.json is, too.


@INSTALLS.around("poetry.installation.executor", "Executor._execute_install")
@INSTALLS.around("poetry.installation.executor", "Executor._execute_update")
def _execute(
    watch: InstallWatch,
    original: Callable[..., int],
    executor: Executor,
    operation: Operation,
) -> int:
    watch.job, watch.is_operation = operation.job_type, True
    try:
        status = original(executor, operation)
        watch.end(commit=status == 0)
        return status
    except BaseException:
        watch.end(commit=False)
        raise
    finally:
        watch.job, watch.is_operation = "install", False


@INSTALLS.around("poetry.installation.executor", "Executor._execute_uninstall")
def _execute_uninstall(
    watch: InstallWatch,
    original: Callable[..., int],
    executor: Executor,
    operation: Operation,
) -> int:
    watch.job = operation.job_type
    try:
        return original(executor, operation)
    finally:
        watch.job = "install"


@INSTALLS.around("poetry.utils.env.site_packages", "SitePackages.distributions")
def _distributions(
    watch: InstallWatch,
    original: Callable[..., Iterable[Distribution]],
    site_packages: SitePackages,
    name: str | None = None,
    writable_only: bool = False,
) -> Iterable[Distribution]:
    """``Executor._save_url_reference`` looks here for what has just been installed."""
    from importlib.metadata import PathDistribution

    if name and watch.installation and (made := watch.installation.dist_info):
        return [PathDistribution(Path(made))]
    return original(site_packages, name, writable_only)


@INSTALLS.uses("importlib.metadata", "PathDistribution._path")
@INSTALLS.uses("poetry.installation.executor", "Executor._env")
@INSTALLS.around("poetry.installation.executor", "Executor._remove")
def _remove(
    watch: InstallWatch,
    original: Callable[..., int],
    executor: Executor,
    package: Package,
) -> int:
    """A git dependency's checkout goes too, as in ``Executor._remove``."""
    environment = executor._env
    if watch.installs.concerns(str(environment.purelib)):
        trees = []
        if package.source_type == "git":
            trees = [str(environment.path / "src" / package.name)]
        found = next(iter(environment.site_packages.distributions(package.name)), None)
        with watch.installs.writing():
            if found and watch.installs.remove(
                str(getattr(found, "_path", "")), package.name, watch.job, trees
            ):
                return 0
            return original(executor, package)
    return original(executor, package)
