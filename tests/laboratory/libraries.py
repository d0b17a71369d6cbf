"""Libraries with build backends that write into the tree they build.

Every backend notices if another one runs in its tree at the same time, and can be made
to wait at a barrier while it builds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.laboratory.barriers import MEET


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODULES = 60

ALONE = """\
def alone():
    import atexit, os
    try:
        os.close(os.open("busy", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        raise SystemExit("two builds at once in " + os.getcwd())
    atexit.register(os.unlink, os.path.abspath("busy"))
"""
"""Source text: ``alone()`` fails if another process has called it and still runs."""

BACKEND = f"""\
import io, os, shutil, zipfile
{MEET}
{ALONE}
NAME, VERSION = "@name@", "@version@"

def get_requires_for_build_wheel(config_settings=None):
    alone()
    if os.path.exists("PKG-INFO") and os.path.exists(".poetry"):
        raise SystemExit("an unpacked sdist is nobody else's, and needs no lock")
    return []

get_requires_for_build_editable = get_requires_for_build_wheel

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    alone()
    shutil.rmtree("build", ignore_errors=True)
    shutil.copytree(NAME, os.path.join("build", NAME))
    meet("building")
    files = {{
        NAME + "/" + file: open(os.path.join("build", NAME, file)).read()
        for file in sorted(os.listdir(os.path.join("build", NAME)))
        if file.endswith(".py")
    }}
    return _write(wheel_directory, files)

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    alone()
    meet("building")
    return _write(wheel_directory, {{NAME + ".pth": os.getcwd()}})

def _write(directory, files):
    info = NAME + "-" + VERSION + ".dist-info"
    files[info + "/METADATA"] = (
        "Metadata-Version: 2.1\\nName: " + NAME + "\\nVersion: " + VERSION + "\\n"
    )
    files[info + "/WHEEL"] = (
        "Wheel-Version: 1.0\\nGenerator: test\\n"
        "Root-Is-Purelib: true\\nTag: py3-none-any\\n"
    )
    files[info + "/RECORD"] = "".join(
        name + ",,\\n" for name in [*files, info + "/RECORD"]
    )
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    data = whole.getvalue()
    wheel = NAME + "-" + VERSION + "-py3-none-any.whl"
    with open(os.path.join(directory, wheel), "wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        meet("half-written")
        file.write(data[len(data) // 2 :])
    return wheel
"""

IN_TREE = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def in_tree(name: str, version: str = "1.0") -> dict[str, str]:
    """A backend of its own, as maturin and others work: slow, and in the tree."""
    backend = BACKEND.replace("@name@", name).replace("@version@", version)
    return {"pyproject.toml": IN_TREE, "backend.py": backend}


def with_setuptools(name: str) -> dict[str, str]:
    setup = f"""\
import sys
from setuptools import setup
{MEET}
{ALONE}
alone()
if "bdist_wheel" in sys.argv:
    meet("building")
setup(name="{name}", version="1.0", packages=["{name}"])
"""
    build_system = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
"""
    return {"pyproject.toml": build_system, "setup.py": setup}


def with_hatchling(name: str) -> dict[str, str]:
    hook = f"""\
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
{MEET}
{ALONE}
class CustomBuildHook(BuildHookInterface):
    def initialize(self, version, build_data):
        alone()
        meet("building")
"""
    pyproject = f"""\
[project]
name = "{name}"
version = "1.0"

[tool.hatch.build.hooks.custom]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""
    return {"pyproject.toml": pyproject, "hatch_build.py": hook}


def with_poetry_core(name: str) -> dict[str, str]:
    """With a build script, which poetry-core and ``poetry install`` run in the tree."""
    pyproject = f"""\
[project]
name = "{name}"
version = "1.0"
requires-python = ">=3.10"

[tool.poetry.build]
script = "build_script.py"
generate-setup-file = false

[[tool.poetry.source]]
name = "local"
url = "@index@"
priority = "primary"

[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
"""
    script = f"{MEET}\n{ALONE}\nalone()\nmeet('building')\n"
    return {"pyproject.toml": pyproject, "build_script.py": script}


BACKENDS: dict[str, Callable[[str], dict[str, str]]] = {
    "in-tree": in_tree,
    "setuptools": with_setuptools,
    "hatchling": with_hatchling,
    "poetry-core": with_poetry_core,
}


def make_library(
    path: Path, backend: str, index_url: str = "", modules: int = MODULES
) -> Path:
    """A package of many modules, named like its directory."""
    package = path / path.name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for number in range(modules):
        (package / f"module_{number}.py").write_text(f"number = {number}\n")
    for name, text in BACKENDS[backend](path.name).items():
        (path / name).write_text(text.replace("@index@", index_url))
    return path


def uses(*libraries: str, develop: bool = False) -> dict[str, object]:
    """What makes a project depend on libraries that lie beside it."""
    lines = [
        f'{name} = {{ path = "../{name}", develop = {str(develop).lower()} }}\n'
        for name in libraries
    ]
    tail = "[tool.poetry.dependencies]\n" + "".join(lines)
    return {"dependencies": libraries, "tail": tail}
