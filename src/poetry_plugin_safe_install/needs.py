"""What each of Poetry's commands needs from the protection, and the locks that follow.

One table with a row per command, and ``lock_plan``, which turns a row into the steps in
which the command takes and releases its locks. ``locks.session`` walks these steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Sequence
    from typing import ClassVar

    from poetry_plugin_safe_install.locks.lock import Mode
    from poetry_plugin_safe_install.locks.session import Step


class Need:
    """What a command does to the project, and so what it must hold.

    No ``Enum``, whose making takes a tenth of what this plugin may cost a command.
    """

    NOTHING: ClassVar[Need]
    """The command is not about the project, but another plugin may rewrite it."""

    CHECK: ClassVar[Need]
    """Tells what an install would meet. Nothing is locked, made or changed."""

    PLUGINS: ClassVar[Need]
    """The project's plugins must be loaded. What they rewrite is locked meanwhile."""

    RUN: ClassVar[Need]
    """Relies on the project and its environment until the user's program starts."""

    WRITE: ClassVar[Need]
    """Rewrites files of the project."""

    BUILD: ClassVar[Need]
    """Reads the project; a plugin may rewrite its files meanwhile."""

    INSTALL: ClassVar[Need]
    """Installs the project's plugins and fills its environment."""

    SELF: ClassVar[Need]
    """Changes the environment that Poetry is installed in, and the files that say what
    is wanted there: these are its project."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Need.{self.name}"


for _name in Need.__annotations__:
    setattr(Need, _name, Need(_name))


STRENGTH = (
    Need.NOTHING,
    Need.CHECK,
    Need.RUN,
    Need.PLUGINS,
    Need.SELF,
    Need.BUILD,
    Need.INSTALL,
    Need.WRITE,
)
"""From what keeps others away least to what does so most."""


class Row:
    """One row of the table.

    :param changes: the command creates an environment or changes what is in it.
    :param builds: the command may build a distribution.
    :param caches: the command may ask an index or change Poetry's caches, which belong
        to the machine: also where there is no project.
    :param writes: the command may write files of the project or of Poetry's own.
    :param looks: the command looks into the environment, and makes it if there is none.
    """

    def __init__(
        self,
        need: Need,
        *,
        changes: bool = False,
        builds: bool = False,
        caches: bool = True,
        writes: bool = True,
        looks: bool = False,
    ) -> None:
        self.need = need
        self.changes = changes
        self.builds = builds
        self.caches = caches
        self.writes = writes
        self.looks = looks

    @property
    def builds_project(self) -> bool:
        """Whether it may build the project itself, or a dependency in editable mode.

        Only ``lock`` never does, of those that build.
        """
        return self.builds and (self.changes or self.need is Need.BUILD)

    def calling(self, other: Row) -> Row:
        """What this command needs while it calls another one."""
        return Row(
            max(self.need, other.need, key=STRENGTH.index),
            changes=self.changes or other.changes,
            builds=self.builds or other.builds,
            caches=self.caches or other.caches,
            writes=self.writes or other.writes,
        )


_NOTHING = Row(Need.NOTHING, caches=False, writes=False)
_CONFIG = Row(Need.PLUGINS, caches=False)
_RUN = Row(Need.RUN, caches=False, writes=False)
_CACHES = Row(Need.PLUGINS)
_INSTALL = Row(Need.INSTALL, changes=True, builds=True)
_WRITE = Row(Need.WRITE, caches=False)
_WRITE_BOTH = Row(Need.WRITE, changes=True, caches=False)
_WRITE_ALL = Row(Need.WRITE, changes=True, builds=True)
_BUILD = Row(Need.BUILD, builds=True)
_SELF = Row(Need.SELF, changes=True)
_PLUGINS = Row(Need.PLUGINS, looks=True)
INIT = Row(Need.PLUGINS)
"""It may write a pyproject.toml that other tools use, and asks its user before."""
_PLUGINS_ONLY = Row(Need.PLUGINS, caches=False, writes=False)
_SHOW = Row(Need.PLUGINS, caches=False, writes=False, looks=True)

_TABLE: dict[tuple[str, ...], Row] = {
    ("--version",): _NOTHING,
    ("about",): _PLUGINS_ONLY,
    ("cache",): _CACHES,
    ("check",): _PLUGINS_ONLY,
    ("config",): _PLUGINS_ONLY,
    ("env",): _PLUGINS_ONLY,
    ("help",): _PLUGINS_ONLY,
    ("init",): INIT,
    ("list",): _PLUGINS_ONLY,
    ("new",): _CACHES,
    ("python",): _PLUGINS_ONLY,
    ("search",): _CACHES,
    ("self",): Row(Need.NOTHING),
    ("self", "add"): _SELF,
    ("self", "install"): _SELF,
    ("self", "remove"): _SELF,
    ("self", "show"): _PLUGINS_ONLY,
    ("self", "sync"): _SELF,
    ("self", "update"): _SELF,
    ("run",): _RUN,
    ("shell",): _RUN,
    ("env", "activate"): _RUN,
    ("install",): _INSTALL,
    ("safe-install",): _INSTALL,
    ("sync",): _INSTALL,
    ("add",): _WRITE_ALL,
    ("remove",): _WRITE_ALL,
    ("update",): _WRITE_ALL,
    ("lock",): Row(Need.WRITE, builds=True),
    ("env", "remove"): _WRITE_BOTH,
    ("env", "use"): _WRITE_BOTH,
    ("show",): _SHOW,
    ("source",): _PLUGINS_ONLY,
    ("source", "add"): _WRITE,
    ("source", "remove"): _WRITE,
    ("build",): _BUILD,
    ("publish",): _BUILD,
}

SWEEPERS = (Need.RUN, Need.WRITE, Need.BUILD, Need.INSTALL)
"""Commands that remove what a killed command has left."""

READ_ONLY_OPTIONS = frozenset({"check", "format", "prune", "show-config", "status"})
"""Options that make ``safe-install`` look, or tidy, instead of install."""

PROJECT_OPTIONS = frozenset({"check", "show-config"})
"""Those of them that are about the project alone."""

MACHINE_OPTIONS = frozenset({"prune", "status"})
"""Those of them that have something to show where there is no project too."""

CONFIG_WRITES = frozenset({"unset", "migrate"})
"""Options that make ``config`` write without a value."""

ASKS_INDEX = frozenset({"latest", "outdated", "l", "o"})
"""Options that make ``show`` ask an index."""


def is_about_machine(options: Collection[str]) -> bool:
    """Whether ``safe-install`` has something to show outside a project."""
    return bool(MACHINE_OPTIONS & {*options}) and PROJECT_OPTIONS.isdisjoint(options)


def row_of(words: Sequence[str], options: Collection[str] = ()) -> Row:
    """The row of the command with these words (``["env", "use", "3.12"]``).

    :param options: the names of the options that are given, long and short.

    A command that is not in the table, one of a plugin's for example, needs the
    project's plugins and no more.
    """
    if words[:1] == ["safe-install"] and not READ_ONLY_OPTIONS.isdisjoint(options):
        return Row(Need.CHECK, caches=False)
    if words[:1] == ["version"]:
        return _WRITE if len(words) > 1 else _PLUGINS_ONLY
    if words[:1] == ["config"] and (len(words) > 2 or CONFIG_WRITES & {*options}):
        return _CONFIG
    if words[:1] == ["show"] and ASKS_INDEX & {*options}:
        return _PLUGINS
    if words[:2] == ["self", "show"] and ASKS_INDEX & {*options}:
        return _CACHES
    for length in (2, 1):
        if row := _TABLE.get(tuple(words[:length])):
            return row
    return _PLUGINS


# The lock plan.

PROJECT, PLUGIN_SET = "project", "plugin set"
ENVIRONMENT, BUILD, UV = "environment", "build", "uv"
"""What is locked, in the order in which it is asked for.

Who holds uv's lock of an environment asks for none of these: see ``environments.uv_lock``.
"""

MISSING = "plugin set missing"
MADE = "plugin set made"
LOADED = "plugins loaded"
ACTIVATED = "plugins activated"
MUST_CREATE = "environment must be created"
CREATED = "environment created"
FOUND = "environment found"
BACKEND_STARTS = "build backend starts"
BACKEND_ENDED = "build backend ended"
PACKAGE_STARTS = "package is written"
PACKAGE_ENDED = "package was written"
RUNS = "command runs"
CALLS = "another command is called"
RETURNS = "the called command has ended"
WRITES = "project is written"
READY = "environment must be ready"
ENDED = "command ended"
"""The moments of a command; that of a build backend comes for each of its processes."""


class Facts:
    """What is known about a command; it becomes more on the way.

    :param others: there is another plugin, loaded or yet to be installed.
    :param must_publish: the plugin set has to be made.
    :param must_tidy: plugin sets or unprotected Poetry's have to be removed.
    :param rewriters: another plugin listens to console events or is a generic one, and
        so may rewrite the project's files while the command runs.
    :param rewritten: one of them has done so when the command's own code starts.
    :param must_create: the environment has to be created.
    :param must_lock: there is no lock file yet, so that an install writes one.
    :param written: the command has written the project's files; it keeps the project to
        itself from then on, since it may write them again.
    """

    def __init__(
        self,
        *,
        others: bool = False,
        must_publish: bool = False,
        must_tidy: bool = False,
        rewriters: bool = False,
        rewritten: bool = False,
        must_create: bool = False,
        must_lock: bool = False,
        written: bool = False,
    ) -> None:
        self.others = others
        self.must_publish = must_publish
        self.must_tidy = must_tidy
        self.rewriters = rewriters
        self.rewritten = rewritten
        self.must_create = must_create
        self.must_lock = must_lock
        self.written = written


def lock_plan(row: Row, scope: str, facts: Facts) -> list[Step]:
    """The steps in which a command takes and releases its locks.

    Nobody waits indefinitely: every command asks for the project, then its plugin set or
    the environment, then for one build at a time, and never for an earlier one while it
    holds a later one. To hold the project in another mode, it is released first, and nothing else is
    held then; but what is exclusive can be shared without releasing it.

    :param scope: the setting ``lock-scope``.
    """
    from poetry_plugin_safe_install.locks.lock import Mode

    need = Need.WRITE if facts.must_lock else row.need
    first = mode_while_activating(
        need, scope, others=facts.others, must_tidy=facts.must_tidy
    )
    last = mode_while_running(need, scope, rewriters=facts.rewriters)
    if facts.written:
        last = Mode.EXCLUSIVE
    steps: list[Step] = _publication(first) if facts.must_publish else []
    steps += [(LOADED, PROJECT, first)]
    if last is not first:
        steps += _change(ACTIVATED, last)
    if facts.must_create and last is not Mode.EXCLUSIVE:
        steps += _without_environment(MUST_CREATE)
        steps += _change(MUST_CREATE, Mode.EXCLUSIVE)
        steps += _change(CREATED, last)
    if row.changes:
        steps += [(FOUND, ENVIRONMENT, Mode.EXCLUSIVE), (FOUND, UV, Mode.EXCLUSIVE)]
    from_here = mode_from_here(need, scope, last, rewritten=facts.rewritten)
    steps += [(RUNS, PROJECT, last if facts.written else from_here)]
    if row.need is Need.RUN:
        steps += [(READY, ENVIRONMENT, Mode.SHARED), (READY, ENVIRONMENT, None)]
    if row.builds:
        steps += [(BACKEND_STARTS, UV, None), (BACKEND_STARTS, BUILD, Mode.EXCLUSIVE)]
        steps += [(BACKEND_ENDED, BUILD, None)]
    if row.changes:
        steps += [(PACKAGE_STARTS, UV, Mode.EXCLUSIVE), (PACKAGE_ENDED, UV, None)]
    return [*steps, (ENDED, ENVIRONMENT, None), (ENDED, PROJECT, None)]


def _publication(then: Mode | None) -> list[Step]:
    """A set is made beside those of other interpreters, and by one command only.

    :param then: how the project is locked after that.
    """
    from poetry_plugin_safe_install.locks.lock import Mode

    steps: list[Step] = [
        (MISSING, PROJECT, Mode.SHARED),
        (MISSING, PLUGIN_SET, Mode.EXCLUSIVE),
        (MADE, PLUGIN_SET, None),
    ]
    return [*steps, (MADE, PROJECT, None)] if then is not Mode.SHARED else steps


def write_plan(row: Row, held: Mode | None) -> list[Step]:
    """The steps of a command that is about to write its project's files.

    One that has not kept the project to itself all along has read them before, and does
    not write if they have changed since: see ``project_writes``.

    :param held: how it holds the project.
    """
    from poetry_plugin_safe_install.locks.lock import Mode

    if held is Mode.EXCLUSIVE:
        return []
    steps = [*_without_environment(WRITES), *_change(WRITES, Mode.EXCLUSIVE)]
    return [*steps, (WRITES, ENVIRONMENT, Mode.EXCLUSIVE)] if row.changes else steps


def call_plan(row: Row, scope: str, facts: Facts, held: Mode | None) -> list[Step]:
    """The steps of a command that calls another one, before its listeners are called.

    What follows is in the lock plan of both together: see ``Row.calling``.

    :param row: that of both together.
    :param held: how the command holds the project.
    """
    from poetry_plugin_safe_install.locks.lock import Mode

    wanted = mode_while_running(row.need, scope, rewriters=facts.rewriters)
    if wanted is None or held in (wanted, Mode.EXCLUSIVE):
        return []
    return [*_without_environment(CALLS), *_change(CALLS, wanted)]


def return_plan(row: Row, facts: Facts, before: Mode | None) -> list[Step]:
    """The steps of a command when one that it has called has ended.

    :param row: that of the command that has called.
    :param before: how it held the project then.
    """
    steps = [] if row.changes else _without_environment(RETURNS)
    if facts.written or facts.rewritten:
        return steps
    return [*steps, (RETURNS, PROJECT, before)]


def _without_environment(moment: str) -> list[Step]:
    return [(moment, UV, None), (moment, ENVIRONMENT, None)]


def _change(moment: str, mode: Mode | None) -> list[Step]:
    return [(moment, PROJECT, None), (moment, PROJECT, mode)]


def mode_while_activating(
    need: Need, scope: str, *, others: bool, must_tidy: bool
) -> Mode | None:
    """How the project is locked before any plugin is activated: see ``Facts``."""
    from poetry_plugin_safe_install.locks.lock import Mode

    if need is Need.RUN:
        return Mode.SHARED
    if need in (Need.WRITE, Need.SELF):
        return Mode.EXCLUSIVE
    if need in (Need.PLUGINS, Need.NOTHING):
        return Mode.SHARED if others and scope != "phase" else None
    if need in (Need.BUILD, Need.INSTALL):
        exclusive = must_tidy or scope == "command" or (scope == "auto" and others)
        return Mode.EXCLUSIVE if exclusive else Mode.SHARED
    return None


def mode_while_running(need: Need, scope: str, *, rewriters: bool) -> Mode | None:
    """How the project is locked until all listeners were called: see ``Facts``."""
    from poetry_plugin_safe_install.locks.lock import Mode

    if need in (Need.PLUGINS, Need.NOTHING):
        return Mode.EXCLUSIVE if rewriters and scope != "phase" else None
    return mode_while_activating(need, scope, others=rewriters, must_tidy=False)


def may_share(need: Need, scope: str, facts: Facts) -> bool:
    """Whether a command that wants the project exclusively may share it with those whose
    plugins are the same, and were found to rewrite nothing."""
    listens = need in (Need.BUILD, Need.INSTALL) and scope == "auto" and facts.others
    return listens and not (facts.must_tidy or facts.must_create or facts.must_lock)


def mode_from_here(
    need: Need, scope: str, mode: Mode | None, *, rewritten: bool
) -> Mode | None:
    """How the project stays locked once all listeners were called.

    :param mode: how it was locked until then.
    :param rewritten: whether a listener has rewritten the project's files, and so will
        write them again at the end of the command.
    """
    from poetry_plugin_safe_install.locks.lock import Mode

    if need is Need.RUN:
        return None
    if need in (Need.PLUGINS, Need.NOTHING):
        return mode if rewritten else None
    if need in (Need.BUILD, Need.INSTALL) and scope == "auto" and not rewritten:
        return Mode.SHARED
    return mode
