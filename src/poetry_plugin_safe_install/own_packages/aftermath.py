"""What a command that died while it changed Poetry's own packages has left."""

from __future__ import annotations

import tempfile

from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.errors import SelfChangeRefusedError
from poetry_plugin_safe_install.own_packages.kept import left_in
from poetry_plugin_safe_install.own_packages.proof import Proof


if TYPE_CHECKING:
    from collections.abc import Iterable


def settle(sites: Iterable[str]) -> None:
    """Try Poetry out as that command would have; the environment's lock is held.

    :raises SelfChangeRefusedError: if it did not work, and was put back: what this
        process has loaded is gone.
    """
    for kept in left_in(sites):
        with tempfile.TemporaryDirectory(prefix="poetry-safe-install-") as directory:
            broken = (
                kept.packages and Proof.resumed(Path(directory), kept.proof).failure()
            )
        if broken:
            kept.put_back()
        kept.discard()
        if broken:
            raise SelfChangeRefusedError(
                "A command that was killed has left Poetry's own packages so that"
                f" Poetry did not work, and they were put back:"
                f" {', '.join(kept.packages)}. What it died of:\n  {broken}\n"
                "Run the command again."
            )
