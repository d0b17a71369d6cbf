"""How a command locks the project: two tables of decisions."""

from __future__ import annotations

from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.needs import Need


def first_mode(
    need: Need, scope: str, *, others: bool, must_publish: bool
) -> Mode | None:
    """How the project is locked before any plugin is activated.

    :param scope: the setting ``lock-scope``.
    :param others: whether there is any other plugin, loaded or yet to be installed.
    :param must_publish: whether plugin sets have to be made or removed.
    """
    if need is Need.RUN:
        return Mode.SHARED
    if need is Need.WRITE:
        return Mode.EXCLUSIVE
    if need in (Need.BUILD, Need.INSTALL):
        exclusive = must_publish or scope == "command" or (scope == "auto" and others)
        return Mode.EXCLUSIVE if exclusive else Mode.SHARED
    return None


def lasting_mode(need: Need, scope: str, *, rewriters: bool) -> Mode | None:
    """How the project stays locked once all plugins are activated.

    :param rewriters: whether another plugin listens to console events or is a generic
        one, and so may rewrite the project's files while the command runs.
    """
    return first_mode(need, scope, others=rewriters, must_publish=False)
