"""Poetry plugins made for tests, as distributions for the local index."""

from __future__ import annotations

from tests.laboratory.barriers import MEET
from tests.laboratory.wheels import Distribution


def _entry_point(module: str) -> str:
    return f"[poetry.application.plugin]\n{module} = {module}:Plugin\n"


def marker_plugin(
    name: str, version: str, *, requires: tuple[str, ...] = (), script: bool = False
) -> Distribution:
    """Says ``<name> <version> is active`` on stderr when it is activated."""
    module = name.replace("-", "_")
    source = f"""\
import sys
from poetry.plugins.application_plugin import ApplicationPlugin

class Plugin(ApplicationPlugin):
    def activate(self, application):
        print("{name} {version} is active", file=sys.stderr)

def main():
    print("{name} {version}")
"""
    entry_points = _entry_point(module)
    if script:
        entry_points += f"\n[console_scripts]\n{name} = {module}:main\n"
    return Distribution(name, version, {f"{module}.py": source}, requires, entry_points)


def slow_import_plugin(version: str = "1.0", name: str = "slow-import") -> Distribution:
    """Waits at the barrier ``import`` in the middle of being imported."""
    module = name.replace("-", "_")
    first = f"""\
{MEET}
from {module}.before import BEFORE
meet("import")
from {module}.after import AFTER
assert BEFORE == AFTER
import sys
from poetry.plugins.application_plugin import ApplicationPlugin

class Plugin(ApplicationPlugin):
    def activate(self, application):
        print("{name} " + AFTER + " is active", file=sys.stderr)
"""
    files = {
        f"{module}/__init__.py": first,
        f"{module}/before.py": f"BEFORE = '{version}'\n",
        f"{module}/after.py": f"AFTER = '{version}'\n",
    }
    return Distribution(name, version, files, (), _entry_point(module))


def rewriting_plugin(version: str = "1.0", name: str = "rewriting") -> Distribution:
    """Puts version 9.9.9 into pyproject.toml for the length of a command.

    As poetry-dynamic-versioning does: a process that finds it there already leaves the
    file alone. It waits at the barrier ``rewritten`` while it is there, and at
    ``restored`` when it is not there any more.
    """
    module = name.replace("-", "_")
    source = f"""\
{MEET}
from cleo.events.console_events import COMMAND, TERMINATE
from poetry.core.constraints.version import Version
from poetry.plugins.application_plugin import ApplicationPlugin

class Plugin(ApplicationPlugin):
    def activate(self, application):
        self.application = application
        self.text = application.poetry.pyproject_path.read_text()
        if 'enable = true' in self.text:
            application.event_dispatcher.add_listener(COMMAND, self.rewrite)
            application.event_dispatcher.add_listener(TERMINATE, self.restore)

    def rewrite(self, event, name, dispatcher):
        if event.command.name == "run":
            return
        poetry = event.command.poetry
        poetry.pyproject_path.write_text(self.text.replace("enable = true", "enable = false"))
        poetry.package._version = Version.parse("9.9.9")
        poetry.package._pretty_version = "9.9.9"
        meet("rewritten")

    def restore(self, event, name, dispatcher):
        if event.command.name == "run":
            return
        event.command.poetry.pyproject_path.write_text(self.text)
        meet("restored")
"""
    return Distribution(
        name, version, {f"{module}.py": source}, (), _entry_point(module)
    )
