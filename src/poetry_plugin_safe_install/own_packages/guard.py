"""Poetry's own packages are guarded while a command changes their environment.

Where they are in the environment at all, every list of operations is judged before it
is executed (``own_packages.judge``), and what was decided is said and done here. What is
changed is kept before and tried out afterwards (``snapshot``, ``proof``).
"""

from __future__ import annotations

import os
import sys
import threading

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.guarded_operations import one_by_one_at_the_end
from poetry_plugin_safe_install.compat.guarded_operations import skip_operation
from poetry_plugin_safe_install.compat.written_files import directory_of_other_backend
from poetry_plugin_safe_install.compat.written_files import files_of_operation
from poetry_plugin_safe_install.errors import SelfChangeRefusedError
from poetry_plugin_safe_install.own_packages import refusal
from poetry_plugin_safe_install.own_packages.installed import OwnPackages
from poetry_plugin_safe_install.own_packages.installed import distributions
from poetry_plugin_safe_install.own_packages.installed import real
from poetry_plugin_safe_install.own_packages.judge import Action
from poetry_plugin_safe_install.own_packages.judge import Installed
from poetry_plugin_safe_install.own_packages.judge import judge
from poetry_plugin_safe_install.own_packages.judge import judge_root
from poetry_plugin_safe_install.own_packages.judge import judge_written


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator
    from collections.abc import Sequence
    from importlib.metadata import Distribution

    from poetry.installation.operations.operation import Operation

    from poetry_plugin_safe_install.compat.operations import TargetEnvironment
    from poetry_plugin_safe_install.compat.written_files import WrittenFile
    from poetry_plugin_safe_install.own_packages.judge import Verdict
    from poetry_plugin_safe_install.own_packages.snapshot import OwnFilesSnapshot
    from poetry_plugin_safe_install.releases import Change
    from poetry_plugin_safe_install.releases import Release
    from poetry_plugin_safe_install.summary import Summary


class OwnPackagesGuard:
    """Sees every operation before it happens; see the head of this module."""

    def __init__(
        self,
        target: TargetEnvironment,
        mode: str,
        arguments: list[str],
        summary: Summary,
        place: Sequence[str] = (),
    ) -> None:
        """
        :param mode: the setting ``on-self-change``.
        :param arguments: the command's, as the user has given them.
        :param place: the options before it that say where the project is.
        """
        self.io = target.io
        self._target = target
        self._mode = mode
        self._arguments = arguments
        self._place = [*place]
        self._summary = summary
        self._left: list[Verdict] = []
        self._snapshot: OwnFilesSnapshot | None = None
        self._lock = threading.Lock()
        """Wheels are written by several threads."""

    @cached_property
    def _own(self) -> OwnPackages:
        return OwnPackages(sys.path)

    def verdicts(
        self, operations: list[Operation], mode: str | None = None
    ) -> list[Verdict]:
        """What would be done about whatever concerns own packages.

        Changes nothing and says nothing.

        :param mode: what to take for the setting ``on-self-change``.
        """
        mode = mode or self._mode
        own = {**self._own.releases}
        found = []
        if root := self._target.root:
            if root.name in own:
                # It is about to be installed again, with what it requires now.
                own[root.name] = replace(own[root.name], requires=root.requires)
            found += judge_root(root, own, self._own.origins, mode)
            owners = {
                file: owner
                for file, owner in self._own.owners.items()
                if owner != root.name
            }
            scripts = map(real, root.scripts)
            found += judge_written(
                f"a script of {root.name}", scripts, owners, own, mode
            )
        if any(not operation.skipped for operation in operations):
            found = [*self._judged(operations, own, mode), *found]
            found += self._written(operations, own, mode)
        return found

    def _judged(
        self, operations: list[Operation], own: dict[str, Release], mode: str
    ) -> list[Verdict]:
        installed = self._own.installed
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
        others = self._others(changes)
        return judge(concerned, Installed(own, self._own.roots, others), locked, mode)

    def _others(self, changes: dict[str, Change]) -> dict[str, Release]:
        """What is there afterwards beside the own packages."""
        found = {**self._own.others}
        for name, change in changes.items():
            if name in self._own.releases:
                continue
            if change.target:
                found[name] = change.target
            else:
                found.pop(name, None)
        return found

    def _written(
        self, operations: list[Operation], own: dict[str, Release], mode: str
    ) -> list[Verdict]:
        """What is known already of files that would be written over."""
        scheme = self._target.scheme
        found = []
        for operation in operations:
            if not operation.skipped:
                package = operation.package
                files = files_of_operation(operation, scheme)
                writer = f"{package.name} {package.version}"
                taken = self._taken(package.name, files)
                found += judge_written(writer, taken, self._own.owners, own, mode)
        return found

    def not_known(self, operations: list[Operation]) -> str:
        """Why it shows only when a directory is built whether it does harm.

        Its folders are named like those of own packages, and another build backend than
        Poetry's decides which of them are installed.
        """
        site = real(self._target.scheme["purelib"])
        own = {
            file.removeprefix(site).split(os.sep)[1].removesuffix(".py")
            for file in self._own.owners
            if file.startswith(site + os.sep)
        }
        for operation in operations:
            name, path = operation.package.name, directory_of_other_backend(operation)
            if operation.skipped or path is None or name in self._own.releases:
                continue
            for place in (path, path / "src"):
                for module in sorted(own.intersection(_modules_in(place))):
                    return (
                        f"{name} has {place / module}, and what of it is installed is"
                        " known only when it is built"
                    )
        return ""

    def _taken(self, writer: str, files: Iterable[WrittenFile]) -> list[str]:
        """Those that belong to another, own package and have another content."""
        found = []
        for file in files:
            owner = self._own.owners.get(real(file.path), writer)
            if owner != writer and not _is_content(file):
                found.append(real(file.path))
        return found

    def pass_on(
        self, operations: list[Operation]
    ) -> tuple[list[Operation], Exception | None]:
        verdicts = self.verdicts(operations)
        if _stops(verdicts):
            return operations, _refused(self._refusal(operations, verdicts))
        harm = [verdict for verdict in verdicts if verdict.action is Action.DO]
        last = self._sorted_out(operations, verdicts)
        names = {operation.package.name for operation in last}
        if names | {verdict.package for verdict in harm} and not self._changes_nothing:
            try:
                self._keep(names | {verdict.package for verdict in harm})
            except OSError as error:
                return operations, SelfChangeRefusedError(refusal.not_kept(error))
        self._warn(harm)
        if last and (self._changes_nothing or self.io.is_verbose()):
            shown = ", ".join(operation.package.name for operation in last)
            self.io.write_error_line(
                f"<info>Poetry runs from these, they come last: {shown}</info>"
            )
        return one_by_one_at_the_end(operations, last), None

    def _sorted_out(
        self, operations: list[Operation], verdicts: list[Verdict]
    ) -> list[Operation]:
        """Skip what is left as it is; what is done on own packages is returned."""
        of = {verdict.package: verdict for verdict in reversed(verdicts)}
        last = []
        for operation in operations:
            verdict = of.get(operation.package.name)
            if operation.skipped or verdict is None:
                continue
            if verdict.action is Action.KEEP:
                skip_operation(operation, refusal.why_kept(verdict))
                self._left.append(verdict)
                self._summary.pinned(verdict.package)
                from poetry_plugin_safe_install.events import tell

                tell(
                    "pinned",
                    package=verdict.package,
                    installed=verdict.installed,
                    locked=verdict.locked,
                )
            else:
                last.append(operation)
        return last

    def writes(self, name: str, files: Iterable[WrittenFile]) -> None:
        """A wheel is about to be written.

        :raises SelfChangeRefusedError: if it would be written over own packages.
        """
        taken = self._taken(name, files)
        if not taken:
            return
        mode = "allow" if name in self._own.releases else self._mode
        own = self._own.releases
        verdicts = judge_written(name, taken, self._own.owners, own, mode)
        if _stops(verdicts):
            raise _refused(SelfChangeRefusedError(refusal.not_written(name, verdicts)))
        with self._lock:
            self._keep({verdict.package for verdict in verdicts})
            if name not in own:
                self._warn(verdicts)

    def executed(self) -> None:
        """All operations are over, successfully or not: does Poetry still work?

        :raises SelfChangeRefusedError: if it did not, and was put back.
        """
        broken = self._snapshot.put_back_if_broken() if self._snapshot else ""
        if not broken:
            return
        if self._mode != "allow":
            raise _refused(SelfChangeRefusedError(refusal.put_back(broken)))
        self.io.write_error_line(f"<warning>{refusal.put_back(broken)}</warning>")

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
            if self._mode == "allow":  # the project itself may have done harm
                self.executed()
            self._snapshot.discard()
            self._snapshot = None

    @property
    def _changes_nothing(self) -> bool:
        return self._target.changes_nothing

    def _installed_versions(self) -> dict[str, str]:
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

    def _keep(self, names: set[str]) -> None:
        from poetry_plugin_safe_install.own_packages.snapshot import OwnFilesSnapshot

        changed = {name: self._own.installed[name] for name in sorted(names)}
        if self._snapshot is None:
            site = next(iter(changed.values())).locate_file("")
            self._snapshot = OwnFilesSnapshot(
                self._own.releases, self._target.keep_embedded_pip, Path(str(site))
            )
        self._snapshot.keep(changed)

    def _warn(self, verdicts: list[Verdict]) -> None:
        if verdicts:
            self.io.write_error_line(
                "<warning>This can break the Poetry that runs the command"
                f' (on-self-change is "{self._mode}"):</warning>'
            )
        for verdict in verdicts:
            self.io.write_error_line(f"  - {refusal.said(verdict)}")

    def _refusal(
        self, operations: list[Operation], verdicts: list[Verdict]
    ) -> SelfChangeRefusedError:
        stopped = [verdict for verdict in verdicts if verdict.action is Action.STOP]
        ways = [refusal.ISOLATION, *self._ways_out(operations, stopped)]
        text = refusal.refusal(stopped, str(self._target.path), ways)
        return SelfChangeRefusedError(text)

    def _ways_out(
        self, operations: list[Operation], stopped: list[Verdict]
    ) -> list[tuple[str, list[str]]]:
        """Those that have been tried and are not refused."""
        ways = []
        removals = [one for one in operations if one.job_type == "uninstall"]
        command, arguments, place = self._arguments[:1], self._arguments, self._place
        installs = command in (["install"], ["sync"], ["safe-install"])
        if not _stops(self.verdicts(operations, "pin")):
            pinned = refusal.pinned(arguments, place)
            ways.append(("Leave these packages as they are", [pinned]))
        if installs and (names := self._relockable(stopped)):
            lines = refusal.relocked(names, arguments, place)
            ways.append(("Lock versions that Poetry accepts", lines))
        if removals and command == ["remove"]:
            line = refusal.only_in_the_lock_file(arguments, place)
            ways.append(("Remove it from the project only", [line]))
        elif removals and installs:
            others = [one for one in operations if one not in removals]
            if not _stops(self.verdicts(others)):
                line = refusal.without_removals(arguments, place)
                ways.append(("Remove nothing", [line]))
        return ways

    def _relockable(self, stopped: list[Verdict]) -> list[str]:
        """The packages whose versions alone are wrong, if others can be locked."""
        from poetry_plugin_safe_install.own_packages.relocking import is_accepted

        if any(verdict.locked in (None, verdict.installed) for verdict in stopped):
            return []
        names = sorted(verdict.package for verdict in stopped)
        target = self._target
        environment = target.path if target.is_virtual else None
        if not is_accepted(target.project, names, self._arguments, environment):
            return []
        return names


def _modules_in(directory: Path) -> Iterator[str]:
    """Not of folders that hold no package, such as ``build``."""
    for file in [*directory.glob("*.py"), *directory.glob("*/__init__.py")]:
        yield file.parent.name if file.stem == "__init__" else file.stem


def _stops(verdicts: list[Verdict]) -> bool:
    return any(verdict.action is Action.STOP for verdict in verdicts)


def _is_content(file: WrittenFile) -> bool:
    """Whether that is in the file already."""
    if file.content is None:
        return False
    try:
        return Path(file.path).read_bytes() == file.content
    except OSError:
        return False


def _refused(error: SelfChangeRefusedError) -> SelfChangeRefusedError:
    from poetry_plugin_safe_install.events import refused

    return refused(error)
