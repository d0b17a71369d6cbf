"""Poetry's own packages are guarded while a command changes their environment.

Where they are in the environment at all, every list of operations is judged before it
is executed (``own_packages.judge``), and what was decided is said and done here.
"""

from __future__ import annotations

import os
import sys

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.operations import TargetEnvironment
from poetry_plugin_safe_install.compat.operations import one_by_one_at_the_end
from poetry_plugin_safe_install.compat.operations import skip_operation
from poetry_plugin_safe_install.errors import SelfChangeRefusedError
from poetry_plugin_safe_install.own_packages import refusal


if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from poetry.installation.operations.operation import Operation

    from poetry_plugin_safe_install.own_packages.judge import Verdict
    from poetry_plugin_safe_install.own_packages.snapshot import OwnFilesSnapshot


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
        self._snapshot: OwnFilesSnapshot | None = None

    def verdicts(
        self, operations: list[Operation], mode: str | None = None
    ) -> list[Verdict]:
        """What would be done about those operations that concern own packages.

        Changes nothing and says nothing.

        :param mode: what to take for the setting ``on-self-change``.
        """
        from poetry_plugin_safe_install.own_packages.installed import distributions
        from poetry_plugin_safe_install.own_packages.installed import own_releases
        from poetry_plugin_safe_install.own_packages.installed import poetry_and_plugins
        from poetry_plugin_safe_install.own_packages.judge import judge
        from poetry_plugin_safe_install.releases import Release

        if all(operation.skipped for operation in operations):
            return []
        installed = distributions(sys.path)
        roots = poetry_and_plugins(installed)
        own = own_releases(roots, installed)
        project = self._target.project_name
        if project in own:
            # It is about to be installed again, with what it requires now.
            own[project] = Release(
                project,
                own[project].version,
                tuple(self._target.requirements_of_project()),
            )
        changes, locked = self._target.changes_and_requirements(
            operations,
            (requires for release in own.values() for requires in release.requires),
            self._installed_versions(),
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
                skip_operation(operation, refusal.why_kept(verdict))
                self._left.append(verdict)
            else:
                last.append(operation)
        self._warn([verdict for verdict in verdicts if verdict.action is Action.DO])
        if last and (self._target.changes_nothing or self.io.is_verbose()):
            names = ", ".join(operation.package.name for operation in last)
            self.io.write_error_line(
                f"<info>Poetry runs from these, they come last: {names}</info>"
            )
        if last:
            self._take_snapshot({operation.package.name for operation in last})
        return one_by_one_at_the_end(operations, last), None

    def command_ended(self) -> None:
        """Say what was left alone, and discard the snapshot."""
        if self._left:
            self.io.write_error_line(
                "\n<warning>Left as they are, because the running Poetry needs them:"
                "</warning>"
            )
        for verdict in self._left:
            self.io.write_error_line(
                f"  - {verdict.package} {verdict.installed}: {refusal.why_kept(verdict)}"
            )
        self._left = []
        if self._snapshot:
            self._snapshot.discard()
            self._snapshot = None

    def _installed_versions(self) -> dict[str, str]:
        from poetry_plugin_safe_install.own_packages.installed import distributions

        paths = [*map(str, self._target.directories), *sys.path]
        return {name: found.version for name, found in distributions(paths).items()}

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

    def _take_snapshot(self, names: set[str]) -> None:
        from poetry_plugin_safe_install.own_packages.installed import distributions
        from poetry_plugin_safe_install.own_packages.snapshot import OwnFilesSnapshot

        if self._snapshot or self._target.changes_nothing:
            return
        installed = distributions(sys.path)
        self._snapshot = OwnFilesSnapshot(
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
            self.io.write_error_line(f"  - {refusal.said(verdict)}")

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
            refusal.refusal(
                stopped, str(self._target.path), self._arguments, against_pin
            )
        )
