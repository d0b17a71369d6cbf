"""``poetry safe-install``: its options, its last line, its help, its completions."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

from typing import TYPE_CHECKING

import pytest

from poetry_plugin_safe_install.needs import READ_ONLY_OPTIONS
from poetry_plugin_safe_install.settings import SETTINGS
from tests.laboratory.barriers import MEET
from tests.laboratory.barriers import Barrier
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import poetry_home
from tests.laboratory.wheels import Distribution
from tests.screens import Terminal
from tests.screens import assert_screen


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

OWN_OPTIONS = {setting.key for setting in SETTINGS} | READ_ONLY_OPTIONS


@pytest.fixture(scope="session")
def plugin(folder: Path) -> str:
    """A project plugin that stops installs at the barrier ``listener``."""
    source = f"""\
from cleo.events.console_events import COMMAND
from poetry.plugins.application_plugin import ApplicationPlugin

{MEET}

class Plugin(ApplicationPlugin):
    def activate(self, application):
        application.event_dispatcher.add_listener(COMMAND, self.listen)

    def listen(self, event, *args):
        if "install" in event.command.name:
            meet("listener")
"""
    Distribution(
        "listening",
        "1.0",
        {"listening.py": source},
        entry_points="[poetry.application.plugin]\nl = listening:Plugin\n",
    ).wheel(folder)
    return 'listening = "*"'


@pytest.fixture(scope="session")
def dependency(folder: Path) -> str:
    Distribution("thing", "1.0", {"thing.py": ""}).wheel(folder)
    return "thing"


def options_in(help_text: str) -> set[str]:
    return set(re.findall(r"^ +(?:-\w, )?--([\w-]+)", help_text, re.MULTILINE))


@pytest.mark.matrix
@pytest.mark.parametrize("version", POETRY_VERSIONS)
def test_every_poetry(
    version: str,
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    plugin: str,
    dependency: str,
    own_folder: Path,
) -> None:
    """All options of ``install``; installs, synchronizes, looks, sums up."""
    home = poetry_home(version)
    project = new_project(dependencies=(dependency,), requires_plugins=plugin)
    venv = new_venv("target")
    install = project.poetry(home, "install", "--help").succeeded().out
    safe_install = project.poetry(home, "safe-install", "--help").succeeded().out
    assert options_in(safe_install) == options_in(install) | {"sync"} | OWN_OPTIONS

    def last_line(*arguments: str) -> str:
        out = project.poetry(home, *arguments, venv=venv).succeeded().out
        return out.rstrip().splitlines()[-1]

    check = project.poetry(home, "safe-install", "--check", venv=venv).succeeded()
    assert "the next install makes one for listening" in check.out
    assert not project.store.exists()
    made = last_line("safe-install")
    assert made == "Protected: did not have to wait, plugin set made."
    assert (venv / "lib").exists()

    Distribution("stray", "1.0", {"stray.py": ""}).wheel(own_folder)
    stray = own_folder / "stray-1.0-py3-none-any.whl"
    uv = [sys.executable, "-m", "uv", "--quiet", "pip", "install"]
    subprocess.run([*uv, "--python", str(venv), str(stray)], check=True)
    out = project.poetry(home, "safe-install", "--sync", venv=venv).succeeded().out
    assert "Removing stray" in out
    assert "eprecated" not in out
    reused = out.rstrip().splitlines()[-1]
    assert reused == "Protected: did not have to wait, plugin set reused."

    check = project.poetry(home, "safe-install", "--check", venv=venv).succeeded()
    assert "ready for listening" in check.out
    assert "listening may rewrite the project" in check.out


def test_sums_up_a_wait_for_another_install(
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    home: PoetryHome,
    plugin: str,
    dependency: str,
) -> None:
    """The one that waits says for how long and for whom; ``-q`` says nothing."""
    project = new_project(dependencies=(dependency,), requires_plugins=plugin)
    one, other = new_venv("one"), new_venv("other")
    with Barrier("listener") as barrier:
        first = project.start(
            home, "safe-install", venv=one, environ=barrier.environment
        )
        arrival = barrier.arrival()
        second = project.start(home, "safe-install", venv=other)
        second.says(f"pid {first.pid} ")
        arrival.let_go()
        assert "did not have to wait" in first.result().succeeded().out
        out = second.result().succeeded().out
    last = out.rstrip().splitlines()[-1]
    assert f"`poetry safe-install` (pid {first.pid} on " in last
    assert_screen("summary-waited-for-install", last, {})
    quiet = project.poetry(home, "-q", "safe-install", venv=one).succeeded()
    assert quiet.out == ""


def test_off(
    new_project: Callable[..., Project], new_venv: Callable[..., Path], home: PoetryHome
) -> None:
    project = new_project()
    off = ("safe-install", "--enabled", "false")
    out = project.poetry(home, *off, venv=new_venv("target")).succeeded().out
    assert out.rstrip().endswith("Not protected: the protection is off.")
    assert not project.store.exists()


@pytest.mark.parametrize(
    ("dependency", "arguments", "text"),
    [
        ("there-is-no-such-thing", (), "there-is-no-such-thing"),
        ("thing", ("--only-root", "--no-root"), "You cannot specify"),
    ],
)
def test_failed_install_ends_with_its_error(
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    home: PoetryHome,
    dependency: str,
    arguments: tuple[str, ...],
    text: str,
) -> None:
    project = new_project(dependencies=(dependency,))
    venv = new_venv("target")
    result = project.poetry(home, "safe-install", *arguments, venv=venv)
    result.failed(text)
    assert "Protected:" not in result.out
    assert "Traceback" not in result.out


def test_dry_run_and_groups_reach_poetry(
    new_project: Callable[..., Project],
    new_venv: Callable[..., Path],
    home: PoetryHome,
    dependency: str,
) -> None:
    project = new_project(
        tail="[tool.poetry.group.extra]\noptional = true\n"
        f'[tool.poetry.group.extra.dependencies]\n{dependency} = "*"\n'
    )
    project.lock()
    venv = new_venv("target")
    arguments = ("safe-install", "--no-root", "--dry-run")
    without = project.poetry(home, *arguments, venv=venv).succeeded().out
    assert "Installing thing" not in without
    result = project.poetry(home, *arguments, "--with", "extra", venv=venv)
    with_extra = result.succeeded().out
    assert "Installing thing (1.0)" in with_extra


def test_help_as_seen(new_project: Callable[..., Project], home: PoetryHome) -> None:
    out = new_project().poetry(home, "safe-install", "--help").succeeded().out
    own = out[out.index("      --sync") : out.index("  -h, --help")]
    assert_screen("help", own + out[out.index("Help:") :], {})
    terminal = Terminal(new_project("two"), home, "help", "safe-install", columns=300)
    assert terminal.end() == 0
    assert "--lock-timeout=LOCK-TIMEOUT" in terminal.text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions(
    new_project: Callable[..., Project], home: PoetryHome, shell: str, tmp_path: Path
) -> None:
    out = new_project().poetry(home, "completions", shell).succeeded().out
    assert "safe-install" in out
    for option in OWN_OPTIONS:
        assert f"--{option}" in out or f"-l {option} " in out
    if shutil.which(shell) is None:
        pytest.skip(f"install {shell} to have it read the completions")
    script = tmp_path / "completions"
    script.write_text(out)
    subprocess.run([shell, "-n", str(script)], check=True)


def test_bash_completes(
    new_project: Callable[..., Project], home: PoetryHome, tmp_path: Path
) -> None:
    """Bash itself, asked for what may follow ``poetry safe-install --lock-``."""
    out = new_project().poetry(home, "completions", "bash").succeeded().out
    function = re.findall(r"complete -o default -F (\w+)", out)[0]
    script = tmp_path / "ask"
    words = "poetry safe-install --lock-"
    script.write_text(
        f"{out}\nCOMP_WORDS=({words}); COMP_CWORD=2; COMP_LINE='{words}'\n"
        "_get_comp_words_by_ref() { cur=--lock-; words=(${COMP_WORDS[@]}); cword=2; }\n"
        f'{function}\nprintf "%s\\n" "${{COMPREPLY[@]}}"\n'
    )
    told = subprocess.run(
        ["bash", str(script)], check=True, capture_output=True, text=True
    ).stdout.split()
    assert told == ["--lock-backend", "--lock-scope", "--lock-timeout"]
