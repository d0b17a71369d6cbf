"""Which files an installation writes, as far as that is known before it does."""

from __future__ import annotations

import configparser
import contextlib
import os
import zipfile

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping

    from poetry.installation.operations.operation import Operation

WRITTEN_FILES = Internals("files that an installation writes")

BACKEND = "poetry.core.masonry.api"


class WrittenFile:
    """A file that is going to be written; ``content`` is unknown until it is made."""

    def __init__(self, path: str, content: bytes | None = None) -> None:
        self.path = path
        self.content = content


def files_of_wheel(wheel: Path, scheme: Mapping[str, str]) -> Iterator[WrittenFile]:
    """Where ``installer.install`` writes the files of a wheel.

    The layout is that of the binary distribution format (PEP 427).

    :param scheme: the directories, as ``Env.scheme_dict`` names them.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        for name in names:
            first, _, rest = name.partition("/")
            directory, inside = scheme["purelib"], name
            if first.endswith(".data") and "/" in rest:
                part, _, inside = rest.partition("/")
                directory = scheme.get(part, directory)
            path = os.path.join(directory, inside)
            # Most are new: only what is there already is read.
            content = archive.read(name) if os.path.exists(path) else None
            yield WrittenFile(path, content)
            if first.endswith(".dist-info") and rest == "entry_points.txt":
                text = archive.read(name).decode("utf-8")
                yield from _scripts(script_names(text), scheme["scripts"])


def files_of_operation(
    operation: Operation, scheme: Mapping[str, str]
) -> list[WrittenFile]:
    """What is known of a wheel file, or of a directory that Poetry itself builds.

    Other build backends decide what is in a wheel only when they build it.
    """
    package, path = operation.package, _source(operation)
    if path is None:
        return []
    with contextlib.suppress(Exception):  # what cannot be read fails in its own time
        if package.source_type == "file" and path.suffix == ".whl":
            return list(files_of_wheel(path, scheme))
        if package.source_type == "directory":
            return _files_of_directory(path, scheme, editable=package.develop)
    return []


def directory_of_other_backend(operation: Operation) -> Path | None:
    """The directory that is installed, if Poetry does not say itself what of it is."""
    path = _source(operation)
    if path is None or operation.package.source_type != "directory":
        return None
    from poetry.core.pyproject.toml import PyProjectTOML

    with contextlib.suppress(Exception):  # what cannot be read fails in its own time
        file = PyProjectTOML(path / "pyproject.toml")
        return None if file.build_system.build_backend == BACKEND else path
    return None


def _source(operation: Operation) -> Path | None:
    """The path of what is installed, if that is a file or a directory."""
    package = operation.package
    if operation.job_type == "uninstall" or not package.source_url:
        return None
    path = Path(package.source_url)
    if package.root_dir and not path.is_absolute():
        path = package.root_dir / path
    return path / (package.source_subdirectory or "")


@WRITTEN_FILES.uses(
    "poetry.core.masonry.builders.wheel", "WheelBuilder.find_files_to_add"
)
def _files_of_directory(
    path: Path, scheme: Mapping[str, str], *, editable: bool
) -> list[WrittenFile]:
    """``Builder.find_files_to_add`` is what poetry-core's own wheels are made of.

    Seen in poetry-core 2.0.1 to 2.5.0.
    """
    from poetry.core.factory import Factory
    from poetry.core.masonry.builders.wheel import WheelBuilder

    project = Factory().create_poetry(path)
    found = list(
        _scripts(scripts_of_project(project.pyproject.data), scheme["scripts"])
    )
    if editable or project.pyproject.build_system.build_backend != BACKEND:
        return found
    for file in WheelBuilder(project).find_files_to_add(exclude_build=True):
        place = os.path.join(scheme["purelib"], file.relative_to_target_root())
        if os.path.exists(place):
            found.append(WrittenFile(place, file.path.read_bytes()))
    return found


def scripts_of_project(pyproject: Mapping[str, Any]) -> list[str]:
    """The names of the scripts that a pyproject.toml declares."""
    project = pyproject.get("project", {})
    names = [*project.get("scripts", {}), *project.get("gui-scripts", {})]
    for name, script in (
        pyproject.get("tool", {}).get("poetry", {}).get("scripts", {}).items()
    ):
        is_file = isinstance(script, dict) and script.get("type") == "file"
        names.append(Path(script["reference"]).name if is_file else name)
    return [str(name) for name in names]


class _EntryPoints(configparser.ConfigParser):
    """Names of scripts are as they are written."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def script_names(entry_points: str) -> list[str]:
    """The scripts in the text of an entry_points.txt."""
    parser = _EntryPoints(delimiters=("=",), interpolation=None)
    parser.read_string(entry_points)
    return [
        name
        for group in ("console_scripts", "gui_scripts")
        if parser.has_section(group)
        for name in parser.options(group)
    ]


def _scripts(names: list[str], directory: str) -> Iterator[WrittenFile]:
    suffixes = ("", ".exe", ".cmd") if os.name == "nt" else ("",)
    for name in names:
        for suffix in suffixes:
            yield WrittenFile(os.path.join(directory, name + suffix))
