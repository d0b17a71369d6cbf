"""The environment that an install would use, or why there is none."""

from __future__ import annotations

import os
import sys

from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.check.finding import Cause
from poetry_plugin_safe_install.compat.environment_making import environment_directories
from poetry_plugin_safe_install.compat.environment_making import environment_to_be_used
from poetry_plugin_safe_install.compat.environment_making import failed_interpreter
from poetry_plugin_safe_install.compat.planned_install import PlannedInstall
from poetry_plugin_safe_install.environments.places import poetry_runs_from
from poetry_plugin_safe_install.errors import OwnEnvironmentError
from poetry_plugin_safe_install.errors import SafeInstallError


if TYPE_CHECKING:
    from pathlib import Path

    from poetry.console.commands.install import InstallCommand


@dataclass(frozen=True)
class Target:
    """The environment to install into, or why there is none."""

    environment: Any = None
    """Poetry's own object for it."""
    install: PlannedInstall | None = None
    problem: str = ""
    """Why Poetry can use none."""
    cause: Cause = Cause.PYTHON
    """Of the problem, if there is one."""

    @property
    def is_poetrys_own(self) -> bool:
        return self.install is not None and poetry_runs_from(self.install, sys.path)


def target_of(command: InstallCommand) -> Target:
    from poetry_plugin_safe_install.environments.project_environment import refuse_own

    try:
        environment = environment_to_be_used(command.poetry, refuse_own)
        if environment is None:
            return Target()
        os.fsencode(environment.path)
        return Target(environment, PlannedInstall(command, environment))
    except UnicodeError as error:
        return Target(problem=unwritable(error), cause=Cause.LOCALE)
    except OwnEnvironmentError as error:
        return Target(problem=text_of(error), cause=Cause.OWN)
    except Exception as error:  # whatever Poetry says to that would end the install
        if text := failed_interpreter(error):
            # Of its .pth files, which site reads in the encoding of the locale.
            locale = "UnicodeDecodeError" in text
            cause = Cause.LOCALE if locale else Cause.BROKEN
            return Target(problem=text, cause=cause)
        return Target(problem=text_of(error))


def is_removable(command: InstallCommand, target: Target) -> bool:
    """Whether it is one that Poetry has made, or would make, for the project."""
    if target.install is None:
        return False
    path = target.install.path
    directories = environment_directories(command.poetry)
    return any(is_same(path, one) or is_same(path.parent, one) for one in directories)


def unwritable(error: UnicodeError) -> str:
    text = getattr(error, "object", "")
    encoding = getattr(error, "encoding", "")
    return f"the encoding of this locale, {encoding}, has no name for {text}"


def is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # the second in a locale that has no name for it
        return False


def text_of(error: Exception) -> str:
    text = error.text if isinstance(error, SafeInstallError) else str(error)
    return " ".join(text.split()) or type(error).__name__
