"""The tools of contributors: one release of each, wherever it is named."""

from __future__ import annotations

import re
import subprocess

from typing import Any

import pytest
import yaml

from tests.laboratory import ROOT
from tests.laboratory import VERSION


LOCKED = dict(
    re.findall(
        r"^([\w.-]+)==(\S+)",
        (ROOT / "requirements-dev.txt").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def hooks() -> dict[str, Any]:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    return {
        repo["repo"].rpartition("/")[2]: repo for repo in yaml.safe_load(text)["repos"]
    }


def test_hooks_are_of_the_locked_releases() -> None:
    found = hooks()
    assert found["ruff-pre-commit"]["rev"] == f"v{LOCKED['ruff']}"
    assert found["mirrors-mypy"]["rev"] == f"v{LOCKED['mypy']}"
    named = [
        requirement
        for repo in found.values()
        for hook in repo["hooks"]
        for requirement in hook.get("additional_dependencies", [])
    ]
    assert named
    for requirement in named:
        name, _, version = requirement.partition("==")
        assert version == LOCKED[name], requirement


def test_lock_names_no_host() -> None:
    """It is made beside whatever index its maker has, and used beside any other."""
    text = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--" not in text


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned(workflow: Any) -> None:
    """By commit, with the version as a comment: a tag can be moved."""
    text = workflow.read_text(encoding="utf-8")
    used = re.findall(r"uses: (.+)", text)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v[\d.]+", action), action


def test_version_stands_in_one_place() -> None:
    """pyproject.toml; the change log says what is in it, measurements of what they are."""
    released = re.findall(
        r"^## \[(\d\S*)\] - \d{4}-\d\d-\d\d$", read("CHANGELOG.md"), re.M
    )
    assert released[0] == VERSION
    listed = subprocess.run(
        ["git", "ls-files", "src", "docs", "templates", ".github", "README.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.split()
    found = re.compile(rf"(?<![\w.]){re.escape(VERSION)}(?![\w.])")
    if not listed:
        pytest.skip("needs a clone of this repository, and git")
    for name in listed:
        text = read(name)
        if "wrote this" not in text and name != "docs/plugins.md":  # others' versions
            assert not found.search(text), name
