"""Real plugins do with this one what they do without it.

In Poetry's own environment, and named in ``requires-plugins``: the main commands of each
end in the same way, say the same and leave the same files. Each runs at the same place
without and with this plugin.
"""

from __future__ import annotations

import re
import shutil

from itertools import product
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import download
from tests.laboratory.poetries import poetry_home
from tests.laboratory.projects import make_project
from tests.laboratory.projects import tree_hash
from tests.laboratory.real_plugins import REAL_PLUGINS
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping
    from pathlib import Path

    from _pytest.mark import ParameterSet

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project
    from tests.laboratory.real_plugins import RealPlugin

SAID_DIFFERENTLY = (
    (r"\d+(\.\d+)? ?(s|ms|seconds)\b", "<seconds>"),
    (r"/tmp/(tmp|poetry-|build-env-)\w+", "<temporary>"),
)
NOT_THE_PROJECTS = re.compile(
    r"(^|/)(\.git|\.poetry|__pycache__|\.mypy_cache|poetry|environments-to-lock)/"
    r"|/direct_url\.json$"  # names a temporary directory
    r"|(^|/)\.(poetry-safe-install)?\.?lock(\.\w+)?(/|$)"
)
"""What both plugins and Poetry keep for themselves, each in its own way."""


def prepared(
    plugin: RealPlugin,
    base: Path,
    index: LocalIndex,
    environ: Mapping[str, str],
    required: bool,
) -> Project:
    """A project for the plugin, as a fresh clone has it."""
    project = make_project(
        base / "project",
        index,
        environ={**environ, "POETRY_VIRTUALENVS_PATH": str(base / "venvs")},
        dependencies=("twig (>=1.0,<2.0)", "bud (>=1.0)"),
        requires_plugins=plugin.required if required else "",
        tail=plugin.tail,
    )
    for name, text in plugin.files.items():
        (project.path / name).write_text(text)
    project.lock()
    if plugin.tag:
        project.git("init", "--quiet")
        project.git("add", ".")
        project.git("commit", "--quiet", "--message", "first")
        project.git("tag", plugin.tag)
    return project


def run_shell(home: PoetryHome, project: Project) -> str:
    """What one types into ``poetry shell``, and how it ends.

    The plugin starts a shell like the one that it was started by.
    """
    shell = pexpect.spawn(
        "/bin/bash",
        ["--norc", "-c", f"'{home.executable}' --no-ansi shell; exit $?"],
        cwd=project.path,
        env=project.environment(),
        encoding="utf-8",
        timeout=60,
    )
    shell.expect(r"activate\r?\n")  # the plugin types this
    shell.expect(r"\(demo-")  # and the shell asks for more
    for _ in range(6):  # a shell may drop what is typed while it starts
        shell.sendline("echo in=$VIRTUAL_ENV; exit 7")
        if shell.expect([r"in=(/\S+)", pexpect.TIMEOUT], timeout=10) == 0:
            break
    assert isinstance(shell.match, re.Match)
    environment = shell.match[1]
    shell.expect(pexpect.EOF)
    shell.close()
    return f"in {environment}\n--- {shell.exitstatus} ---"


def run(home: PoetryHome, project: Project, command: str) -> str:
    if command == "shell":
        return run_shell(home, project)
    done = project.poetry(home, *command.split())
    said = done.out
    for pattern, instead in SAID_DIFFERENTLY:
        said = re.sub(pattern, instead, said)
    return f"{said}--- {done.code} ---"


def story(
    plugin: RealPlugin,
    home: PoetryHome,
    index: LocalIndex,
    base: Path,
    environ: Mapping[str, str],
    required: bool,
) -> dict[str, str]:
    """What each command says and how it ends; and what is there in the end."""
    shutil.rmtree(base, ignore_errors=True)
    home = home.clone(base / "poetry" / "home")
    if not required:
        found = ("--no-index", "--find-links", WHEELS)
        home.pip_install(*found, plugin.requirement)
    project = prepared(plugin, base, index, environ, required)
    project.poetry(home, "install", "--no-root").succeeded()
    told = {command: run(home, project, command) for command in plugin.commands}
    return told | {
        name: content
        for name, content in tree_hash(base).items()
        if not NOT_THE_PROJECTS.search(name)
    }


def ways() -> Iterator[ParameterSet]:
    """On the newest Poetry, and on the oldest that the release accepts."""
    for plugin, required in product(REAL_PLUGINS, (False, True)):
        for version in dict.fromkeys((plugin.oldest, NEWEST)):
            if version in POETRY_VERSIONS and plugin.accepts(version):
                is_usual = version == NEWEST and not required
                marks = pytest.mark.matrix if is_usual else pytest.mark.thorough
                way = "required" if required else "own"
                about = f"{plugin.name}-{version}-{way}"
                yield pytest.param(plugin, version, required, marks=marks, id=about)


@pytest.mark.parametrize(("plugin", "version", "required"), [*ways()])
def test_the_same_with_and_without(
    plugin: RealPlugin,
    version: str,
    required: bool,
    index: LocalIndex,
    own_folder: Path,
    environ: dict[str, str],
    tmp_path: Path,
) -> None:
    for name in ("ant", "bud", "twig"):
        for number in ("1.0", "2.0"):
            files = {f"{name}/__init__.py": ""}
            Distribution(name, number, files).wheel(own_folder)
    plain_home = poetry_home(version, protected=False)
    try:
        download(plain_home.python, plugin.requirement, dependencies=True)
    except RuntimeError as error:
        pytest.skip(f"needs {plugin.requirement} from a package index: {error}")
    plain, protected = (
        story(
            plugin,
            poetry_home(version, protected=protected),
            index,
            tmp_path / "here",
            environ,
            required,
        )
        for protected in (False, True)
    )
    assert dict(plain.items() - protected.items()) == dict(
        protected.items() - plain.items()
    )
    for command in plugin.commands:
        wanted = "--- 7 ---" if command == "shell" else "--- 0 ---"
        assert str(plain[command]).endswith(wanted), plain[command]
