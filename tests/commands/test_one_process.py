"""Several ``Application``s in one process: nothing of a command outlasts it."""

from __future__ import annotations

import json
import subprocess

from typing import TYPE_CHECKING
from typing import Any

import pytest

from tests.laboratory.cases import thorough_but
from tests.laboratory.plugins import marker_plugin


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

START = """\
import builtins, gc, json, os, pkgutil, sys, tempfile, types
import poetry.console.commands
from importlib import import_module
from cleo.io.buffered_io import BufferedIO
from cleo.io.inputs.argv_input import ArgvInput
from cleo.io.null_io import NullIO
from cleo.io.outputs.stream_output import StreamOutput
from poetry.console.application import Application

OURS = "poetry_plugin_safe_install"

def patched():
    "Whatever of Poetry's, cleo's or build's is a function of the plugin's."
    found = []
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in ("poetry", "cleo", "build", "tomlkit"):
            continue
        owners = [module, *filter(lambda it: isinstance(it, type), vars(module).values())]
        for owner in owners:
            for attribute, value in vars(owner).items():
                function = getattr(value, "__func__", value)
                if not isinstance(function, types.FunctionType):
                    continue
                if function.__globals__.get("__name__", "").startswith(OURS):
                    found.append(f"{name}.{getattr(owner, '__name__', '')}.{attribute}")
    return sorted(set(found))

def state():
    return {
        "path": list(sys.path),
        "environ": dict(os.environ),
        "tempdir": tempfile.tempdir,
        "patched": patched(),
    }

def run(*arguments):
    application = Application()
    application.auto_exits(False)
    try:
        output = StreamOutput(sys.stderr)
        return application.run(ArgvInput(["poetry", *arguments]), output, output)
    except BaseException as error:
        return type(error).__name__

tempfile.gettempdir()
tell = {}
"""


def in_one_process(
    project: Project, home: PoetryHome, script: str, **environ: str
) -> dict[str, Any]:
    """What a script puts into ``tell``."""
    result = subprocess.run(
        [home.python, "-c", f"{START}\n{script}\nprint(json.dumps(tell))"],
        cwd=project.path,
        env={**project.environment(), **environ},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    told: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    told["said"] = " ".join(result.stderr.split())
    return told


@pytest.fixture
def project(new_project: Callable[..., Project], own_folder: Path) -> Project:
    marker_plugin("marker", "1.0").wheel(own_folder)
    project = new_project(requires_plugins='marker = "*"')
    project.lock()
    return project


ENDS = {
    "success": ("", ("install",), 0),
    "failure": ("raise ValueError('Poetry fails')", ("install",), 1),
    "exit": ("raise SystemExit(3)", ("install",), "SystemExit"),
    "interrupt": ("raise KeyboardInterrupt", ("install",), 1),
    "exec": ("", ("run", "true"), "SystemExit"),
    "no such command": ("", ("run-not", "true"), 1),
}


@pytest.mark.parametrize(
    "end",
    thorough_but(
        [("interrupt",)],
        [(end,) for end in ENDS],
    ),
)
def test_nothing_outlasts_the_command(
    end: str, project: Project, home: PoetryHome
) -> None:
    """However it ends: ``run`` too, where the user's program cannot be started."""
    code, arguments, expected = ENDS[end]
    change = f"""\
from poetry.console.commands.install import InstallCommand
handle = InstallCommand.handle
def ending(self):
    tell["during"] = patched()
    {code or "return handle(self)"}
def exec_fails(*arguments, **kwargs):
    tell["during"] = ["exec"]
    raise SystemExit(0)
InstallCommand.handle, os.execvpe = ending, exec_fails
before = state()
modules = set(sys.modules)
tell["status"] = run(*{arguments})
after = state()
tell["different"] = [name for name in before if before[name] != after[name]]
tell["after"] = after
tell["plugins"] = [
    name for name, module in sys.modules.items()
    if ".poetry" in (getattr(module, "__file__", None) or "")
]
gc.collect()
tell["lock"] = [
    name for name in os.listdir("/proc/self/fd")
    if ".lock" in os.path.realpath("/proc/self/fd/" + name)
]
"""
    told = in_one_process(
        project, home, change, POETRY_SAFE_INSTALL_ALWAYS_COPY="always"
    )

    assert told["status"] == expected, told["said"]
    assert told.get("during") or end == "no such command"
    assert told["different"] == [], told["after"]
    assert told["plugins"] == []
    assert told["lock"] == []


@pytest.mark.thorough
def test_application_without_the_plugin_after_one_with_it(
    project: Project, home: PoetryHome
) -> None:
    """It installs the project's plugins where Poetry does, and removes them there."""
    told = in_one_process(
        project,
        home,
        """\
from pathlib import Path
from poetry.plugins.plugin_manager import PluginManager
cache = Path(".poetry/plugins")
tell["first"] = run("install"), cache.exists()
find = PluginManager.get_plugin_entry_points
PluginManager.get_plugin_entry_points = lambda manager: [
    point for point in find(manager) if point.name != "safe-install"
]
tell["second"] = run("install"), cache.exists()
text = Path("pyproject.toml").read_text()
Path("pyproject.toml").write_text(text.replace('marker = "*"', ""))
tell["third"] = run("install"), cache.exists()
""",
    )

    assert told["first"] == [0, False], told["said"]
    assert told["second"] == [0, True], told["said"]
    assert told["third"] == [0, False], told["said"]
    assert (
        "No project plugins defined. Removing the project's plugin cache"
        in (told["said"])
    )


@pytest.mark.thorough
def test_protected_twice(project: Project, home: PoetryHome) -> None:
    told = in_one_process(
        project, home, 'tell["status"] = [run("install") for _ in range(2)]'
    )

    assert told["status"] == [0, 0], told["said"]
    assert told["said"].count("marker 1.0 is active") == 2


def test_plugins_are_loaded_and_no_command_runs(
    project: Project, home: PoetryHome
) -> None:
    """As Poetry's own tests do it; and a lock is held no longer than the application."""
    told = in_one_process(
        project,
        home,
        """\
application = Application()
application._load_plugins(NullIO())
tell["loaded"] = patched()

application = Application()
io = application.create_io(ArgvInput(["poetry", "install"]), StreamOutput(sys.stderr))
application._load_plugins(io)
tell["held"] = patched()
del application, io
gc.collect()
tell["dropped"] = patched()
tell["status"] = run("install")
""",
    )

    assert told["loaded"] == []
    assert told["held"]
    assert told["dropped"] == []
    assert told["status"] == 0, told["said"]
