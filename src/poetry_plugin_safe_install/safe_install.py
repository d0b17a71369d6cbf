"""``poetry safe-install``: the explicit way in."""

from __future__ import annotations

from poetry.console.commands.install import InstallCommand


class SafeInstallCommand(InstallCommand):
    """``poetry install``, with the settings of the protection as options."""

    name = "safe-install"
    description = "Installs the project dependencies, protected."
