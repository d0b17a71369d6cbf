"""Whatever runs a build backend, and whatever writes into the artifact cache."""

from __future__ import annotations

import threading

from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internal
from poetry_plugin_safe_install.compat.internals import missing_internals
from poetry_plugin_safe_install.compat.internals import replace
from poetry_plugin_safe_install.compat.internals import unknown_poetry
from poetry_plugin_safe_install.compat.internals import warn


if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Protocol

    from cleo.io.io import IO
    from poetry.poetry import Poetry


_RUN_BACKEND = ("get_requires_for_build", "prepare", "build")

BUILD_INTERNALS = (
    Internal("poetry.utils.isolated_build", "isolated_builder"),
    Internal("build", "ProjectBuilder.source_dir"),
    *(Internal("build", f"ProjectBuilder.{name}") for name in _RUN_BACKEND),
    Internal("poetry.installation.chef", "Chef._prepare"),
    Internal("poetry.installation.chef", "extractall"),
    Internal("poetry.installation.executor", "Executor._prepare_archive"),
    Internal("poetry.installation.executor", "Executor._prepare_git_archive"),
    Internal("poetry.installation.executor", "Executor._write"),
    Internal("poetry.installation.executor", "Executor.get_operation_message"),
    Internal("poetry.installation.executor", "Executor.supports_fancy_output"),
    Internal("poetry.inspection.info", "PackageInfo.from_metadata_directory"),
    Internal("poetry.inspection.info", "extractall"),
    Internal("poetry.packages.direct_origin", "_get_package_from_git"),
    Internal("poetry.vcs.git", "Git.get_name_from_source_url"),
    Internal("poetry.vcs.git", "Git.get_default_source_root"),
    Internal("poetry.utils.cache", "ArtifactCache.get_cached_archive_for_link"),
    Internal("poetry.masonry.builders.editable", "build_environment"),
    Internal("poetry.masonry.builders.editable", "EditableBuilder._setup_build"),
    Internal(
        "poetry.console.commands.build",
        "BuildHandler._build",
        "2.1.4, 2.2.1, 2.3.4, 2.4.3, 2.5.1",
        instead="build_environment",
    ),
)
"""Looked up only by a command that may build: importing them takes time."""


if TYPE_CHECKING:

    class Builds(Protocol):
        """What is asked by everything of Poetry's that builds."""

        def tree(
            self, directory: Path, tell: Callable[[str], bool] | None = None
        ) -> AbstractContextManager[None]:
            """A build backend runs in this directory meanwhile.

            :param tell: shows a text where the user looks for the progress of this build,
                and returns whether it did; raises ``KeyboardInterrupt`` if there is no
                point in waiting any longer.
            """

        def checkout(self, place: Path) -> AbstractContextManager[None]:
            """A git repository is cloned to this place and used meanwhile."""

        def wheel(self, place: Path, build: Callable[[Path], Path]) -> Path:
            """Have a wheel built that belongs into this directory of the artifact cache.

            :param build: builds it into the directory it is given, and returns its path.
            """

        def download(
            self, fetch: Callable[[str, Path], None]
        ) -> Callable[[str, Path], None]:
            """What to download with, in place of ``fetch(url, destination)``."""


def share_builds(builds: Builds, io: IO) -> None:
    """Have everything in this process that builds ask ``builds`` from now on."""
    from poetry.installation.chef import Chef

    if hasattr(Chef, "_safe_install"):
        return
    if absent := missing_internals(BUILD_INTERNALS):
        warn(io, unknown_poetry(f"{', '.join(absent)} not found"))
        return
    Chef._safe_install = True  # type: ignore[attr-defined]
    unpacked = _note_unpacked()
    _share_backends(builds, unpacked)
    _share_metadata(builds, unpacked)
    _share_artifacts(builds)
    _share_root(builds)
    _share_checkouts(builds)


_telling = threading.local()
"""``tell``: how a thread of the executor tells of its operation."""


def _note_unpacked() -> set[Path]:
    """Where Poetry unpacks sdists from now on: nobody else knows these directories.

    ``Chef._prepare_sdist`` and ``PackageInfo._from_sdist_file`` unpack into a temporary
    directory.
    """
    from poetry.inspection import info
    from poetry.installation import chef
    from poetry.utils.helpers import extractall as original

    unpacked: set[Path] = set()

    @wraps(original)
    def extractall(source: Path, dest: Path, zip: bool) -> None:
        unpacked.add(Path(dest))
        original(source=source, dest=dest, zip=zip)

    replace(chef, "extractall", extractall)
    replace(info, "extractall", extractall)
    return unpacked


def _share_backends(builds: Builds, unpacked: set[Path]) -> None:
    """Every process of a build backend.

    ``isolated_builder`` yields a ``ProjectBuilder``, each of whose methods runs one and
    is guarded alone: between two of them Poetry installs what the backend asks for, and
    that may build as well.
    """
    from build import ProjectBuilder
    from poetry.installation.executor import Executor

    def guarded(run: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(run)
        def run_guarded(self: ProjectBuilder, *args: Any, **kw: Any) -> Any:
            tree = Path(self.source_dir)
            if _is_below(unpacked, tree):
                return run(self, *args, **kw)
            with builds.tree(tree, getattr(_telling, "tell", None)):
                return run(self, *args, **kw)

        return run_guarded

    for name in _RUN_BACKEND:
        replace(ProjectBuilder, name, guarded(getattr(ProjectBuilder, name)))

    prepare = Executor._prepare_archive

    @wraps(prepare)
    def _prepare_archive(self: Executor, operation: Any, **kw: Any) -> Path:
        def tell(text: str) -> bool:
            # The main thread is told of Ctrl-C, and waits for this one to end.
            if self._shutdown:
                raise KeyboardInterrupt
            message = self.get_operation_message(operation)
            line = f"  <fg=blue;options=bold>-</> {message}: <comment>{text}</comment>"
            self._write(operation, line)
            return self.supports_fancy_output()

        _telling.tell = tell
        try:
            return prepare(self, operation, **kw)
        finally:
            del _telling.tell

    replace(Executor, "_prepare_archive", _prepare_archive)


def _share_metadata(builds: Builds, unpacked: set[Path]) -> None:
    """``*.egg-info`` that a backend leaves in a tree, which Poetry reads to resolve."""
    from poetry.inspection.info import PackageInfo

    read = PackageInfo.from_metadata_directory.__func__  # type: ignore[attr-defined]

    @wraps(read)
    def from_metadata_directory(cls: Any, path: Path) -> Any:
        is_tree = any((path / name).exists() for name in ("pyproject.toml", "setup.py"))
        if not is_tree or _is_below(unpacked, path):
            return read(cls, path)
        with builds.tree(path):
            return read(cls, path)

    replace(
        PackageInfo, "from_metadata_directory", classmethod(from_metadata_directory)
    )


def _share_artifacts(builds: Builds) -> None:
    """Wheels that are built into the artifact cache, and what is downloaded there."""
    from poetry.installation.chef import Chef
    from poetry.utils.cache import ArtifactCache

    prepare = Chef._prepare
    find = ArtifactCache.get_cached_archive_for_link

    @wraps(prepare)
    def _prepare(self: Chef, directory: Path, destination: Path, **kw: Any) -> Path:
        return builds.wheel(
            destination, lambda place: prepare(self, directory, place, **kw)
        )

    @wraps(find)
    def get_cached_archive_for_link(
        self: ArtifactCache, link: Any, *, download_func: Any = None, **kw: Any
    ) -> Any:
        if download_func is not None:
            download_func = builds.download(download_func)
        return find(self, link, download_func=download_func, **kw)

    replace(Chef, "_prepare", _prepare)
    replace(ArtifactCache, "get_cached_archive_for_link", get_cached_archive_for_link)


def _share_root(builds: Builds) -> None:
    """What builds the project itself without ``ProjectBuilder``.

    ``EditableBuilder`` runs a build script in what ``build_environment`` yields, or
    lets pip run a setup.py that it writes into the tree. ``poetry build`` lets its own
    poetry-core build: in Poetry 2.0 in what ``build_environment`` yields, then in
    ``BuildHandler._build``.
    """
    from poetry.console.commands import build
    from poetry.masonry.builders import editable
    from poetry.utils.env import build_environment as environment

    setup = editable.EditableBuilder._setup_build

    @contextmanager
    def build_environment(poetry: Poetry, env: Any = None, io: Any = None) -> Any:
        tree = builds.tree(poetry.file.path.parent)
        with environment(poetry=poetry, env=env, io=io) as found, tree:
            yield found

    @wraps(setup)
    def _setup_build(self: Any) -> None:
        with builds.tree(self._poetry.file.path.parent):
            setup(self)

    replace(editable, "build_environment", build_environment)
    replace(editable.EditableBuilder, "_setup_build", _setup_build)

    if not hasattr(build, "BuildHandler"):
        replace(build, "build_environment", build_environment)
        return
    build_in_process = build.BuildHandler._build

    @wraps(build_in_process)
    def _build(self: Any, *args: Any, **kw: Any) -> None:
        with builds.tree(self.poetry.file.path.parent):
            build_in_process(self, *args, **kw)

    replace(build.BuildHandler, "_build", _build)


def _share_checkouts(builds: Builds) -> None:
    """Git repositories below an environment's ``src``, which its users share."""
    from poetry.installation.executor import Executor
    from poetry.packages import direct_origin
    from poetry.vcs.git import Git

    prepare = Executor._prepare_git_archive
    inspect = direct_origin._get_package_from_git

    @wraps(prepare)
    def _prepare_git_archive(self: Executor, operation: Any) -> Path:
        name = Git.get_name_from_source_url(operation.package.source_url)
        with builds.checkout(self._env.path / "src" / name):
            return prepare(self, operation)

    @wraps(inspect)
    def _get_package_from_git(url: str, *args: Any, **kw: Any) -> Any:
        root = kw.get("source_root") or Git.get_default_source_root()
        with builds.checkout(root / Git.get_name_from_source_url(url)):
            return inspect(url, *args, **kw)

    replace(Executor, "_prepare_git_archive", _prepare_git_archive)
    replace(direct_origin, "_get_package_from_git", _get_package_from_git)


def _is_below(directories: set[Path], path: Path) -> bool:
    return not directories.isdisjoint((path, *path.parents))
