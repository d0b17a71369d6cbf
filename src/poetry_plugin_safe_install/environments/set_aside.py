"""Environments that are being removed.

Removing one takes a while, and half of it still looks like an environment, whose
packages lack files. So it is renamed first, and whoever looks finds none.
"""

from __future__ import annotations

import os
import shutil
import time

from contextlib import suppress
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.environments.places import place_aside
from poetry_plugin_safe_install.locks.descendants import is_alive


if TYPE_CHECKING:
    from pathlib import Path


ABANDONED_AFTER = 3600
"""Seconds after which nobody is removing it any more, whoever has the process id."""


def set_aside(environment: Path) -> Path:
    """Rename an environment that is about to be removed.

    :return: where it is now: where it was if it cannot be renamed, a volume for example.
        A link stays too: Poetry removes it alone, and atomically.
    """
    if environment.is_symlink():
        return environment
    place = place_aside(environment)
    target = place / f"{environment.name}-{os.getpid()}"
    sweep(environment)
    try:
        place.mkdir(exist_ok=True)
        environment.rename(target)
    except OSError:
        return environment
    return target


def sweep(environment: Path) -> None:
    """Remove what a command that was killed has left beside this environment."""
    place = place_aside(environment)
    with suppress(OSError):
        for left in [*place.iterdir()]:
            if is_abandoned(left):
                if left.is_symlink():
                    left.unlink()
                else:
                    shutil.rmtree(left, ignore_errors=True)
        place.rmdir()


def is_abandoned(left: Path) -> bool:
    """Whether it is an environment, and the command that was removing it has died.

    Where ``.poetry`` is no directory, the project's locks lie beside it.
    """
    pid = left.name.rpartition("-")[2]
    if not pid.isdigit():
        return False
    if is_alive(int(pid)):
        return time.time() - left.lstat().st_ctime > ABANDONED_AFTER
    return True
