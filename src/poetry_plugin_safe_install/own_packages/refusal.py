"""What users are told about Poetry's own packages: why, and the ways out."""

from __future__ import annotations

import shlex

from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.internals import DISTRIBUTION


if TYPE_CHECKING:
    from poetry_plugin_safe_install.own_packages.judge import Verdict

VARIABLE = "POETRY_SAFE_INSTALL_ON_SELF_CHANGE"


def why_kept(verdict: Verdict) -> str:
    """Why an operation was skipped, in words that follow the package's name."""
    locked = f" to {verdict.locked}" if verdict.locked else ""
    change = verdict.reason.partition(",")[0] + locked
    return f"Poetry needs it, it would be {change}" + _because(verdict.requirers)


def said(verdict: Verdict) -> str:
    """A verdict in a line."""
    locked = f" -> {verdict.locked}" if verdict.locked else ""
    reason = f": {verdict.reason}" if verdict.reason else ""
    return f"{verdict.package} {verdict.installed}{locked}{reason}" + _because(
        verdict.requirers
    )


def _because(requirers: tuple[str, ...]) -> str:
    return f" ({'; '.join(requirers)})" if requirers else ""


def refusal(
    stopped: list[Verdict],
    environment: str,
    arguments: list[str],
    against_pin: list[str],
) -> str:
    """Why nothing was done, and the ways out.

    :param against_pin: why ``pin`` would not do either.
    """
    head = ("package", "installed", "locked", "would be")
    rows = [(v.package, v.installed, v.locked or "-", v.reason) for v in stopped]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "This would damage the Poetry that runs it, so nothing was changed.",
        f"Poetry is installed in the environment that is to be changed, {environment}:",
        "",
    ]
    for row, verdict in zip((head, *rows), (None, *stopped), strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
        if verdict:
            lines += [f"      {requirer}" for requirer in verdict.requirers]
    lines += ["", "Ways out:", *ways_out(stopped, arguments, against_pin)]
    return "\n".join(lines)


def ways_out(
    stopped: list[Verdict], arguments: list[str], against_pin: list[str]
) -> list[str]:
    """Each with the commands to paste."""
    line = shlex.join(["poetry", *arguments])
    pinned = f"{VARIABLE}=pin {line}"
    if arguments[:1] in (["install"], ["safe-install"]):
        rest = shlex.join(arguments[1:])
        pinned = " ".join(f"poetry safe-install {rest}".split())
        pinned += " --on-self-change pin"
    lines = [
        "  - Keep Poetry in an environment of its own:",
        "      pipx install poetry",
        f"      pipx inject poetry {DISTRIBUTION}",
    ]
    if against_pin:
        lines += ['  - on-self-change "pin" would not do here:']
        lines += [f"      {reason}" for reason in against_pin]
    else:
        lines += ["  - Leave these packages as they are:", f"      {pinned}"]
    return [
        *lines,
        "  - Align the lock file with what is installed:",
        *(
            "      " + shlex.join(["poetry", *command])
            for command in aligning(stopped, arguments, bool(against_pin))
        ),
    ]


def aligning(
    stopped: list[Verdict], arguments: list[str], is_required: bool
) -> list[list[str]]:
    """The commands that have the lock file hold what Poetry needs.

    :param is_required: whether something requires what Poetry does not bear.
    """
    commands = []
    changed = [verdict for verdict in stopped if verdict.locked]
    if changed and is_required:
        wanted = [f"{v.package}>={v.installed}" for v in changed]
        commands.append(["add", "--lock", *wanted])
    elif changed:
        commands.append(["update", "--lock", *(v.package for v in changed)])
    removed = [verdict for verdict in stopped if not verdict.locked]
    if removed and arguments[:1] == ["remove"]:
        commands.append(["remove", "--lock", *arguments[1:]])
    elif removed:
        roots = [v for v in removed if not v.requirers or v.package == "poetry"]
        wanted = [f"{v.package}=={v.installed}" for v in roots or removed]
        commands.append(["add", "--lock", "--group", "dev", *wanted])
    return commands
