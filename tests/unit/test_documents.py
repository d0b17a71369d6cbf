"""README and docs: their links, their words, and every message explained."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tokenize

from functools import cache
from typing import TYPE_CHECKING
from typing import Any

import pytest
import yaml

from tests.laboratory import ROOT
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import POETRY_VERSIONS
from tests.laboratory.real_plugins import REAL_PLUGINS


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = ROOT / "src" / "poetry_plugin_safe_install"
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
EXPLAINED = ("troubleshooting.md", "faq.md")
HOMEPAGE = re.findall(
    r'^Homepage = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M
)[0]


# Every message is explained.

FIELD = "…"
LONGEST = 200
"""Characters that may stand for a field."""
MARKUP = re.compile(r"<(/?[a-z0-9]*|…)>")


def messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every text of a module that people may read, with ``…`` for what differs.

    That is each literal with two words in a row, wherever it goes: it may be passed on,
    put together or raised elsewhere. Left out is only what never reaches anybody.
    """
    silent = {id(node) for node in unread(tree)}
    for node in ast.walk(tree):
        if id(node) in silent:
            continue
        text = ""
        if isinstance(node, ast.JoinedStr):
            parts = node.values
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else FIELD
                for part in parts
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        if re.search(r"[a-z]+ +[a-z]+", MARKUP.sub("", text)):
            yield getattr(node, "lineno", 0), text


def unread(tree: ast.Module) -> Iterator[ast.AST]:
    """Texts that are not for people, or that ``--help`` explains where they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value  # a docstring
        elif isinstance(node, ast.JoinedStr):
            yield from node.values  # seen as a whole
        elif isinstance(node, ast.Compare):
            yield from ast.walk(node)
        elif isinstance(node, ast.ClassDef):
            yield from _values_of_an_enum(node)
        elif isinstance(node, ast.Call) and _name(node.func) in SILENT_CALLS:
            yield from ast.walk(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if {"help", "description"} & {_name(target) for target in targets}:
                yield from ast.walk(node)


SILENT_CALLS = {
    "Internals",  # the name of a group, for tests
    "debug",  # Poetry's own log, with -vvv
    "option",
    "Setting",
    "_choice",
}


SILENT_MODULES = {"needs.py"}
"""The words of the lock plan: when a lock is asked for. Nobody is shown them."""


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _values_of_an_enum(node: ast.ClassDef) -> Iterator[ast.AST]:
    if any(_name(base) == "Enum" for base in node.bases):
        for statement in node.body:
            yield from ast.walk(statement)


def flat(text: str) -> str:
    return " ".join(MARKUP.sub("", text).replace("`", "").split())


@cache
def explained() -> str:
    """The tables of the pages, without what Markdown needs."""
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in EXPLAINED]
    return flat("\n".join(pages).replace("\\|", "|"))


def is_explained(message: str, where: str) -> bool:
    """Whether a page has it; a field may stand for anything, an example too."""
    parts = [part.strip() for part in flat(message).split(FIELD) if part.strip()]
    first, *others = parts
    ends = [match.end() for match in re.finditer(re.escape(first), where)]
    for part in others:
        starts = (where.find(part, end, end + LONGEST + len(part)) for end in ends)
        ends = [start + len(part) for start in starts if start >= 0]
    return bool(ends)


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize(
    "module",
    [path for path in modules() if path.name not in SILENT_MODULES],
    ids=lambda path: str(path.relative_to(SOURCE)),
)
def test_messages_are_explained(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    missing = [
        f"line {line}: {text}"
        for line, text in messages(tree)
        if not is_explained(text, explained())
    ]
    assert not missing, f"explain these in docs/{EXPLAINED[0]}: {missing}"


EXAMPLE = '''
"""About a module."""
GROUP = Internals("part of Poetry")
HOURS = "opening hours"
help = "to be read with the option"

class State(Enum):
    DONE = "all done"

def act(io, path, error):
    """What it does."""
    if state == "in use":
        io.write_line(f"<info>Moved</info> {path} out of the way")
    warn(io, "nobody" " knows why")
    logger.debug("for nobody at all")
    return explain(error) or f"{error} has happened"
'''


def test_messages_are_found_wherever_they_go() -> None:
    found = [text for _, text in messages(ast.parse(EXAMPLE))]
    assert set(found) == {
        "<info>Moved</info> … out of the way",
        "opening hours",
        "nobody knows why",
        "… has happened",
    }


def test_a_new_message_is_missed() -> None:
    assert is_explained("<warning>Waiting for …, held by …</warning>", explained())
    assert not is_explained("Waiting for …, kept by …", explained())
    assert not is_explained("There is no such message", explained())


# The words.

WORDS = (
    "at one stroke",
    "lets? go",
    "let go",
    "for ever",
    "anew",
    "beneath",
    "lest",
    "shall",
    "wrecks?",
    "dear to",
    "up to now",
    "are removed by themselves",
)
UNPLAIN = re.compile(rf"\b({'|'.join(WORDS)})\b|[,;] else\b(?! \w+:)", re.IGNORECASE)


def test_words_are_plain() -> None:
    whole = (README, ROOT / "CHANGELOG.md")
    texts = {page: page.read_text(encoding="utf-8") for page in whole}
    for pattern in ("*.md", "*.svg", "*.json"):
        for page in (ROOT / "docs").rglob(pattern):
            texts[page] = page.read_text(encoding="utf-8")
    for module in modules():
        texts[module] = "\n".join(prose(module))
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path, text in texts.items()
        for match in UNPLAIN.finditer(" ".join(text.split()))
    ]
    assert found == []


def prose(module: Path) -> Iterable[str]:
    """Comments and texts of a module."""
    with module.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in (tokenize.COMMENT, tokenize.STRING):
                yield token.string


# The links.


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", text)


def test_readme_has_absolute_links_to_what_is_there() -> None:
    """The package index shows README on a page of its own."""
    found = links(README.read_text(encoding="utf-8"))
    assert found
    for link in found:
        assert link.startswith("https://"), link
        if f"/{HOMEPAGE.rpartition('/')[2]}/" in link:
            assert link.startswith(f"{HOMEPAGE}/"), link
            place = re.fullmatch(r"/(?:blob|raw)/main/(.+)", link[len(HOMEPAGE) :])
            assert place, link
            assert (ROOT / place[1]).is_file(), link


def test_every_page_is_reachable() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = [name for entry in nav for name in entry.values()]
    assert sorted(named) == [page.name for page in PAGES]


def test_one_place_names_the_owner(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    pyproject = tmp_path / "pyproject.toml"
    text = pyproject.read_text(encoding="utf-8")
    owner = HOMEPAGE.split("/")[3]
    pyproject.write_text(
        text.replace(f'Homepage = "https://github.com/{owner}/', _homepage("someone")),
        encoding="utf-8",
    )
    script = [sys.executable, str(ROOT / ".ci" / "urls"), str(tmp_path)]
    subprocess.run(script, check=True, capture_output=True)

    for path in (pyproject, tmp_path / "README.md", *tmp_path.rglob("docs/*.md")):
        text = path.read_text(encoding="utf-8")
        assert f"{owner}/poetry-plugin-safe-install" not in text, path
    assert "github.com/python-poetry/" in (tmp_path / "docs" / "caches.md").read_text(
        encoding="utf-8"
    )
    assert subprocess.run(script, check=True, capture_output=True).stdout == b""


def _homepage(owner: str) -> str:
    return f'Homepage = "https://github.com/{owner}/'


# What it was tested with.


def test_readme_names_what_is_tested() -> None:
    text = README.read_text(encoding="utf-8")
    section = text.split("\n## Tested with\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| ")
    ][1:]
    assert (rows[0][1], rows[1][1]) == (NEWEST, ", ".join(POETRY_VERSIONS))
    workflow = ROOT / ".github" / "workflows" / "tests.yml"
    jobs: dict[str, Any] = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    systems = jobs["systems"]["strategy"]["matrix"]["include"]
    macos = [row["python"] for row in systems if row["os"].startswith("macos")]
    windows = jobs["windows"]["strategy"]["matrix"]["python"]
    poetries = jobs["poetries"]["strategy"]["matrix"]["poetry"]
    assert rows[1][1] == ", ".join(poetries[:-1])
    assert (rows[2][2], rows[3][2]) == (", ".join(macos), ", ".join(windows))
    pythons = jobs["whole"]["steps"][1]["with"]["python-version"].split()
    assert rows[0][2] == ", ".join(sorted(pythons))


def test_page_and_readme_name_the_plugins_that_are_tested() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")][:4]
        for line in page.splitlines()
        if line.startswith("| ")
    ][1:]
    assert rows == [
        [
            plugin.name,
            plugin.version,
            ", ".join(f"`{command}`" for command in plugin.commands),
            f"{plugin.oldest}, {NEWEST}",
        ]
        for plugin in REAL_PLUGINS
    ]
    readme = README.read_text(encoding="utf-8")
    told = readme.split("\nTested beside ")[1].split("\n\n")[0]
    names = re.findall(r"(?<![\w/-])po[a-z]+(?:-[a-z]+)*(?![\w/-])", told)
    assert sorted(names) == sorted(plugin.name for plugin in REAL_PLUGINS)
