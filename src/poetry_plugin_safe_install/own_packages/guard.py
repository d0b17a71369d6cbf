"""Poetry's own packages are guarded while a command changes their environment.

Where they are in the environment at all, every list of operations is judged before it
is executed (``own_packages.judge``), and what was decided is said and done here.
"""

from __future__ import annotations

import os
import shlex
import sys

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.internals import DISTRIBUTION
from poetry_plugin_safe_install.compat.operations import TargetEnvironment
from poetry_plugin_safe_install.compat.operations import one_by_one_at_the_end
from poetry_plugin_safe_install.compat.operations import skip_operation
from poetry_plugin_safe_install.errors import SelfChangeRefusedError


if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from poetry.installation.operations.operation import Operation

    from poetry_plugin_safe_install.own_packages.judge import Verdict
    from poetry_plugin_safe_install.own_packages.snapshot import KeptFiles

VARIABLE = "POETRY_SAFE_INSTALL_ON_SELF_CHANGE"


class OwnPackagesGuard:
    """Sees every operation before it happens; see the head of this module."""

    def __init__(
        self,
        target: TargetEnvironment,
        mode: str,
        arguments: list[str],
    ) -> None:
        """
        :param mode: the setting ``on-self-change``.
        :param arguments: the command's, as the user has given them.
        """
        self.io = target.io
        self._target = target
        self._mode = mode
        self._arguments = arguments
        self._left: list[Verdict] = []
        self._kept: KeptFiles | None = None

    def verdicts(
        self, operations: list[Operation], mode: str | None = None
    ) -> list[Verdict]:
        """What would be done about those operations that concern own packages.

        Changes nothing and says nothing.

        :param mode: what to take for the setting ``on-self-change``.
        """
        from poetry_plugin_safe_install.own_packages.judge import Release
        from poetry_plugin_safe_install.own_packages.judge import distributions
        from poetry_plugin_safe_install.own_packages.judge import judge
        from poetry_plugin_safe_install.own_packages.judge import own_releases
        from poetry_plugin_safe_install.own_packages.judge import poetry_and_plugins

        if all(operation.skipped for operation in operations):
            return []
        installed = distributions(sys.path)
        roots = poetry_and_plugins(installed)
        own = own_releases(roots, installed)
        project = self._target.project_name
        if project in own:
            # It is about to be installed anew, with what it requires now.
            own[project] = Release(
                project,
                own[project].version,
                tuple(self._target.requirements_of_project()),
            )
        changes, locked = self._target.changes_and_requirements(
            operations,
            (requires for release in own.values() for requires in release.requires),
        )
        concerned = [
            replace(change, over=change.over and self._holds(installed[name]))
            for name, change in changes.items()
            if name in own and self._reaches(installed[name])
        ]
        return judge(concerned, own, roots, locked, mode or self._mode)

    def pass_on(
        self, operations: list[Operation]
    ) -> tuple[list[Operation], Exception | None]:
        from poetry_plugin_safe_install.own_packages.judge import Action

        verdicts = self.verdicts(operations)
        if any(verdict.action is Action.STOP for verdict in verdicts):
            return operations, self._refusal(operations, verdicts)
        of = {verdict.package: verdict for verdict in verdicts}
        last = []
        for operation in operations:
            verdict = of.get(operation.package.name)
            if operation.skipped or verdict is None:
                continue
            if verdict.action is Action.KEEP:
                skip_operation(operation, why_kept(verdict))
                self._left.append(verdict)
            else:
                last.append(operation)
        self._warn([verdict for verdict in verdicts if verdict.action is Action.DO])
        if last and (self._target.changes_nothing or self.io.is_verbose()):
            names = ", ".join(operation.package.name for operation in last)
            self.io.write_error_line(
                f"<info>Poetry lives from these, they come last: {names}</info>"
            )
        if last:
            self._keep_files({operation.package.name for operation in last})
        return one_by_one_at_the_end(operations, last), None

    def command_ended(self) -> None:
        """Say what was left alone, and let go of what was kept."""
        if self._left:
            self.io.write_error_line(
                "\n<warning>Left as they are, because the running Poetry needs them:"
                "</warning>"
            )
        for verdict in self._left:
            self.io.write_error_line(
                f"  - {verdict.package} {verdict.installed}: {why_kept(verdict)}"
            )
        self._left = []
        if self._kept:
            self._kept.let_go()
            self._kept = None

    def _holds(self, distribution: Distribution) -> bool:
        place = os.path.realpath(str(distribution.locate_file("")))
        return place in {os.path.realpath(path) for path in self._target.directories}

    def _reaches(self, distribution: Distribution) -> bool:
        """Whether what is done in the environment can be seen in place of this."""
        place = os.path.realpath(str(distribution.locate_file("")))
        if Path(os.path.realpath(self._target.path)) in Path(place).parents:
            return True
        directories = {os.path.realpath(path) for path in self._target.directories}
        for path in map(os.path.realpath, sys.path):
            if path in directories:
                return True
            if path == place:
                return False
        return False

    def _keep_files(self, names: set[str]) -> None:
        from poetry_plugin_safe_install.own_packages.judge import distributions
        from poetry_plugin_safe_install.own_packages.snapshot import KeptFiles

        if self._kept or self._target.changes_nothing:
            return
        installed = distributions(sys.path)
        self._kept = KeptFiles(
            [installed[name] for name in sorted(names)],
            self._target.keep_embedded_pip,
        )

    def _warn(self, verdicts: list[Verdict]) -> None:
        if verdicts:
            self.io.write_error_line(
                "<warning>This will damage the Poetry that runs the command"
                f' (on-self-change is "{self._mode}"):</warning>'
            )
        for verdict in verdicts:
            self.io.write_error_line(f"  - {said(verdict)}")

    def _refusal(
        self, operations: list[Operation], verdicts: list[Verdict]
    ) -> SelfChangeRefusedError:
        from poetry_plugin_safe_install.own_packages.judge import Action

        with_pin = self.verdicts(operations, "pin")
        against_pin = [
            f"{verdict.package}: {verdict.reason}"
            for verdict in with_pin
            if verdict.action is Action.STOP
        ]
        stopped = [verdict for verdict in verdicts if verdict.action is Action.STOP]
        return SelfChangeRefusedError(
            refusal(stopped, str(self._target.path), self._arguments, against_pin)
        )


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
