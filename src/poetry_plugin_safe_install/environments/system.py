"""Warnings for a command that installs into a Python that is not a virtual environment."""

from __future__ import annotations

import os

from typing import TYPE_CHECKING
from typing import NamedTuple

from poetry_plugin_safe_install.errors import ExternallyManagedError


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping
    from pathlib import Path

    from poetry_plugin_safe_install.compat.operations import TargetEnvironment

MARKER = "EXTERNALLY-MANAGED"
"""The file beside the standard library that PEP 668 defines."""


def watch(
    target: TargetEnvironment, externally_managed: str, environ: Mapping[str, str]
) -> SystemEnvironment:
    """Watch an environment that is not virtual.

    :param externally_managed: the setting of that name.
    :raises ExternallyManagedError: if nothing may be installed there.
    """
    marker = target.standard_library / MARKER
    if externally_managed != "allow" and marker.exists():
        message = managed_message(target.path, marker, environ)
        if externally_managed == "refuse":
            from poetry_plugin_safe_install.events import refused

            message = f"Nothing was installed. {message}"
            raise refused(ExternallyManagedError(message))
        target.io.write_error_line(f"<warning>{message}</warning>")
    return SystemEnvironment(target, environ)


def managed_message(path: Path, marker: Path, environ: Mapping[str, str]) -> str:
    """What is wrong with installing there, and what to do."""
    unset = ""
    if "POETRY_VIRTUALENVS_CREATE" in environ:
        unset = "unset POETRY_VIRTUALENVS_CREATE; "
    return (
        f"The Python in {path} belongs to the system (PEP 668, {marker}): packages that"
        " Poetry installs there can break it, and its own can break them."
        " Let Poetry make a virtual environment:\n"
        f"    {unset}poetry config --local virtualenvs.create true\n"
        "If this is meant:\n"
        "    export POETRY_SAFE_INSTALL_EXTERNALLY_MANAGED=allow"
    )


class SystemEnvironment:
    """Tells which scripts came into a directory where no shell looks for them."""

    def __init__(self, target: TargetEnvironment, environ: Mapping[str, str]) -> None:
        self._io = target.io
        self._shell = environ.get("SHELL", "")
        on_path = {
            os.path.realpath(entry)
            for entry in environ.get("PATH", "").split(os.pathsep)
        }
        self._before = {
            directory: scripts_in(directory)
            for directory in target.script_directories
            if os.path.realpath(directory) not in on_path
        }

    def command_ended(self) -> None:
        for directory, before in self._before.items():
            new = sorted(scripts_in(directory) - before)
            if new:
                message = off_path_message(
                    directory, [script.name for script in new], self._shell
                )
                self._io.write_error_line(f"<warning>{message}</warning>")
        self._before = {}


class Script(NamedTuple):
    name: str
    modified: int
    """Nanoseconds: a script that is written again is another."""


def scripts_in(directory: Path) -> set[Script]:
    try:
        with os.scandir(directory) as entries:
            return {
                Script(entry.name, entry.stat().st_mtime_ns)
                for entry in entries
                if entry.is_file()
            }
    except OSError:
        return set()


def off_path_message(directory: Path, scripts: Iterable[str], shell: str) -> str:
    return (
        f"These scripts are in {directory}, which is not on PATH: {', '.join(scripts)}."
        f" To have them found:\n    {path_line(directory, shell)}"
    )


def path_line(directory: Path, shell: str) -> str:
    """What puts a directory on PATH.

    :param shell: the user's, as the variable SHELL names it.
    """
    name = os.path.basename(shell)
    if name == "fish":
        return f'fish_add_path "{directory}"'
    if name in ("csh", "tcsh"):
        return f'setenv PATH "{directory}:$PATH"'
    return f'export PATH="{directory}:$PATH"'
