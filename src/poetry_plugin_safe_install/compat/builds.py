"""Whatever runs a build backend, and whatever writes into the artifact cache."""

from __future__ import annotations

import os
import threading

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals
from poetry_plugin_safe_install.compat.progress import PROGRESS
from poetry_plugin_safe_install.compat.progress import teller


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import Protocol

    from build import ProjectBuilder
    from poetry.console.commands.build import BuildHandler
    from poetry.inspection.info import PackageInfo
    from poetry.installation.chef import Chef
    from poetry.installation.executor import Executor
    from poetry.masonry.builders.editable import EditableBuilder
    from poetry.poetry import Poetry
    from poetry.utils.cache import ArtifactCache


BUILDS = Internals("builds", PROGRESS)

PROJECT_BUILDS = Internals("builds of the project itself")
"""Apart: checking them loads what only those commands use that build it."""


if TYPE_CHECKING:

    class Builds(Protocol):
        """What is asked by everything of Poetry's that builds."""

        def backend(self) -> AbstractContextManager[None]:
            """A build backend runs meanwhile, wherever it does."""

        def tree(
            self, directory: Path, tell: Callable[[str], bool] | None = None
        ) -> AbstractContextManager[dict[str, str]]:
            """A build backend runs in this directory meanwhile.

            It gives variables for the environment of the processes that do so.

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


class BuildWatch:
    """Has everything in this process that builds ask ``builds``.

    The context of ``BUILDS`` and ``PROJECT_BUILDS``.
    """

    def __init__(self, builds: Builds) -> None:
        self._builds = builds
        self.backend = builds.backend
        self.checkout = builds.checkout
        self.wheel = builds.wheel
        self.download = builds.download
        self.unpacked: set[Path] = set()
        """Where Poetry has unpacked sdists: nobody else knows these directories."""
        self.tellers: dict[int, Callable[[str], bool]] = {}
        """How each thread of the executor tells of its operation."""
        self.environs: dict[int, dict[str, str]] = {}
        """Variables for the process of a backend, by the thread that starts it."""

    def tree(self, directory: Path) -> AbstractContextManager[dict[str, str]]:
        return self._builds.tree(directory, self.tellers.get(threading.get_ident()))

    def is_unpacked(self, path: Path) -> bool:
        return not self.unpacked.isdisjoint((path, *path.parents))


@BUILDS.around("poetry.installation.chef", "extractall")
@BUILDS.around("poetry.inspection.info", "extractall")
def _extractall(
    watch: BuildWatch,
    original: Callable[..., None],
    source: Path,
    dest: Path,
    zip: bool,
) -> None:
    """``Chef._prepare_sdist`` and ``PackageInfo._from_sdist_file`` unpack with it.

    Into a temporary directory.
    """
    watch.unpacked.add(Path(dest))
    original(source=source, dest=dest, zip=zip)


# Every process of a build backend. ``isolated_builder`` yields a ``ProjectBuilder``, each
# of whose methods runs one and is guarded alone: between two of them Poetry installs what
# the backend asks for, and that may build as well.


@BUILDS.uses("build", "ProjectBuilder.source_dir")
@BUILDS.around("build", "ProjectBuilder.get_requires_for_build")
@BUILDS.around("build", "ProjectBuilder.prepare")
@BUILDS.around("build", "ProjectBuilder.build")
def _run_backend(
    watch: BuildWatch,
    original: Callable[..., Any],
    builder: ProjectBuilder,
    *args: Any,
    **kwargs: Any,
) -> Any:
    tree = Path(builder.source_dir)
    with watch.backend():
        if watch.is_unpacked(tree):
            return original(builder, *args, **kwargs)
        with watch.tree(tree) as watch.environs[threading.get_ident()]:
            return original(builder, *args, **kwargs)


@BUILDS.around("pyproject_hooks", "quiet_subprocess_runner")
def _start_backend(
    watch: BuildWatch,
    original: Callable[..., None],
    cmd: Any,
    cwd: Any = None,
    extra_environ: Any = None,
) -> None:
    """``isolated_builder`` hands it to ``ProjectBuilder``, which starts all with it."""
    environ = watch.environs.get(threading.get_ident(), {})
    original(cmd, cwd, {**environ, **(extra_environ or {})})


@BUILDS.around("poetry.installation.executor", "Executor._prepare_archive")
def _prepare_archive(
    watch: BuildWatch,
    original: Callable[..., Path],
    executor: Executor,
    operation: Any,
    **kwargs: Any,
) -> Path:
    thread = threading.get_ident()
    watch.tellers[thread] = teller(executor, operation)
    try:
        return original(executor, operation, **kwargs)
    finally:
        del watch.tellers[thread]


@BUILDS.around("poetry.inspection.info", "PackageInfo.from_metadata_directory")
def _from_metadata_directory(
    watch: BuildWatch,
    original: Callable[..., Any],
    cls: type[PackageInfo],
    path: Path,
) -> Any:
    """``*.egg-info`` that a backend leaves in a tree, which Poetry reads to resolve."""
    is_tree = any((path / name).exists() for name in ("pyproject.toml", "setup.py"))
    if not is_tree or watch.is_unpacked(path):
        return original(cls, path)
    with watch.tree(path):
        return original(cls, path)


# Wheels that are built into the artifact cache, and what is downloaded there.


@BUILDS.around("poetry.installation.chef", "Chef._prepare")
def _prepare(
    watch: BuildWatch,
    original: Callable[..., Path],
    chef: Chef,
    directory: Path,
    destination: Path,
    **kwargs: Any,
) -> Path:
    return watch.wheel(
        destination, lambda place: original(chef, directory, place, **kwargs)
    )


@BUILDS.around("poetry.utils.cache", "ArtifactCache.get_cached_archive_for_link")
def _get_cached_archive_for_link(
    watch: BuildWatch,
    original: Callable[..., Any],
    cache: ArtifactCache,
    link: Any,
    *,
    download_func: Any = None,
    **kwargs: Any,
) -> Any:
    if download_func is not None:
        download_func = watch.download(download_func)
    return original(cache, link, download_func=download_func, **kwargs)


# What builds the project itself without ``ProjectBuilder``. ``EditableBuilder`` runs a
# build script in what ``build_environment`` yields, or lets pip run a setup.py that it
# writes into the tree. ``poetry build`` lets its own poetry-core build: in Poetry 2.0 in
# what ``build_environment`` yields, then in ``BuildHandler._build``.


# None of them runs beside another thread that builds: ``Executor.execute`` has what is
# installed in editable mode wait for all else.


@contextmanager
def _told(environ: dict[str, str]) -> Iterator[None]:
    """Have all processes that are started meanwhile know these variables."""
    before = {name: os.environ.get(name) for name in environ}
    os.environ.update(environ)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@PROJECT_BUILDS.around("poetry.masonry.builders.editable", "build_environment")
@PROJECT_BUILDS.around(
    "poetry.console.commands.build",
    "build_environment",
    seen_in="2.0.1",
    instead="BuildHandler._build",
)
@contextmanager
def _build_environment(
    watch: BuildWatch,
    original: Callable[..., AbstractContextManager[Any]],
    poetry: Poetry,
    env: Any = None,
    io: Any = None,
) -> Iterator[Any]:
    made = original(poetry=poetry, env=env, io=io)
    tree = watch.tree(poetry.file.path.parent)
    with made as found, watch.backend(), tree as more, _told(more):
        yield found


@PROJECT_BUILDS.uses("poetry.masonry.builders.editable", "EditableBuilder._poetry")
@PROJECT_BUILDS.around(
    "poetry.masonry.builders.editable", "EditableBuilder._setup_build"
)
def _setup_build(
    watch: BuildWatch, original: Callable[..., None], builder: EditableBuilder
) -> None:
    tree = watch.tree(builder._poetry.file.path.parent)
    with watch.backend(), tree as more, _told(more):
        original(builder)


@PROJECT_BUILDS.around(
    "poetry.console.commands.build",
    "BuildHandler._build",
    seen_in="2.1.4, 2.2.1, 2.3.4, 2.4.3, 2.5.1",
    instead="build_environment",
)
def _build(
    watch: BuildWatch,
    original: Callable[..., None],
    handler: BuildHandler,
    *args: Any,
    **kwargs: Any,
) -> None:
    with watch.tree(handler.poetry.file.path.parent) as more, _told(more):
        original(handler, *args, **kwargs)


# Git repositories below an environment's ``src``, which its users share.


@BUILDS.uses("poetry.vcs.git", "Git.get_name_from_source_url")
@BUILDS.uses("poetry.installation.executor", "Executor._env")
@BUILDS.around("poetry.installation.executor", "Executor._prepare_git_archive")
def _prepare_git_archive(
    watch: BuildWatch,
    original: Callable[..., Path],
    executor: Executor,
    operation: Any,
) -> Path:
    from poetry.vcs.git import Git

    name = Git.get_name_from_source_url(operation.package.source_url)
    with watch.checkout(executor._env.path / "src" / name):
        return original(executor, operation)


@BUILDS.uses("poetry.vcs.git", "Git.get_default_source_root")
@BUILDS.around("poetry.packages.direct_origin", "_get_package_from_git")
def _get_package_from_git(
    watch: BuildWatch,
    original: Callable[..., Any],
    url: str,
    *args: Any,
    **kwargs: Any,
) -> Any:
    from poetry.vcs.git import Git

    root = kwargs.get("source_root") or Git.get_default_source_root()
    with watch.checkout(root / Git.get_name_from_source_url(url)):
        return original(url, *args, **kwargs)
