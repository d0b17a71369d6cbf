"""F11: two sshfs mounts of one folder, each granted the same ``flock``: as two hosts."""

from __future__ import annotations

import subprocess
import sys
import time

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from poetry_plugin_safe_install.errors import LockTimeoutError
from poetry_plugin_safe_install.locks import soft
from poetry_plugin_safe_install.locks.lock import Lock
from poetry_plugin_safe_install.locks.lock import Mode
from poetry_plugin_safe_install.locks.lock import acquire
from tests.laboratory.barriers import Barrier
from tests.laboratory.changes import with_constants
from tests.laboratory.environments import installed_version
from tests.laboratory.plugins import marker_plugin
from tests.laboratory.plugins import rewriting_plugin
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import poetry_home
from tests.laboratory.pythons import two_of
from tests.laboratory.sshfs import require_sshfs
from tests.laboratory.sshfs import two_hosts


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

    Hosts = Callable[..., tuple[Project, Project]]


@pytest.fixture
def hosts(new_project: Callable[..., Project], tmp_path: Path) -> Iterator[Hosts]:
    """A project, as each of two hosts sees it."""
    require_sshfs()
    folder = tmp_path / "served"
    folder.mkdir()
    with two_hosts(folder, tmp_path / "ssh") as mounts:

        def new(**about: str) -> tuple[Project, Project]:
            project = new_project("served/project", **about)
            project.lock()
            first, second = (
                type(project)(mount / "project", project.environ) for mount in mounts
            )
            return first, second

        yield new


def test_hosts_wait_for_one_another(
    hosts: Hosts, own_folder: Path, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    rewriting_plugin().wheel(own_folder)
    first, second = hosts(
        requires_plugins='rewriting = "*"', tail="[tool.rewriting]\nenable = true\n"
    )
    venvs = new_venv("first"), new_venv("second")
    with Barrier("rewritten") as rewritten:
        holder = first.start(
            home, "install", venv=venvs[0], environ=rewritten.environment
        )
        arrival = rewritten.arrival()
        waiter = second.start(home, "install", venv=venvs[1])
        waiter.says(f"held by `poetry install` (pid {holder.pid}")
        arrival.let_go()
        holder.result().succeeded()
        waiter.result().succeeded()
    assert [installed_version(venv) for venv in venvs] == ["9.9.9", "9.9.9"]
    assert "enable = true" in first.pyproject.read_text()


@pytest.mark.thorough
def test_every_python_on_both_hosts(
    hosts: Hosts, own_folder: Path, new_venv: Callable[..., Path]
) -> None:
    """F1's workload across hosts."""
    marker_plugin("shared", "1.0").wheel(own_folder)
    projects = hosts(requires_plugins='shared = "*"')
    jobs = [
        (project, minor) for project in projects for minor in two_of(DEFAULT_PYTHON)
    ]
    venvs = [new_venv(f"{number}", job[1]) for number, job in enumerate(jobs)]

    def work(number: int) -> str:
        project, minor = jobs[number]
        home = poetry_home(NEWEST, minor)
        said = ""
        for arguments in (("install",), ("run", "python", "-c", "import demo")):
            result = project.poetry(home, *arguments, venv=venvs[number])
            said += result.succeeded().out
        return said

    with ThreadPoolExecutor(len(jobs)) as pool:
        said = list(pool.map(work, range(len(jobs))))
    # Usually once per Python; a host that does not see yet what the other has published
    # makes the same set again, and leaves the one that is there.
    assert sum("Installing shared" in out for out in said) >= len(jobs) // 2
    for out in said:
        assert out.count("shared 1.0 is active") == 2, out


def test_host_that_is_cut_off_is_overtaken(
    hosts: Hosts, own_folder: Path, home: PoetryHome, new_venv: Callable[..., Path]
) -> None:
    rewriting_plugin().wheel(own_folder)
    first, second = hosts(
        requires_plugins='rewriting = "*"', tail="[tool.rewriting]\nenable = true\n"
    )
    where = soft.__name__
    soon = with_constants({f"{where}:STALE_AFTER": 6.0, f"{where}:HEARTBEAT": 1.0})
    venvs = new_venv("first"), new_venv("second")
    text = second.pyproject.read_text()
    with Barrier("rewritten") as rewritten:
        holder = first.start(
            home, "install", venv=venvs[0], environ={**rewritten.environment, **soon}
        )
        rewritten.arrival()
        subprocess.run(
            ["pkill", "-9", "-f", f"sshfs .*{first.path.parent}"], check=True
        )
        holder.kill()
    marker = second.store / "project.lock.soft"
    impatient = {**soon, "POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "3"}
    second.poetry(home, "install", venv=venvs[1], environ=impatient).failed(
        "Gave up waiting for the project",
        f"If the host that holds it is gone permanently, remove {marker}*.",
    )
    assert marker.exists()
    second.pyproject.write_text(text)  # the dead host cannot restore it
    patient = {**soon, "POETRY_SAFE_INSTALL_LOCK_TIMEOUT": "60"}
    second.poetry(home, "install", venv=venvs[1], environ=patient).succeeded()
    assert installed_version(venvs[1]) == "9.9.9"


HOLDER = """
import sys
from pathlib import Path
from poetry_plugin_safe_install.locks import soft
from poetry_plugin_safe_install.locks import lock as locks
soft.STALE_AFTER, soft.HEARTBEAT = map(float, sys.argv[2:])
lock = locks.Lock(Path(sys.argv[1]), "the test", None, "soft")
hold = locks.try_acquire(lock, locks.Mode.EXCLUSIVE, "hold")
print("held" if hold else "not held", flush=True)
sys.stdin.read()
"""


def test_silent_holder_is_overtaken_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_sshfs()
    stale_after, heartbeat = 4.0, 1.0
    monkeypatch.setattr(soft, "STALE_AFTER", stale_after)
    monkeypatch.setattr(soft, "HEARTBEAT", heartbeat)
    folder = tmp_path / "served"
    folder.mkdir()
    with two_hosts(folder, tmp_path / "ssh") as (here, there):
        command = [sys.executable, "-c", HOLDER, str(there / "lock")]
        holder = subprocess.Popen(
            [*command, str(stale_after), str(heartbeat)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        lock = Lock(here / "lock", "the test", backend="soft")
        with pytest.raises(LockTimeoutError):
            acquire(lock, Mode.EXCLUSIVE, "wait", timeout=3 * stale_after)
        holder.kill()
        holder.communicate()
        inside: set[int] = set()
        waiting = {0, 1, 2}
        looks = Counter[int]()

        def wait_and_work(number: int) -> bool:
            hold, _ = acquire(
                lock,
                Mode.EXCLUSIVE,
                "wait",
                timeout=20 * stale_after,
                report=lambda *_: looks.update([number]),
            )
            waiting.discard(number)
            inside.add(number)
            enough = looks.copy() + Counter(dict.fromkeys(waiting, 2))
            while inside == {number} and any(looks[n] < enough[n] for n in waiting):
                time.sleep(0.05)
            alone = inside == {number}
            inside.discard(number)
            hold.release()
            return alone

        with ThreadPoolExecutor(len(waiting)) as pool:
            assert all(pool.map(wait_and_work, list(waiting)))
        assert not list(folder.glob("lock.soft*"))
