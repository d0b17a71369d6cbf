"""``poetry safe-install``: the explicit way in."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import ClassVar

from cleo.commands.command import Command
from cleo.helpers import option
from poetry.console.commands.install import InstallCommand

from poetry_plugin_safe_install.compat import DISTRIBUTION
from poetry_plugin_safe_install.compat.config import poetry_version
from poetry_plugin_safe_install.compat.environment_making import CHECK
from poetry_plugin_safe_install.compat.environment_making import SYNC
from poetry_plugin_safe_install.errors import SafeInstallError
from poetry_plugin_safe_install.settings import SETTINGS
from poetry_plugin_safe_install.settings import read_project_file
from poetry_plugin_safe_install.settings import shown_path


if TYPE_CHECKING:
    from cleo.io.inputs.option import Option
    from cleo.io.io import IO

    from poetry_plugin_safe_install.check.collect import CheckContext
    from poetry_plugin_safe_install.status.look import Status
    from poetry_plugin_safe_install.summary import Summary

FORMATS = ("text", "json")

_OWN_OPTIONS = (
    option(
        "sync",
        None,
        "Synchronize the environment with the locked packages and the specified groups.",
    ),
    *(
        option(setting.key, None, f"{setting.help} ({setting.choices})", flag=False)
        for setting in SETTINGS
    ),
    option(
        "check",
        None,
        "Change nothing; tell what an install would meet here. Exit status 1 if it"
        " would be refused.",
    ),
    option(
        "format",
        None,
        "How --check, --show-config and --status tell it: text (default) or json.",
        flag=False,
    ),
    option(
        "show-config",
        None,
        "Change nothing; show every setting and where it came from.",
    ),
    option(
        "status",
        None,
        "Change nothing; show what is kept here, who holds what and who waits, and what"
        " killed commands have left.",
    ),
    option(
        "prune",
        None,
        "Remove what nobody uses and what killed commands have left; show it, and the"
        " status then. --status shows beforehand what that is.",
    ),
)


def _options() -> list[Option]:
    """Those of the installed Poetry's ``install``, and this command's own."""
    own = {option.name for option in _OWN_OPTIONS}
    return [
        *(option for option in InstallCommand.options if option.name not in own),
        *_OWN_OPTIONS,
    ]


class SafeInstallCommand(InstallCommand):
    """``poetry install``, with the settings of the protection as options."""

    name = "safe-install"
    description = "Installs the project dependencies, protected; --check only looks."
    options: ClassVar[list[Option]] = _options()
    help = """\
The <info>safe-install</info> command does what <info>poetry install</info> does, under the same
protection, and sums up at the end what the protection did:

<info>poetry safe-install</info>

Before the first time, or when something went wrong, have a look around. Nothing is
changed, and the exit status is 1 if an install would be refused:

<info>poetry safe-install --check</info>
<info>poetry safe-install --check --format json</info>

Every setting is an option here, an environment variable, and a key of
<comment>[tool.poetry-plugin-safe-install]</comment> in <comment>pyproject.toml</comment>; the first of these
that is given counts. <comment>--lock-timeout</comment>, for example, is also
<comment>POETRY_SAFE_INSTALL_LOCK_TIMEOUT</comment> and the key <comment>lock-timeout</comment>.

<info>poetry safe-install --show-config</info>

Plugin sets, their copies in the cache, locks and what is left of killed commands:

<info>poetry safe-install --status</info>
<info>poetry safe-install --prune</info>

Settings given as options hold for this command alone; the others also for
<info>poetry install</info>, <info>poetry run</info> and all that is protected.
"""

    context: CheckContext | None = None
    """Given before ``--check`` and ``--show-config`` run, unless nothing is known."""

    is_outside_project = False
    """Told before ``--status`` runs: what there is on this machine can be shown."""

    summary: Summary | None = None
    """Given before the command runs; without protection there is none."""

    @property
    @SYNC.uses(
        "poetry.console.commands.install", "InstallCommand._with_synchronization"
    )
    def _with_synchronization(self) -> bool:
        """As ``SyncCommand`` does it; without the warning that ``install`` gives."""
        return bool(self.option("sync"))

    def execute(self, io: IO) -> int:
        if self.is_outside_project:  # ``InstallerCommand`` asks for the project
            return Command.execute(self, io)
        return super().execute(io)

    def handle(self) -> int:
        self._require_one_look()
        if self.option("check"):
            return self._check(self._known_context())
        if self.option("show-config"):
            return self._show_config(self._known_context())
        if self.option("status") or self.option("prune"):
            return self._status(
                None if self.is_outside_project else self._known_context()
            )
        if self.option("format") is not None:
            raise SafeInstallError(
                "The option --format is for --check, --show-config and --status only."
            )
        if self.option("sync") and SYNC.missing():
            raise SafeInstallError(
                "This Poetry synchronizes in a way that safe-install does not know."
                " Use `poetry sync`, which is protected too."
            )
        status = super().handle()
        if status == 0:
            self._sum_up()
        return status

    def _require_one_look(self) -> None:
        """
        :raises SafeInstallError: if several things are to be shown.
        """
        if self.option("prune") and self.option("dry-run"):
            raise SafeInstallError(
                "--prune removes something, so it does not go with --dry-run."
                " --status shows what --prune would remove."
            )
        looks = ("check", "show-config", "status", "prune")
        given = [f"--{look}" for look in looks if self.option(look)]
        if len(given) > 1 and given != ["--status", "--prune"]:
            raise SafeInstallError(f"Use one of {', '.join(given)} at a time.")

    def _known_context(self) -> CheckContext:
        if self.context is None:
            raise SafeInstallError("Nothing can be said here: the protection is off.")
        return self.context

    def _check(self, context: CheckContext) -> int:
        from poetry_plugin_safe_install.check.collect import collect
        from poetry_plugin_safe_install.check.report import as_json
        from poetry_plugin_safe_install.check.report import write_table
        from poetry_plugin_safe_install.check.topics import findings
        from poetry_plugin_safe_install.check.topics import is_refused

        form = self._format
        _require_known_poetry()
        assert self.application is not None
        found = findings(collect(context, self))
        about = _about(context)
        if form == "json":
            self._write_json(as_json(about, found))
        else:
            write_table(self.io, about, found)
        return 1 if is_refused(found) else 0

    def _status(self, context: CheckContext | None) -> int:
        from poetry_plugin_safe_install.status.prune import prune
        from poetry_plugin_safe_install.status.report import as_json
        from poetry_plugin_safe_install.status.report import write_status

        form = self._format
        _require_known_poetry()
        status, removed = self._look(context), None
        if self.option("prune"):
            removed = prune(context, status)
            status = self._look(context)
        if form == "json":
            self._write_json(as_json(_about(context), status, removed))
        else:
            write_status(self.io, _about(context), status, removed)
        return 0

    def _look(self, context: CheckContext | None) -> Status:
        from poetry_plugin_safe_install.check.collect import environment_of_install
        from poetry_plugin_safe_install.status import look

        if context is None:
            return look.look_at_machine()
        return look.look(context, environment_of_install(self))

    def _show_config(self, context: CheckContext) -> int:
        import os

        from poetry_plugin_safe_install.check.report import settings_as_json
        from poetry_plugin_safe_install.check.report import shown_settings
        from poetry_plugin_safe_install.check.report import write_settings

        rows = shown_settings(
            {setting.key: self.option(setting.key) for setting in SETTINGS},
            os.environ,
            read_project_file(context.pyproject).section,
            shown_path(context.pyproject),
        )
        failure = ""
        if isinstance(context.failure, SafeInstallError):
            failure = context.failure.text
        if self._format == "json":
            self._write_json(settings_as_json(rows, failure))
        else:
            write_settings(self.io, rows, failure)
        return 0

    @property
    def _format(self) -> str:
        """
        :raises SafeInstallError: if it is none of them.
        """
        given = self.option("format") or FORMATS[0]
        if given not in FORMATS:
            raise SafeInstallError(
                f'The option --format must be one of "text", "json", but is "{given}".'
            )
        return str(given)

    def _write_json(self, text: str) -> None:
        from cleo.io.outputs.output import Type
        from cleo.io.outputs.output import Verbosity

        self.io.write_line(text, Verbosity.QUIET, Type.RAW)

    def _sum_up(self) -> None:
        from cleo.formatters.formatter import Formatter

        if self.summary is None:
            self.line("\n<warning>Not protected: the protection is off.</warning>")
        else:
            self.line(f"\n{Formatter.escape(self.summary.sentence)}")


def _require_known_poetry() -> None:
    """
    :raises SafeInstallError: if it lacks what is asked of it.
    """
    if missing := CHECK.missing():
        raise SafeInstallError(
            f"This Poetry cannot be looked at: {', '.join(missing)} not found."
            f" Look for a newer {DISTRIBUTION}."
        )


def _about(context: CheckContext | None) -> dict[str, str]:
    import platform

    from importlib.metadata import version

    return {
        "plugin": version(DISTRIBUTION),
        "poetry": poetry_version(),
        "python": platform.python_version(),
        "project": str(context.pyproject.parent) if context else "",
    }
