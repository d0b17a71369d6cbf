"""``poetry safe-install --check``: what was found, and what that means for an install.

A topic is a dataclass of facts and one function that judges them. The facts are found
in ``collect`` and shown by ``report``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.check.finding import REMEDIES
from poetry_plugin_safe_install.check.finding import Cause
from poetry_plugin_safe_install.check.finding import Finding
from poetry_plugin_safe_install.check.finding import Level
from poetry_plugin_safe_install.check.plugin_sets import PluginCopiesFacts
from poetry_plugin_safe_install.check.plugin_sets import PluginSetFacts
from poetry_plugin_safe_install.check.plugin_sets import copies_texts


if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 3
"""How many of Poetry's own packages are shown to a person."""


@dataclass(frozen=True)
class SettingsFacts:
    enabled: bool
    enabled_by: str
    changed: tuple[str, ...]
    """Keys that are set to something."""
    error: str = ""


def judge_settings(facts: SettingsFacts) -> Finding:
    level, remedy = Level.OK, ""
    text = f"set: {', '.join(facts.changed)}" if facts.changed else "all defaults"
    if facts.error:
        level, text = Level.REFUSED, facts.error
        remedy = "correct it; `poetry safe-install --show-config` shows all settings"
    elif not facts.enabled:
        level, text = Level.RISK, f"protection is off by {facts.enabled_by}"
        remedy = "set enabled to true"
    return Finding("settings", level, text, facts, remedy)


@dataclass(frozen=True)
class IsolationFacts:
    poetry: str
    """The environment that Poetry runs from."""
    target: str | None
    """The environment to install into; ``None`` if it would be created."""
    same: bool
    problem: str = ""
    """Why Poetry cannot have any."""
    cause: Cause = Cause.PYTHON
    """Of the problem, if there is one."""
    removable: bool = False
    """Whether ``env use`` and ``env remove`` are about the target."""


def judge_isolation(facts: IsolationFacts) -> Finding:
    level, remedy = Level.OK, ""
    if facts.problem:
        level, text = Level.REFUSED, f"Poetry has no environment: {facts.problem}"
        remedy = REMEDIES[facts.cause]
    elif facts.target is None:
        text = "the install makes an environment of its own"
    elif facts.same:
        level = Level.RISK
        text = f"the target is where Poetry itself is installed ({facts.target})"
        if facts.removable:
            text += (
                "; `poetry env use` with another Python, which removes it, is refused"
            )
        remedy = "install Poetry with pipx or into a virtual environment of its own"
    else:
        text = f"Poetry is in {facts.poetry}, the target is {facts.target}"
    return Finding("isolation", level, text, facts, remedy)


@dataclass(frozen=True)
class ProjectFacts:
    problem: str
    """Why an install ends before it changes anything, or at the project itself."""
    unknown: str
    """Why it cannot be said whether it does."""
    cause: Cause = Cause.FILES
    """Of the problem, if there is one."""


def judge_project(facts: ProjectFacts) -> Finding:
    topic = "project"
    if facts.problem:
        remedy = REMEDIES[facts.cause]
        return Finding(topic, Level.REFUSED, facts.problem, facts, remedy)
    if facts.unknown:
        text = f"not known what an install would do: {facts.unknown}"
        return Finding(topic, Level.NOTE, text, facts)
    text = "poetry.lock fits pyproject.toml and these options"
    return Finding(topic, Level.OK, text, facts)


@dataclass(frozen=True)
class OwnPackageChange:
    """What an install would do to a package that the running Poetry needs."""

    name: str
    installed: str
    locked: str | None
    """``None``: it would be removed."""
    action: str
    """One of ``own_packages.Action``."""
    reason: str
    requirers: tuple[str, ...]
    shown: str


@dataclass(frozen=True)
class OwnPackagesFacts:
    on_self_change: str
    concerned: bool
    """Whether the running Poetry runs from the target."""
    changes: tuple[OwnPackageChange, ...] = ()
    pin_helps: bool = False
    """Whether ``on-self-change`` "pin" would not be refused."""
    unknown: str = ""
    """Why Poetry cannot tell what an install would do."""


def judge_own_packages(facts: OwnPackagesFacts) -> Finding:
    topic = "own packages"
    if not facts.concerned:
        return Finding(topic, Level.OK, "not concerned: Poetry is elsewhere", facts)
    of = {
        action: [change for change in facts.changes if change.action == action]
        for action in ("stop", "do", "keep")
    }
    remedy = "isolate Poetry (pipx) or align the lock file"
    if facts.pin_helps and not of["keep"]:
        remedy = "isolate Poetry (pipx), align the lock file, or set on-self-change pin"
    if of["stop"]:
        text = f"an install would damage the running Poetry: {_some(of['stop'])}"
        return Finding(topic, Level.REFUSED, text, facts, remedy)
    if facts.unknown:
        text = f"not known what an install would do to Poetry: {facts.unknown}"
        return Finding(topic, Level.NOTE, text, facts)
    if of["do"]:
        text = f"an install damages the running Poetry: {_some(of['do'])}"
        return Finding(topic, Level.RISK, text, facts, remedy)
    if of["keep"]:
        text = f"an install leaves alone what Poetry needs: {_some(of['keep'])}"
        return Finding(topic, Level.RISK, text, facts, remedy)
    if facts.changes:
        text = f"an install does no harm to Poetry: {_some(facts.changes)}"
        return Finding(topic, Level.NOTE, text, facts)
    text = "an install leaves all that Poetry needs as it is"
    return Finding(topic, Level.OK, text, facts)


def _some(changes: Sequence[OwnPackageChange]) -> str:
    """The first few for a person; the facts have them all."""
    shown = [change.shown for change in changes[:SHOWN]]
    if len(changes) > SHOWN:
        shown.append(f"{len(changes) - SHOWN} more")
    return "; ".join(shown)


@dataclass(frozen=True)
class PluginSetsFacts:
    required: tuple[str, ...]
    """The names in ``[tool.poetry.requires-plugins]``."""
    sets: tuple[PluginSetFacts, ...]
    poetry_cache: str
    """The state of ``.poetry/plugins``, unprotected Poetry's own."""
    leftovers: bool
    copies: PluginCopiesFacts


def judge_plugin_sets(facts: PluginSetsFacts) -> Finding:
    if facts.required:
        current = any(found.current for found in facts.sets)
        text = "ready" if current else "the next install makes one"
        text += f" for {', '.join(facts.required)}"
    else:
        text = "no plugins required by the project"
    if facts.sets:
        text += f"; here: {', '.join(found.shown for found in facts.sets)}"
    text = "; ".join([text, *copies_texts(facts.copies)])
    notes = []
    if facts.poetry_cache == "in use":
        notes.append("the next install retires unprotected Poetry's .poetry/plugins")
    if facts.leftovers:
        notes.append("the next install removes what a killed command has left")
    text = "; ".join([text, *notes])
    damaged = (f"{copy.name}: {copy.damaged}" for copy in facts.copies.copies)
    details = tuple(each for each in damaged if not each.endswith(": "))
    level = Level.NOTE if notes or details else Level.OK
    return Finding("plugin sets", level, text, facts, details=details)


@dataclass(frozen=True)
class HolderFacts:
    command: str
    pid: int
    host: str
    user: str
    since: float
    mode: str
    shown: str


@dataclass(frozen=True)
class LockFacts:
    guards: str
    path: str
    holders: tuple[HolderFacts, ...]


@dataclass(frozen=True)
class LocksFacts:
    store: str
    lock_directory: str
    """Mostly the store itself: it is in the project, wherever that can be."""
    why_elsewhere: str
    """Why the store is not in the project; empty if it is."""
    timeout: float | None
    locks: tuple[LockFacts, ...]


def judge_locks(facts: LocksFacts) -> Finding:
    where = ""
    if facts.why_elsewhere:
        where = f"; locks are kept in {facts.lock_directory}"
        if facts.lock_directory != facts.store:
            where += f", plugin sets in {facts.store}"
        where += f", because {facts.why_elsewhere}"
    held = [lock for lock in facts.locks if lock.holders]
    if not held:
        level = Level.NOTE if where else Level.OK
        return Finding("locks", level, f"nobody holds any{where}", facts)
    text = "; ".join(
        f"{lock.guards} is held by "
        + ", ".join(f"{holder.shown}" for holder in lock.holders)
        for lock in held
    )
    level, remedy = Level.NOTE, ""
    exclusive = any(h.mode == "exclusive" for lock in held for h in lock.holders)
    if exclusive and facts.timeout == 0:
        level = Level.REFUSED
        text += "; lock-timeout is 0: an install does not wait"
        remedy = "use --lock-timeout SECONDS, or wait for that command to end"
    return Finding("locks", level, text + where, facts, remedy)


@dataclass(frozen=True)
class LockBackendFacts:
    setting: str
    backend: str
    why: str


def judge_lock_backend(facts: LockBackendFacts) -> Finding:
    return Finding("lock backend", Level.OK, f"{facts.backend}: {facts.why}", facts)


@dataclass(frozen=True)
class TempDirectoryFacts:
    directory: str
    same_device: bool
    """Whether the interpreter is on the same device."""
    always_copy: str


def judge_temp_directory(facts: TempDirectoryFacts) -> Finding:
    topic = "temp directory"
    if facts.same_device:
        text = f"{facts.directory} is on the device of the interpreter"
        return Finding(topic, Level.OK, text, facts)
    text = f"{facts.directory} is on another device than the interpreter"
    if facts.always_copy == "never":
        text += "; always-copy is never"
        remedy = "set always-copy to auto, or TMPDIR to a directory on that device"
        return Finding(topic, Level.RISK, text, facts, remedy)
    text += "; an install that builds tries out what works there"
    return Finding(topic, Level.NOTE, text, facts)


@dataclass(frozen=True)
class ExternallyManagedFacts:
    setting: str
    marker: str | None
    """The file that says so (PEP 668), if the target has one."""


def judge_externally_managed(facts: ExternallyManagedFacts) -> Finding:
    topic = "externally managed"
    if facts.marker is None:
        return Finding(topic, Level.OK, "the target is not managed by a system", facts)
    text = f"the target is managed by the system ({facts.marker})"
    if facts.setting == "allow":
        return Finding(topic, Level.NOTE, f"{text}, which is allowed", facts)
    level = Level.REFUSED if facts.setting == "refuse" else Level.RISK
    remedy = "let Poetry create a virtual environment: virtualenvs.create true"
    return Finding(topic, level, text, facts, remedy)


@dataclass(frozen=True)
class ScriptsFacts:
    directory: str | None
    """Where the target has its scripts; ``None`` while there is no target."""
    on_path: bool
    virtual: bool
    names: tuple[str, ...]
    """The scripts of the project."""


def judge_scripts(facts: ScriptsFacts) -> Finding:
    topic = "scripts"
    if facts.directory is None:
        return Finding(topic, Level.OK, "found by `poetry run`", facts)
    if facts.on_path:
        return Finding(topic, Level.OK, f"{facts.directory} is on PATH", facts)
    if facts.virtual:
        text = f"{facts.directory} is not on PATH; `poetry run` finds them"
        return Finding(topic, Level.OK, text, facts)
    text = f"{facts.directory} is not on PATH: what is installed there is not found"
    remedy = f'add it: export PATH="{facts.directory}:$PATH"'
    return Finding(topic, Level.RISK, text, facts, remedy)


@dataclass(frozen=True)
class RewritersFacts:
    lock_scope: str
    others: tuple[str, ...]
    """All other plugins, by their top-level packages."""
    listening: tuple[str, ...]
    """Those that listen to console events, and so may rewrite the project."""
    generic: tuple[str, ...]
    """Those that Poetry calls whenever it reads a project."""


def judge_rewriters(facts: RewritersFacts) -> Finding:
    topic = "other plugins"
    rewriters = sorted({*facts.listening, *facts.generic})
    if not rewriters:
        text = "none" if not facts.others else f"{', '.join(facts.others)}: harmless"
        whole = facts.lock_scope == "command"
        text += "; an install keeps the project to itself"
        text += "" if whole else " only while it must"
        return Finding(topic, Level.OK, text, facts)
    text = f"{', '.join(rewriters)} may rewrite the project during a command"
    if facts.lock_scope == "phase":
        text += "; lock-scope is phase: others may read it meanwhile"
        remedy = "set lock-scope to auto"
        return Finding(topic, Level.RISK, text, facts, remedy)
    text += "; an install keeps the project to itself until it ends"
    return Finding(topic, Level.NOTE, text, facts)


@dataclass(frozen=True)
class CachesFacts:
    directory: str
    """Where Poetry keeps what it knows of indexes."""
    looked_at: int
    """Files; not all of them where that would take too long."""
    complete: bool
    broken: tuple[str, ...]
    """Those that are not whole."""
    virtualenv: str
    """Its version."""
    unpacks_in_place: bool
    """Whether this virtualenv takes a half unpacked pip for a whole one."""


def judge_caches(facts: CachesFacts) -> Finding:
    notes = []
    if facts.broken:
        count = len(facts.broken)
        noun = "entries are" if count > 1 else "entry is"
        notes.append(
            f"{count} {noun} not whole; whoever needs them asks the index again"
        )
    if facts.unpacks_in_place:
        notes.append(
            f"virtualenv {facts.virtualenv} leaves a broken pip when it is killed; it is"
            " made again before it is used"
        )
    if notes:
        text = "; ".join(notes)
        return Finding("caches", Level.NOTE, text, facts, details=facts.broken)
    return Finding("caches", Level.OK, "what was looked at is whole", facts)


@dataclass(frozen=True)
class Facts:
    """All that was found, topic by topic."""

    settings: SettingsFacts
    isolation: IsolationFacts
    project: ProjectFacts
    own_packages: OwnPackagesFacts
    plugin_sets: PluginSetsFacts
    locks: LocksFacts
    lock_backend: LockBackendFacts
    temp_directory: TempDirectoryFacts
    externally_managed: ExternallyManagedFacts
    scripts: ScriptsFacts
    rewriters: RewritersFacts
    caches: CachesFacts


def findings(found: Facts) -> list[Finding]:
    """The judgement of every topic, in the order in which they are shown."""
    return [
        judge_settings(found.settings),
        judge_isolation(found.isolation),
        judge_project(found.project),
        judge_own_packages(found.own_packages),
        judge_externally_managed(found.externally_managed),
        judge_scripts(found.scripts),
        judge_temp_directory(found.temp_directory),
        judge_plugin_sets(found.plugin_sets),
        judge_rewriters(found.rewriters),
        judge_caches(found.caches),
        judge_locks(found.locks),
        judge_lock_backend(found.lock_backend),
    ]


def is_refused(all_findings: list[Finding]) -> bool:
    return any(finding.level is Level.REFUSED for finding in all_findings)
