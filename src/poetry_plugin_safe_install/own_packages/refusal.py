"""What users are told about Poetry's own packages: why, and the ways out."""

from __future__ import annotations

import shlex

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat import DISTRIBUTION


if TYPE_CHECKING:
    from poetry_plugin_safe_install.own_packages.judge import Verdict

VARIABLE = "POETRY_SAFE_INSTALL_ON_SELF_CHANGE"

ROWS = 10
"""How many packages are shown with all that is known of them."""


def why_kept(verdict: Verdict) -> str:
    """Why an operation was skipped, in words that follow the package's name."""
    locked = f" to {verdict.locked}" if verdict.locked else ""
    change, comma, because = verdict.reason.partition(",")
    return f"Poetry needs it, it would be {change}{locked}{comma}{because}"


def said(verdict: Verdict) -> str:
    """A verdict in a line."""
    changes = verdict.locked and verdict.locked != verdict.installed
    locked = f" -> {verdict.locked}" if changes else ""
    reason = f": {verdict.reason}" if verdict.reason else ""
    return f"{verdict.package} {verdict.installed}{locked}{reason}"


def put_back(broken: str) -> str:
    """Why the command fails though it was not refused."""
    return (
        "Poetry did not work any more with what was installed in its environment, so its"
        " own packages were put back as they were. What it died of:\n"
        f"  {broken}\n"
        "All else is installed. Keep Poetry in an environment of its own:\n"
        f"    pipx install poetry\n    pipx inject poetry {DISTRIBUTION}"
    )


def not_kept(error: OSError) -> str:
    return (
        "Nothing was changed: packages that Poetry itself needs would be replaced, and"
        f" their files cannot be kept for the case that it does not work then ({error})."
        " Make room in site-packages, and in the directory for temporary files."
    )


def not_written(name: str, verdicts: list[Verdict]) -> str:
    rows = "\n".join(f"  {said(verdict)}" for verdict in verdicts)
    return (
        f"{name} was not installed: its wheel has files that Poetry itself needs, under"
        f" the same names and with another content.\n{rows}"
    )


def refusal(
    stopped: list[Verdict], environment: str, ways: list[tuple[str, list[str]]]
) -> str:
    """Why nothing was done, and the ways out: on one screen.

    :param ways: what each leads to, with the commands to paste.
    """
    rows = [("package", "installed", "locked", "would be")]
    rows += [
        (verdict.package, verdict.installed, verdict.locked or "-", verdict.reason)
        for verdict in stopped[:ROWS]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "This would damage the Poetry that runs it, so nothing was changed.",
        f"Poetry is installed in the environment that is to be changed, {environment}:",
        "",
    ]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    if len(stopped) > ROWS:
        names = ", ".join(verdict.package for verdict in stopped[ROWS:][:ROWS])
        lines.append(f"  {len(stopped) - ROWS} more: {names}")
        lines[-1] += ", …" if len(stopped) > 2 * ROWS else ""
    lines += ["", "Ways out:"]
    for what, commands in ways:
        lines += [f"  - {what}:", *(f"      {command}" for command in commands)]
    return "\n".join(lines)


ISOLATION = (
    "Keep Poetry in an environment of its own",
    ["pipx install poetry", f"pipx inject poetry {DISTRIBUTION}"],
)


def pinned(arguments: list[str], place: list[str]) -> str:
    """The command that leaves Poetry's own packages as they are.

    :param arguments: the command's, as the user has given them.
    :param place: the options before the command that say where the project is.
    """
    if arguments[:1] in (["install"], ["sync"], ["safe-install"]):
        sync = ["--sync"] if arguments[0] == "sync" else []
        rest = [*sync, *arguments[1:], "--on-self-change", "pin"]
        return _pasted(["safe-install", *rest], place)
    return f"{VARIABLE}=pin {_pasted(arguments, place)}"


def without_removals(arguments: list[str], place: list[str]) -> str:
    """The command that removes nothing, for one that synchronizes."""
    name = "install" if arguments[0] == "sync" else arguments[0]
    return _pasted([name, *(a for a in arguments[1:] if a != "--sync")], place)


def only_in_the_lock_file(arguments: list[str], place: list[str]) -> str:
    """``remove`` that leaves the environment alone."""
    return _pasted([arguments[0], "--lock", *arguments[1:]], place)


def relocked(names: list[str], arguments: list[str], place: list[str]) -> list[str]:
    """The commands that have the lock file hold what Poetry accepts."""
    return [
        _pasted(["update", "--lock", *names], place),
        _pasted(arguments, place),
    ]


def _pasted(arguments: list[str], place: list[str]) -> str:
    return shlex.join(["poetry", *place, *arguments])
