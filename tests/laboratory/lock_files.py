"""Lock files, each solved once for all tests that have the same project.

Two projects are the same whose pyproject.toml and poetry.lock say the same but for the
address of the index, and who find the same distributions and directories there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re

from typing import TYPE_CHECKING

from poetry.core.pyproject.toml import PyProjectTOML
from poetry.packages.locker import Locker

from tests.laboratory import CACHE
from tests.laboratory.index import SERVED
from tests.laboratory.index import LocalIndex


if TYPE_CHECKING:
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

KEPT = CACHE / "lock-files"
PLACE = "@index@"
HASH = re.compile(r'(?<=^content-hash = ")\w+', re.MULTILINE)


def lock(project: Project, home: PoetryHome) -> None:
    """Have the poetry.lock that ``poetry lock`` makes."""
    index = _index_of(project)
    file = project.path / "poetry.lock"
    if index is None or "git+" in project.pyproject.read_text():
        project.poetry(home, "lock").succeeded()
        return
    kept = KEPT / f"{_key(project, home, index)}.lock"
    if kept.exists() and _serves_all(index, kept.read_text()):
        file.write_text(kept.read_text().replace(PLACE, index.url))
        content = PyProjectTOML(project.pyproject).data
        digest = Locker(file, content)._get_content_hash()
        file.write_text(HASH.sub(digest, file.read_text()))
        return
    # Whether it is made here or was kept: no environment comes of it.
    environ = {
        "POETRY_VIRTUALENVS_IN_PROJECT": "false",
        "POETRY_VIRTUALENVS_PATH": str(project.path.parent / "environments-to-lock"),
    }
    project.poetry(home, "lock", environ=environ).succeeded()
    KEPT.mkdir(parents=True, exist_ok=True)
    mine = kept.with_suffix(f".{os.getpid()}")
    mine.write_text(file.read_text().replace(index.url, PLACE))
    mine.replace(kept)


def _index_of(project: Project) -> LocalIndex | None:
    text = project.pyproject.read_text()
    return next((index for url, index in SERVED.items() if url in text), None)


def _key(project: Project, home: PoetryHome, index: LocalIndex) -> str:
    texts = [
        file.read_text().replace(index.url, PLACE)
        for file in (project.pyproject, project.path / "poetry.lock")
        if file.exists()
    ]
    what = {
        "poetry": home.version,
        "python": home.minor,
        "texts": [HASH.sub("", text) for text in texts],
        "index": index.own_files,
        "directories": [
            _tree(project.path / path, index.url)
            for path in re.findall(r'path = "(.+?)"', texts[0])
        ],
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _tree(directory: Path, url: str) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(
            path.read_bytes().replace(url.encode(), PLACE.encode())
        ).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def _serves_all(index: LocalIndex, locked: str) -> bool:
    listed = re.findall(r'\{file = "(.+?)", hash = "sha256:(\w+)"\}', locked)
    return all(index.has(name, digest) for name, digest in listed)
