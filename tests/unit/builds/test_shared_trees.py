"""Turns of threads in one source tree."""

from __future__ import annotations

import subprocess
import sys

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path


def test_threads_of_one_command_take_turns(tmp_path: Path) -> None:
    """Seen from inside: one process, two threads, one tree."""
    code = """
import sys, threading
from contextlib import contextmanager
from pathlib import Path
from cleo.io.buffered_io import BufferedIO
from poetry_plugin_safe_install.builds.shared_trees import SharedBuilds
from poetry_plugin_safe_install.environments.uv_lock import UvLock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.session import Session
io = BufferedIO()
session = Session(io, "poetry test", 60.0, lambda *waited: None)
@contextmanager
def during_backend(lock, report):
    held = session.wait_for(lock, Mode.EXCLUSIVE, report)
    try:
        yield
    finally:
        held.release()
builds = SharedBuilds("poetry test", io, session, during_backend, UvLock(session))
inside, order = threading.Event(), []
def second():
    inside.wait()
    with builds.tree(Path(sys.argv[1]), lambda text: not told.set()):
        order.append("second")
told = threading.Event()
thread = threading.Thread(target=second)
thread.start()
with builds.tree(Path(sys.argv[1])):
    inside.set()
    assert told.wait(60)
    order.append("first")
thread.join()
assert order == ["first", "second"], order
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)


def test_threads_of_one_command_take_turns_with_a_clone(tmp_path: Path) -> None:
    """Whether Poetry lets them come here at the same time or not."""
    code = """
import sys, threading
from pathlib import Path
from cleo.io.buffered_io import BufferedIO
from poetry_plugin_safe_install.builds.shared_trees import SharedBuilds
from poetry_plugin_safe_install.environments.uv_lock import UvLock
from poetry_plugin_safe_install.locks.session import Session
io = BufferedIO()
session = Session(io, "poetry test", 60.0, lambda *waited: None)
builds = SharedBuilds("poetry test", io, session, None, UvLock(session))
inside, told, order = threading.Event(), threading.Event(), []
write = io.write_error_line
def tell(text, *args, **kwargs):
    if "Waiting for the git checkout" in text:
        told.set()
    write(text, *args, **kwargs)
io.write_error_line = tell
def second():
    inside.wait()
    with builds.checkout(Path(sys.argv[1], "clone")):
        order.append("second")
        told.set()
thread = threading.Thread(target=second)
thread.start()
with builds.checkout(Path(sys.argv[1], "clone")):
    inside.set()
    assert told.wait(60)
    order.append("first")
thread.join()
assert order == ["first", "second"], order
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)
