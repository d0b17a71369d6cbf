"""Tables of decisions about locks, and a model of the protocol they make."""

from __future__ import annotations

import errno
import itertools

from functools import cache
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

import pytest

from poetry_plugin_safe_install.locks.backend import Backend
from poetry_plugin_safe_install.locks.backend import decide
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.needs import BACKEND_ENDED
from poetry_plugin_safe_install.needs import BACKEND_STARTS
from poetry_plugin_safe_install.needs import BUILD
from poetry_plugin_safe_install.needs import CREATED
from poetry_plugin_safe_install.needs import ENDED
from poetry_plugin_safe_install.needs import ENVIRONMENT
from poetry_plugin_safe_install.needs import FOUND
from poetry_plugin_safe_install.needs import MUST_CREATE
from poetry_plugin_safe_install.needs import PLUGIN_SET
from poetry_plugin_safe_install.needs import PROJECT
from poetry_plugin_safe_install.needs import RUNS
from poetry_plugin_safe_install.needs import UV
from poetry_plugin_safe_install.needs import Facts
from poetry_plugin_safe_install.needs import Need
from poetry_plugin_safe_install.needs import call_plan
from poetry_plugin_safe_install.needs import lock_plan
from poetry_plugin_safe_install.needs import mode_from_here
from poetry_plugin_safe_install.needs import mode_while_activating
from poetry_plugin_safe_install.needs import mode_while_running
from poetry_plugin_safe_install.needs import return_plan
from poetry_plugin_safe_install.needs import row_of
from poetry_plugin_safe_install.needs import write_plan
from tests.laboratory.cases import thorough_but


if TYPE_CHECKING:
    from collections.abc import Iterator

EXCLUSIVE, SHARED = Mode.EXCLUSIVE, Mode.SHARED

COMMANDS = (
    "install",
    "add",
    "lock",
    "env use",
    "source add",
    "build",
    "run",
    "show",
    "about",
)
"""A command for each row of the table."""


@pytest.mark.parametrize(
    ("words", "need"),
    [
        ("--version", Need.NOTHING),
        ("about", Need.PLUGINS),
        ("new fresh", Need.PLUGINS),
        ("self show", Need.PLUGINS),
        ("self lock", Need.NOTHING),
        ("self add x", Need.SELF),
        ("config a b", Need.PLUGINS),
        ("install", Need.INSTALL),
        ("sync", Need.INSTALL),
        ("safe-install", Need.INSTALL),
        ("run pytest --version", Need.RUN),
        ("shell", Need.RUN),
        ("env activate", Need.RUN),
        ("add x", Need.WRITE),
        ("remove x", Need.WRITE),
        ("update", Need.WRITE),
        ("lock", Need.WRITE),
        ("env use 3.12", Need.WRITE),
        ("env remove x", Need.WRITE),
        ("env info", Need.PLUGINS),
        ("source add x", Need.WRITE),
        ("source show", Need.PLUGINS),
        ("version", Need.PLUGINS),
        ("version minor", Need.WRITE),
        ("build", Need.BUILD),
        ("publish", Need.BUILD),
        ("show", Need.PLUGINS),
        ("check", Need.PLUGINS),
        ("export", Need.PLUGINS),
        ("", Need.PLUGINS),
    ],
)
def test_what_a_command_needs(words: str, need: Need) -> None:
    assert row_of(words.split()).need is need


@pytest.mark.parametrize(
    ("words", "options", "caches", "writes"),
    [
        ("config", {"list"}, False, False),
        ("config cache-dir", set(), False, False),
        ("config cache-dir x", set(), False, True),
        ("config cache-dir", {"unset"}, False, True),
        ("config", {"migrate"}, False, True),
        ("show", {"tree"}, False, False),
        ("show", {"latest"}, True, True),
        ("show", {"o"}, True, True),
        ("self show", set(), False, False),
        ("self show", {"outdated"}, True, True),
        ("self show plugins", set(), False, False),
        ("run show", {"l"}, False, False),
        ("lock", set(), True, True),
    ],
)
def test_what_a_command_asks_and_writes(
    words: str, options: set[str], caches: bool, writes: bool
) -> None:
    row = row_of(words.split(), options)
    assert (row.caches, row.writes) == (caches, writes)


@pytest.mark.parametrize(
    ("need", "scope", "others", "must_tidy", "mode"),
    [
        (Need.RUN, "auto", True, False, SHARED),
        (Need.RUN, "command", False, False, SHARED),
        (Need.WRITE, "phase", False, False, EXCLUSIVE),
        (Need.INSTALL, "auto", False, False, SHARED),
        (Need.INSTALL, "auto", True, False, EXCLUSIVE),
        (Need.INSTALL, "auto", False, True, EXCLUSIVE),
        (Need.INSTALL, "phase", True, False, SHARED),
        (Need.INSTALL, "phase", True, True, EXCLUSIVE),
        (Need.INSTALL, "command", False, False, EXCLUSIVE),
        (Need.BUILD, "auto", True, False, EXCLUSIVE),
        (Need.BUILD, "auto", False, False, SHARED),
        (Need.PLUGINS, "auto", True, True, SHARED),
        (Need.PLUGINS, "auto", False, True, None),
        (Need.PLUGINS, "phase", True, True, None),
        (Need.NOTHING, "auto", True, False, SHARED),
        (Need.NOTHING, "auto", False, False, None),
    ],
)
def test_mode_while_activating(
    need: Need, scope: str, others: bool, must_tidy: bool, mode: Mode | None
) -> None:
    assert (
        mode_while_activating(need, scope, others=others, must_tidy=must_tidy) is mode
    )


@pytest.mark.parametrize(
    ("need", "scope", "rewriters", "mode"),
    [
        (Need.INSTALL, "auto", False, SHARED),
        (Need.INSTALL, "auto", True, EXCLUSIVE),
        (Need.INSTALL, "phase", True, SHARED),
        (Need.INSTALL, "command", False, EXCLUSIVE),
        (Need.BUILD, "auto", True, EXCLUSIVE),
        (Need.WRITE, "phase", False, EXCLUSIVE),
        (Need.RUN, "auto", True, SHARED),
        (Need.PLUGINS, "auto", True, EXCLUSIVE),
        (Need.PLUGINS, "auto", False, None),
        (Need.PLUGINS, "phase", True, None),
        (Need.NOTHING, "command", True, EXCLUSIVE),
    ],
)
def test_mode_while_running(
    need: Need, scope: str, rewriters: bool, mode: Mode | None
) -> None:
    assert mode_while_running(need, scope, rewriters=rewriters) is mode


@pytest.mark.parametrize(
    ("need", "scope", "mode", "rewritten", "expected"),
    [
        (Need.INSTALL, "auto", EXCLUSIVE, False, SHARED),
        (Need.INSTALL, "auto", EXCLUSIVE, True, EXCLUSIVE),
        (Need.INSTALL, "command", EXCLUSIVE, False, EXCLUSIVE),
        (Need.INSTALL, "phase", SHARED, False, SHARED),
        (Need.BUILD, "auto", EXCLUSIVE, False, SHARED),
        (Need.WRITE, "auto", EXCLUSIVE, False, EXCLUSIVE),
        (Need.PLUGINS, "auto", EXCLUSIVE, False, None),
        (Need.PLUGINS, "auto", EXCLUSIVE, True, EXCLUSIVE),
        (Need.NOTHING, "auto", None, False, None),
        (Need.RUN, "auto", SHARED, True, None),
    ],
)
def test_mode_once_all_listeners_were_called(
    need: Need, scope: str, mode: Mode | None, rewritten: bool, expected: Mode | None
) -> None:
    assert mode_from_here(need, scope, mode, rewritten=rewritten) is expected


@pytest.mark.parametrize(
    ("found", "backend"),
    [
        ({"setting": "auto"}, Backend.NATIVE),
        ({"setting": "auto", "mount_type": "ext4"}, Backend.NATIVE),
        (
            {"setting": "auto", "mount_type": "nfs4", "mount_options": "rw"},
            Backend.NATIVE,
        ),
        (
            {"setting": "auto", "mount_type": "nfs", "mount_options": "rw,nolock"},
            Backend.SOFT,
        ),
        (
            {
                "setting": "auto",
                "mount_type": "nfs",
                "mount_options": "rw,local_lock=all",
            },
            Backend.SOFT,
        ),
        (
            {
                "setting": "auto",
                "mount_type": "nfs",
                "mount_options": "rw,local_lock=none",
            },
            Backend.NATIVE,
        ),
        ({"setting": "auto", "mount_type": "fuse.sshfs"}, Backend.SOFT),
        ({"setting": "auto", "mount_type": "9p"}, Backend.SOFT),
        ({"setting": "auto", "mount_type": "virtiofs"}, Backend.SOFT),
        ({"setting": "auto", "mount_type": "fakeowner"}, Backend.SOFT),
        ({"setting": "auto", "mount_type": "fuse.rclone"}, Backend.SOFT),
        ({"setting": "auto", "mount_type": "prl_fs"}, Backend.SOFT),
        *(
            ({"setting": "auto", "mount_type": kind, "mount_options": on}, backend)
            for kind, on, backend in (
                ("cifs", "rw,nobrl", Backend.SOFT),
                ("cifs", "rw,vers=3.0", Backend.NATIVE),
                ("lustre", "rw,localflock", Backend.SOFT),
                ("lustre", "rw,flock", Backend.NATIVE),
                ("afs", "rw,flock=local", Backend.SOFT),
            )
        ),
        ({"setting": "auto", "mount_type": "vboxsf"}, Backend.SOFT),
        ({"setting": "auto", "recorded": "soft", "mount_type": "ext4"}, Backend.SOFT),
        (
            {"setting": "auto", "recorded": "native", "mount_type": "fuse.sshfs"},
            Backend.SOFT,
        ),
        ({"setting": "native", "recorded": "soft", "mount_type": "9p"}, Backend.NATIVE),
        ({"setting": "soft", "mount_type": "ext4"}, Backend.SOFT),
        *(
            ({"setting": "auto", "recorded": "native", "error": number}, Backend.SOFT)
            for number in (
                errno.ENOSYS,
                errno.ENOLCK,
                errno.EOPNOTSUPP,
                errno.EBADF,
                524,
            )
        ),
        ({"setting": "auto", "error": errno.EACCES}, Backend.NATIVE),
    ],
)
def test_backend(found: dict[str, Any], backend: Backend) -> None:
    choice = decide(**found)
    assert choice.backend is backend
    assert choice.why


# A model of the protocol: every interleaving of three commands is looked at. What a
# command does next is the next step of its lock plan.

Step = tuple[str, Mode | None]
"""Which lock a command wants next, and how; ``None`` releases it."""

TREES = ("build of a", "build of b")
PATH_DEPENDENCY = "project of a path dependency"
COPY = "copy of a plugin set"
RESOURCES = (PROJECT, PATH_DEPENDENCY, PLUGIN_SET, COPY, ENVIRONMENT, *TREES, UV)


def program(plan: list[Any], *, path_dependency: bool) -> tuple[Step, ...]:
    """The plan of one command, which builds in two source trees if it builds at all.

    Plugins may have to be built too, in one of them, when no other project makes the
    same set.

    :param path_dependency: it has one, which is locked whenever the project is.
    """
    projects = (PROJECT, PATH_DEPENDENCY) if path_dependency else (PROJECT,)
    places = {PROJECT: projects}
    steps: list[Step] = []
    for moment, resource, mode in plan:
        if moment not in (BACKEND_STARTS, BACKEND_ENDED):
            steps += [(place, mode) for place in places.get(resource, (resource,))]
            if (resource, mode) == (PLUGIN_SET, EXCLUSIVE):
                built = [(TREES[0], EXCLUSIVE), (TREES[0], None)]
                steps += [(COPY, EXCLUSIVE), *built, (COPY, None)]
        elif (moment, resource) == (BACKEND_STARTS, BUILD):
            for tree in TREES:
                # the build script runs uv on the environment
                steps += [(tree, mode), (UV, mode), (UV, None), (tree, None)]
        elif resource == UV:
            steps += [(UV, mode)]
    return tuple(_without_idle(steps))


def _without_idle(steps: list[Step]) -> Iterator[Step]:
    held: dict[str, Mode | None] = {}
    for lock, mode in steps:
        if held.get(lock) is not mode:
            held[lock] = mode
            yield lock, mode


CALLED = ("install", "update", "lock", "build", "show")
"""What a command of a plugin's may call."""


def calling_plans(scope: str, others: bool) -> Iterator[list[Any]]:
    """A plugin's command that calls another one, and may have written before it does."""
    for words, written, create in itertools.product(
        CALLED, (False, True), (False, True)
    ):
        outer = row_of(["up"])
        both = outer.calling(row_of([words]))
        facts = Facts(others=True, rewriters=others, written=False)
        steps = until(lock_plan(outer, scope, facts), RUNS)
        if written:
            steps += write_plan(outer, last_mode(steps))
            facts.written = True
        held = last_mode(steps)
        steps += call_plan(both, scope, facts, held)
        facts.must_create = create
        called = lock_plan(both, scope, facts)
        at = next(n for n, (when, *_) in enumerate(called) if when in (FOUND, RUNS))
        steps += [step for step in called[:at] if step[0] in (MUST_CREATE, CREATED)]
        facts.must_create = False
        steps += [step for step in called[at:] if step[0] != ENDED]
        steps += return_plan(outer, facts, held)
        if not facts.written:
            steps += write_plan(outer, last_mode(steps))
        yield [*steps, (ENDED, ENVIRONMENT, None), (ENDED, PROJECT, None)]


def until(plan: list[Any], moment: str) -> list[Any]:
    last = max(n for n, (when, *_) in enumerate(plan) if when == moment)
    return plan[: last + 1]


def last_mode(steps: list[Any]) -> Mode | None:
    """How the project is held after these steps."""
    modes = [mode for _, resource, mode in steps if resource == PROJECT]
    return modes[-1] if modes else None


def every_plan(*, path_dependency: bool) -> set[tuple[Step, ...]]:
    return commands_plans(path_dependency=path_dependency) | {
        program(plan, path_dependency=path_dependency)
        for scope in ("auto", "command", "phase")
        for others in (True, False)
        for plan in calling_plans(scope, others)
    }


def commands_plans(*, path_dependency: bool) -> set[tuple[Step, ...]]:
    return {
        program(
            lock_plan(
                row,
                scope,
                Facts(
                    others=others,
                    must_publish=publish,
                    must_tidy=tidy,
                    rewriters=others,
                    rewritten=rewritten,
                    must_create=create,
                    must_lock=lock,
                ),
            ),
            path_dependency=path_dependency and others,
        )
        for row in {row_of(words.split()) for words in COMMANDS}
        for scope in ("auto", "command", "phase")
        for others, publish, tidy, create, lock in itertools.product(
            (True, False), repeat=5
        )
        for rewritten in {False, others}
        if row.need is Need.INSTALL or not publish
    }


Programs = tuple[tuple[Step, ...], ...]


class Held(NamedTuple):
    """Locks as bits: what a command holds before one of its steps."""

    exclusive: int = 0
    shared: int = 0


class Move(NamedTuple):
    """To take one lock, and to release what is released next: that waits for nobody."""

    refused: Held
    """What no other command may hold, and what none may hold alone, for it to happen."""
    during: Held
    """What the command holds before it releases anything."""
    after: Held


def moves_of(steps: tuple[Step, ...]) -> list[Move]:
    found: list[Move] = []
    held = Held()
    for lock, mode in steps:
        bit = 1 << RESOURCES.index(lock)
        exclusive, shared = (others & ~bit for others in held)
        held = Held(
            exclusive | bit * (mode is EXCLUSIVE), shared | bit * (mode is SHARED)
        )
        if mode is None:
            assert found, "nothing is held yet"
            found[-1] = found[-1]._replace(after=held)
        else:
            found.append(Move(Held(bit, bit * (mode is EXCLUSIVE)), held, held))
    return found


def without_private(programs: Programs) -> Programs:
    """Only steps on locks that another command wants too.

    The others happen at once and are in nobody's way, so nothing depends on when.
    """
    wanted = [{lock for lock, _ in steps} for steps in programs]
    common = {lock for lock in RESOURCES if sum(lock in locks for locks in wanted) > 1}
    return tuple(
        tuple(step for step in steps if step[0] in common) for steps in programs
    )


def explore(programs: Programs, *, kill: bool) -> set[str]:
    """What can go wrong with these commands at once, over all interleavings.

    :param kill: whether the first of them may be killed at any moment.
    """
    common = without_private(programs)
    return set(_explore(common if kill else tuple(sorted(common, key=repr)), kill))


@cache
def _explore(programs: Programs, kill: bool) -> frozenset[str]:
    moves = [moves_of(steps) for steps in programs]
    held = [[Held(), *(move.after for move in each), Held()] for each in moves]
    """The last is what is held by one that was killed: the kernel releases its locks."""
    ends = [len(each) for each in moves]
    start = (0,) * len(programs)
    """How far each command has come: one beyond its end if it was killed."""
    seen, waiting = {start}, [start]
    problems = set()
    while waiting:
        state = waiting.pop()
        holds = [each[at] for each, at in zip(held, state, strict=True)]
        following = []
        for index, at in enumerate(state):
            if at < ends[index]:
                others = holds[:index] + holds[index + 1 :]
                if is_free(moves[index][at].refused, others):
                    following.append((*state[:index], at + 1, *state[index + 1 :]))
                    if not is_alone(moves[index][at].during, others):
                        problems.add("a writer is not alone")
        if not following and any(map(int.__lt__, state, ends)):
            problems.add("everybody waits")
        if kill and state[0] <= ends[0]:
            following.append((ends[0] + 1, *state[1:]))
        new = [state for state in following if state not in seen]
        seen.update(new)
        waiting += new
    return frozenset(problems)


def is_alone(mine: Held, others: list[Held]) -> bool:
    """Whether nobody has what one of them writes."""
    for exclusive, shared in others:
        if mine.exclusive & (exclusive | shared) or mine.shared & exclusive:
            return False
    return True


def is_free(refused: Held, others: list[Held]) -> bool:
    for exclusive, shared in others:
        if refused.exclusive & exclusive or refused.shared & shared:
            return False
    return True


@pytest.mark.parametrize("commands", thorough_but([(2,)], [(2,), (3,)]))
def test_model_nobody_waits_indefinitely_and_writers_are_alone(commands: int) -> None:
    of = every_plan if commands == 2 else commands_plans
    plans = sorted(of(path_dependency=commands == 2), key=repr)
    for programs in itertools.combinations_with_replacement(plans, commands):
        assert not explore(programs, kill=commands == 2), programs


def test_run_holds_nothing_else_while_it_waits_for_the_environment() -> None:
    plan = lock_plan(row_of(["run"]), "auto", Facts())
    steps = program(plan, path_dependency=False)
    at = steps.index((ENVIRONMENT, SHARED))
    assert (PROJECT, None) in steps[:at]
    assert steps[at + 1] == (ENVIRONMENT, None)


UV_ITSELF = ((UV, EXCLUSIVE), (UV, None))


def test_model_with_uv_beside() -> None:
    plans = sorted(every_plan(path_dependency=False), key=repr)
    for steps in plans:
        assert not explore((steps, UV_ITSELF), kill=True), steps


def test_nothing_is_asked_for_while_uv_is_kept_out() -> None:
    """So that uv's lock, which a build script may want, is never part of a circle."""
    for steps in every_plan(path_dependency=True):
        held: set[str] = set()
        for lock, mode in steps:
            asked = mode is not None and lock not in held
            assert not (asked and UV in held), steps
            (held.add if mode else held.discard)(lock)


def test_model_sees_what_is_wrong() -> None:
    """Asking in another order, or for more while holding, is found to be a deadlock."""
    first = ((PROJECT, EXCLUSIVE), (ENVIRONMENT, EXCLUSIVE))
    assert explore((first, first[::-1]), kill=False) == {"everybody waits"}
    upgrade = ((PROJECT, SHARED), (PROJECT, EXCLUSIVE))
    assert "everybody waits" in explore((upgrade, upgrade), kill=False)


def test_every_plan_releases_what_it_takes() -> None:
    for steps in every_plan(path_dependency=True):
        held: dict[str, Mode] = {}
        for lock, mode in steps:
            if mode is None:
                held.pop(lock, None)
            else:
                held[lock] = mode
        assert not held, steps
