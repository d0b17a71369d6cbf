"""Tables of decisions about locks, and a model of the protocol they make."""

from __future__ import annotations

import errno
import itertools

from dataclasses import dataclass
from typing import Any

import pytest

from poetry_plugin_safe_install.lock_modes import first_mode
from poetry_plugin_safe_install.lock_modes import lasting_mode
from poetry_plugin_safe_install.locks.backend import Backend
from poetry_plugin_safe_install.locks.backend import decide
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.needs import Need
from poetry_plugin_safe_install.needs import need_of


EXCLUSIVE, SHARED = Mode.EXCLUSIVE, Mode.SHARED


@pytest.mark.parametrize(
    ("words", "need"),
    [
        ("--version", Need.NOTHING),
        ("about", Need.NOTHING),
        ("new fresh", Need.NOTHING),
        ("self add x", Need.NOTHING),
        ("config a b", Need.NOTHING),
        ("install", Need.INSTALL),
        ("sync", Need.INSTALL),
        ("safe-install", Need.INSTALL),
        ("run pytest --version", Need.RUN),
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
    assert need_of(words.split()) is need


@pytest.mark.parametrize(
    ("need", "scope", "others", "must_publish", "mode"),
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
        (Need.PLUGINS, "command", True, True, None),
    ],
)
def test_first_mode(
    need: Need, scope: str, others: bool, must_publish: bool, mode: Mode | None
) -> None:
    assert first_mode(need, scope, others=others, must_publish=must_publish) is mode


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
        (Need.PLUGINS, "auto", True, None),
    ],
)
def test_lasting_mode(
    need: Need, scope: str, rewriters: bool, mode: Mode | None
) -> None:
    assert lasting_mode(need, scope, rewriters=rewriters) is mode


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


# A model of the protocol: every interleaving of three commands is looked at.

Step = tuple[str, str, Mode | None]
"""What a command does next: which lock it wants, and how; ``None`` lets go of it."""


def take(lock: str, mode: Mode | None) -> Step:
    return ("take", lock, mode)


def program(
    need: Need, scope: str, others: bool, publish: bool, create: bool, builds: bool
) -> tuple[Step, ...]:
    """The locks of one command in the order of ``ProtectedCommand``'s chapters."""
    first = first_mode(need, scope, others=others, must_publish=publish)
    last = lasting_mode(need, scope, rewriters=others)
    steps = [take("project", first)]
    if last is not first:
        steps += [take("project", None), take("project", last)]
    if create and last is SHARED:
        steps += [take("project", None), take("project", EXCLUSIVE)]
        steps += [take("project", None), take("project", last)]
    if need is Need.RUN:
        return (*steps, take("project", None))
    if need in (Need.INSTALL, Need.WRITE):
        steps += [take("environment", EXCLUSIVE)]
    if builds:
        for tree in ("build-a", "build-b"):
            steps += [take(tree, EXCLUSIVE), take(tree, None)]
    return (*steps, take("environment", None), take("project", None))


PROGRAMS = sorted(
    {
        program(need, scope, *rest)
        for need in (Need.INSTALL, Need.WRITE, Need.BUILD, Need.RUN)
        for scope in ("auto", "command", "phase")
        for rest in itertools.product((True, False), repeat=4)
    },
    key=repr,
)


@dataclass(frozen=True)
class State:
    at: tuple[int, ...]
    """How far each command has come."""
    dead: tuple[bool, ...]
    """Killed: the kernel has let go for it."""

    def holds(self, programs: tuple[tuple[Step, ...], ...]) -> list[dict[str, Mode]]:
        found = []
        for steps, at, dead in zip(programs, self.at, self.dead, strict=True):
            held: dict[str, Mode] = {}
            for _, lock, mode in () if dead else steps[:at]:
                if mode:
                    held[lock] = mode
                else:
                    held.pop(lock, None)
            found.append(held)
        return found


def successors(state: State, programs: tuple[tuple[Step, ...], ...]) -> list[State]:
    holds = state.holds(programs)
    found = []
    for index, steps in enumerate(programs):
        if state.dead[index] or state.at[index] == len(steps):
            continue
        _, lock, mode = steps[state.at[index]]
        others = [
            held[lock] for i, held in enumerate(holds) if i != index and lock in held
        ]
        free = not others or (mode is SHARED and EXCLUSIVE not in others)
        if mode is None or free:
            at = tuple(a + (i == index) for i, a in enumerate(state.at))
            found.append(State(at, state.dead))
    return found


def explore(programs: tuple[tuple[Step, ...], ...], *, kill: bool) -> set[str]:
    """What can go wrong with these commands at once, over all interleavings.

    :param kill: whether the first of them may be killed at any moment.
    """
    start = State((0,) * len(programs), (False,) * len(programs))
    seen, waiting = {start}, [start]
    problems = set()
    while waiting:
        state = waiting.pop()
        for lock in ("project", "environment", "build-a", "build-b"):
            modes = [held[lock] for held in state.holds(programs) if lock in held]
            if EXCLUSIVE in modes and len(modes) > 1:
                problems.add("a writer is not alone")
        following = successors(state, programs)
        done = all(
            dead or at == len(steps)
            for at, dead, steps in zip(state.at, state.dead, programs, strict=True)
        )
        if not following and not done:
            problems.add("everybody waits")
        if kill and not any(state.dead):
            following.append(State(state.at, (True, *state.dead[1:])))
        new = [state for state in following if state not in seen]
        seen.update(new)
        waiting += new
    return problems


@pytest.mark.parametrize("commands", [2, 3])
def test_model_nobody_waits_for_ever_and_writers_are_alone(commands: int) -> None:
    for programs in itertools.combinations_with_replacement(PROGRAMS, commands):
        assert not explore(programs, kill=commands == 2), programs


def test_model_sees_what_is_wrong() -> None:
    """Asking in another order, or for more while holding, is found to be a deadlock."""
    first = (take("project", EXCLUSIVE), take("environment", EXCLUSIVE))
    assert explore((first, first[::-1]), kill=False) == {"everybody waits"}
    upgrade = (take("project", SHARED), take("project", EXCLUSIVE))
    assert "everybody waits" in explore((upgrade, upgrade), kill=False)
