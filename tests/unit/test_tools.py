"""The tools of contributors: one release of each, wherever it is named."""

from __future__ import annotations

import re

from typing import Any

import pytest
import yaml

from tests.laboratory import ROOT


LOCKED = dict(
    re.findall(
        r"^([\w.-]+)==(\S+)",
        (ROOT / "requirements-dev.txt").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


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
