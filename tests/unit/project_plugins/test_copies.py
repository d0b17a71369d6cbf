"""What may be copied from project to project, and what a copy is known by."""

from __future__ import annotations

import time

from typing import TYPE_CHECKING
from typing import Any

import pytest

from poetry_plugin_safe_install.project_plugins.copies import Copy
from poetry_plugin_safe_install.project_plugins.copies import PluginCopies
from poetry_plugin_safe_install.project_plugins.copies import is_fixed
from poetry_plugin_safe_install.project_plugins.copies import is_installed_from_fixed
from poetry_plugin_safe_install.project_plugins.copies import key_of
from poetry_plugin_safe_install.project_plugins.copies import relevant_settings
from poetry_plugin_safe_install.project_plugins.trees import DamagedError


if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("constraint", "fixed"),
    [
        ("*", True),
        (">=1.0", True),
        ({"version": "*", "extras": ["x"]}, True),
        ({"path": "../plugin"}, False),
        ({"path": "../plugin", "develop": True}, False),
        ({"file": "plugin.whl"}, False),
        ({"git": "https://example.org/x.git"}, False),
        ({"git": "https://example.org/x.git", "branch": "main"}, False),
        ({"git": "https://example.org/x.git", "tag": "v1"}, False),
        ({"git": "https://example.org/x.git", "rev": "0123456"}, False),
        ({"git": "https://example.org/x.git", "rev": COMMIT}, True),
        ({"url": "https://example.org/x.whl"}, False),
        ({"url": "https://example.org/x.whl#sha256=00"}, True),
        (["*", {"path": "x"}], False),
        ([{"version": "1", "python": "<3.11"}, {"version": "2"}], True),
    ],
)
def test_requirements_that_are_the_same_everywhere(
    constraint: Any, fixed: bool
) -> None:
    assert is_fixed({"other": "*", "plugin": constraint}) is fixed


@pytest.mark.parametrize(
    ("direct_url", "fixed"),
    [
        ({"url": "file:///x", "dir_info": {}}, False),
        ({"url": "file:///x", "dir_info": {"editable": True}}, False),
        ({"url": "https://x/y.whl", "archive_info": {"hash": "sha256=0"}}, False),
        ({"url": "https://x/y.whl#sha256=0", "archive_info": {}}, True),
        (
            {"vcs_info": {"vcs": "git", "requested_revision": "v", "commit_id": "0"}},
            False,
        ),
        ({"vcs_info": {"vcs": "git", "commit_id": COMMIT}}, False),
        (
            {"vcs_info": {"requested_revision": COMMIT, "commit_id": COMMIT}},
            True,
        ),
    ],
)
def test_what_requirements_of_requirements_have_brought(
    direct_url: dict[str, Any], fixed: bool
) -> None:
    assert is_installed_from_fixed(direct_url) is fixed


def test_settings_that_decide_what_is_installed() -> None:
    none = relevant_settings([{}, {}], {})
    assert relevant_settings([{"virtualenvs": {"path": "x"}}, {}], {}) == none
    assert relevant_settings([{"installer": {"max-workers": 3}}, {}], {}) == none
    assert relevant_settings([{}, {}], {"POETRY_INSTALLER_MAX_WORKERS": "3"}) == none
    assert relevant_settings([{}, {}], {"POETRY_CACHE_DIR": "x"}) == none
    different = [
        relevant_settings([{"installer": {"no-binary": "x"}}, {}], {}),
        relevant_settings([{}, {"installer": {"no-binary": "x"}}], {}),
        relevant_settings([{"solver": {"min-release-age": 3}}, {}], {}),
        relevant_settings([{}, {}], {"POETRY_INSTALLER_ONLY_BINARY": "x"}),
        relevant_settings([{}, {}], {"POETRY_SOLVER_MIN_RELEASE_AGE": "3"}),
        relevant_settings([{}, {}], {"POETRY_PYPI_MIRROR_URL": "x"}),
    ]
    assert none not in different
    assert len({str(each) for each in different}) == len(different)


def test_order_of_sources_counts() -> None:
    a, b = {"name": "a"}, {"name": "b"}
    assert key_of(sources=[a, b]) == key_of(sources=[a, b])
    assert key_of(sources=[a, b]) != key_of(sources=[b, a])


@pytest.mark.parametrize(
    "told",
    [
        "",
        "[]",
        '{"entries": [], "requires": [], "files": []}',
        '{"entries": {}, "requires": [], "files": [["x"]]}',
        '{"entries": {}, "requires": [], "files": [[1, 1, "", false]]}',
        '{"entries": {}, "requires": [], "files": [["../x", 1, "", false]]}',
        '{"entries": {"/x": 1}, "requires": [], "files": []}',
    ],
)
def test_list_of_files_that_makes_no_sense(told: str, tmp_path: Path) -> None:
    (tmp_path / "copy.json").write_text(told)
    with pytest.raises(DamagedError):
        Copy(tmp_path)


def test_a_set_is_put_together_within_a_tenth_of_a_second(tmp_path: Path) -> None:
    """Of processor time, for one of 200 files."""
    plugin_set = tmp_path / "set"
    for n in range(200):
        file = plugin_set / "lib" / f"package_{n % 10}" / f"m{n}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x = 1\n" * 1000)
        file.chmod(0o444)
    (plugin_set / "set.json").write_text('{"entries": {}}')
    copies = PluginCopies(tmp_path / "cache" / "copies")
    assert copies.prepare()
    assert copies.put("key", plugin_set, ["plugin"])

    start = time.process_time()
    assert copies.take("key", tmp_path / "other", {})
    assert time.process_time() - start < 0.1

    assert len([*(tmp_path / "other").rglob("*.py")]) == 200
