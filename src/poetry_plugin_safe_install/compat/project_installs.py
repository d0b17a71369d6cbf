"""How Poetry installs the project itself: ``EditableBuilder``, which pip does not see."""

from __future__ import annotations

import csv
import os

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.installs import INSTALLS
from poetry_plugin_safe_install.compat.installs import PROJECT


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator

    from poetry.masonry.builders.editable import EditableBuilder
    from poetry.utils.env.site_packages import SitePackages

    from poetry_plugin_safe_install.compat.installs import Installation
    from poetry_plugin_safe_install.compat.installs import InstallWatch

EDITABLE = "poetry.masonry.builders.editable"


@INSTALLS.around(EDITABLE, "EditableBuilder.build")
def _build(
    watch: InstallWatch,
    original: Callable[..., Path],
    builder: EditableBuilder,
    *args: Any,
    **kwargs: Any,
) -> Path:
    try:
        built = original(builder, *args, **kwargs)
        watch.end(commit=True)
        return built
    except BaseException:
        watch.end(commit=False)
        raise


@INSTALLS.uses("importlib.metadata", "PathDistribution._path")
@INSTALLS.uses("poetry.utils.env.site_packages", "SitePackages.purelib")
@INSTALLS.around(
    "poetry.utils.env.site_packages", "SitePackages.remove_distribution_files"
)
def _remove_distribution_files(
    watch: InstallWatch,
    original: Callable[..., list[Path]],
    site_packages: SitePackages,
    distribution_name: str,
) -> list[Path]:
    if not watch.installs.concerns(str(site_packages.purelib)):
        return original(site_packages, distribution_name)
    with watch.installs.writing():
        return _remove_whole(watch, original, site_packages, distribution_name)


def _remove_whole(
    watch: InstallWatch,
    original: Callable[..., list[Path]],
    site_packages: SitePackages,
    distribution_name: str,
) -> list[Path]:
    removed: list[Path] = []
    for found in site_packages.distributions(distribution_name, True):
        path = Path(str(getattr(found, "_path", "")))
        if not watch.installs.remove(str(path), distribution_name, PROJECT, ()):
            return removed + original(site_packages, distribution_name)
        removed.append(path)
    return removed


@INSTALLS.uses(
    EDITABLE,
    "EditableBuilder._env",
    "EditableBuilder._module",
    "EditableBuilder._package",
)
@INSTALLS.uses("poetry.utils.env.site_packages", "SitePackages.writable_candidates")
@INSTALLS.around(EDITABLE, "EditableBuilder._add_pth")
def _add_pth(
    watch: InstallWatch, original: Callable[..., list[Path]], builder: EditableBuilder
) -> list[Path]:
    """The first that is written; what comes next is known by then."""
    watch.installation = _begin(watch, builder)
    return original(builder)


def _begin(
    watch: InstallWatch, builder: EditableBuilder, pip_makes: str = ""
) -> Installation | None:
    """``None`` where nothing is going to be written into the environment."""
    site_packages = builder._env.site_packages
    sites = site_packages.writable_candidates
    if not sites or not watch.installs.concerns(str(site_packages.purelib)):
        return None
    pth = str(sites[0] / f"{builder._module.name}.pth")
    name = builder._package.name
    files = [pth, *_scripts_of(builder)]
    return watch.installs.install(str(sites[0]), name, PROJECT, files, pip_makes)


@INSTALLS.uses("poetry.utils.helpers", "is_dir_writable")
@INSTALLS.uses(EDITABLE, "EditableBuilder._poetry", "EditableBuilder._add_scripts")
@INSTALLS.uses(EDITABLE, "EditableBuilder.convert_entry_points")
def _scripts_of(builder: EditableBuilder) -> list[str]:
    """What ``EditableBuilder._add_scripts`` is going to write."""
    from poetry.utils.helpers import is_dir_writable

    points = builder.convert_entry_points()
    lines = [*points.get("console_scripts", []), *points.get("gui_scripts", [])]
    names = {line.partition(" = ")[0] for line in lines}
    names.update(builder._poetry.local_config.get("scripts", {}))
    if not names:
        return []
    for directory in builder._env.script_dirs:
        if is_dir_writable(path=directory, create=True):
            files = [os.path.join(directory, name) for name in names]
            return [*files, *(f"{file}.cmd" for file in files if os.name == "nt")]
    return []


@INSTALLS.uses("poetry.core.masonry.builders.wheel", "WheelBuilder.dist_info")
@INSTALLS.uses(EDITABLE, "EditableBuilder._poetry")
@INSTALLS.around(EDITABLE, "EditableBuilder._setup_build")
def _setup_build(
    watch: InstallWatch, original: Callable[..., None], builder: EditableBuilder
) -> None:
    """With ``generate-setup-file``, pip builds, removes what was there, and installs.

    uv's lock is not held meanwhile: a build script may run uv.
    """
    from poetry.core.masonry.builders.wheel import WheelBuilder

    installation = _begin(watch, builder, WheelBuilder(builder._poetry).dist_info)
    if installation is None:
        original(builder)
        return
    watch.installs.ended()
    try:
        original(builder)
    except BaseException:
        with watch.installs.writing():
            installation.undo()
        raise
    installation.commit()


@INSTALLS.around("poetry.utils.env.site_packages", "SitePackages.mkdir")
def _mkdir(
    watch: InstallWatch,
    original: Callable[..., Path],
    site_packages: SitePackages,
    path: Path,
    *args: Any,
    **kwargs: Any,
) -> Path:
    """Only ``EditableBuilder._add_dist_info`` makes a directory here."""
    installation = watch.installation
    if installation is None or path.is_absolute():
        return original(site_packages, path, *args, **kwargs)
    made = Path(installation.site, installation.stage(path.name), path)
    made.mkdir(*args, **kwargs)
    return made


@INSTALLS.uses(EDITABLE, "EditableBuilder._debug")
@contextmanager
def _told_of_site(watch: InstallWatch, builder: EditableBuilder) -> Iterator[None]:
    installation, debug = watch.installation, builder._debug
    if installation is None:
        yield
        return
    staged = str(Path(installation.site, installation.staging))
    vars(builder)["_debug"] = lambda text: debug(
        text.replace(staged, installation.site)
    )
    try:
        yield
    finally:
        del vars(builder)["_debug"]


@INSTALLS.around(EDITABLE, "EditableBuilder._add_dist_info")
def _add_dist_info(
    watch: InstallWatch,
    original: Callable[..., None],
    builder: EditableBuilder,
    added_files: list[Path],
) -> None:
    """RECORD has absolute paths here: those of where the dist-info is going to be.

    ``-vvv`` says that too.
    """
    with _told_of_site(watch, builder):
        original(builder, added_files)
    installation = watch.installation
    if installation is None or installation.dist_info is None:
        return
    record = Path(installation.dist_info, "RECORD")
    staged = os.path.join(installation.site, *installation.staging.split("/"), "")
    site = os.path.join(installation.site, "")
    with record.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with record.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [path.replace(staged, site, 1), *rest] for path, *rest in rows
        )
