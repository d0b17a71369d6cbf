"""A project whose version comes from its git tag, by way of a real plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.laboratory.poetries import download
from tests.laboratory.projects import make_project


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping
    from pathlib import Path

    from tests.laboratory.index import LocalIndex
    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

VERSION = "1.2.3"

SHOW_VERSION = (
    "python",
    "-c",
    "import importlib.metadata as m; print(m.version('demo'))",
)
"""What ``poetry run`` executes to say which version was installed."""


def make_tagged_project(
    path: Path,
    index: LocalIndex,
    homes: Iterable[PoetryHome],
    *,
    environ: Mapping[str, str],
    required: bool = True,
) -> Project:
    """A fresh clone, so to speak, of a project that uses poetry-dynamic-versioning.

    :param homes: Poetrys without this plugin; the first one makes poetry.lock.
    :param required: whether the project names the plugin in ``requires-plugins``.
    """
    homes = list(homes)
    for home in homes:
        download(home.python, "poetry-dynamic-versioning", dependencies=True)
    project = make_project(
        path,
        index,
        environ=environ,
        requires_plugins='poetry-dynamic-versioning = "*"' if required else "",
        tail="[tool.poetry-dynamic-versioning]\nenable = true\n",
    )
    project.git("init", "--quiet")
    project.lock()
    project.git("add", ".")
    project.git("commit", "--quiet", "--message", "first")
    project.git("tag", f"v{VERSION}")
    return project
