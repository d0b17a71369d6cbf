"""Clones for tests that may change a Poetry, and of which many change nothing in the end.

Making one, and starting Poetry in it, takes longer than what most such tests are about.
One that is as it was made serves the next test, and its commands can be forked: what
they import is what their server has imported.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile

from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.laboratory.poetries import CLONED
from tests.laboratory.poetries import state_of


if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.poetries import State

IDLE: dict[PoetryHome, list[PoetryHome]] = defaultdict(list)
"""Clones that no test has, by what they are clones of."""

MADE: dict[PoetryHome, State] = {}
"""Each clone as it was made."""

LOCKS = (".lock", ".poetry-safe-install.lock")
"""What commands leave in an environment that they do not change."""

SCHEMAS = "poetry/core/_vendor/fastjsonschema/__pycache__/safe-install-schema-*.pyc"
"""Byte code that they leave, relative to site-packages."""


@contextmanager
def borrowed(home: PoetryHome) -> Iterator[PoetryHome]:
    """A clone as if it were made for this test: it is made unless one is left."""
    clone = IDLE[home].pop() if IDLE[home] else None
    if clone is None or not is_as_made(clone):
        place = clone.path if clone else Path(_new_place(), "home")
        shutil.rmtree(place, ignore_errors=True)
        clone = home.clone(place)
        MADE[clone] = _state(clone)
    for lock in LOCKS:
        (clone.path / lock).unlink(missing_ok=True)
    for path in clone.site_packages.glob(SCHEMAS):
        path.unlink()
    CLONED.add(home)
    try:
        yield clone
    finally:
        IDLE[home].append(clone)


def is_as_made(home: PoetryHome) -> bool:
    """Whether it is such a clone, and every file in it the one that was there first."""
    return home in MADE and _state(home) == MADE[home]


def _state(home: PoetryHome) -> State:
    locks = {str(home.path / lock) for lock in LOCKS}
    schemas = {str(path) for path in home.site_packages.glob(SCHEMAS)}
    state = state_of(home.path)
    return {
        path: about
        for path, about in state.items()
        if path not in locks and path not in schemas
    }


def _new_place() -> str:
    place = tempfile.mkdtemp(prefix="clone-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place
