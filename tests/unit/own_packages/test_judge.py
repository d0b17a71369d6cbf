"""The decisions about Poetry's own packages: a table, and what must never be."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from poetry_plugin_safe_install.own_packages.installed import closure
from poetry_plugin_safe_install.own_packages.installed import distributions
from poetry_plugin_safe_install.own_packages.installed import own_releases
from poetry_plugin_safe_install.own_packages.installed import poetry_and_plugins
from poetry_plugin_safe_install.own_packages.judge import Action
from poetry_plugin_safe_install.own_packages.judge import Installed
from poetry_plugin_safe_install.own_packages.judge import Verdict
from poetry_plugin_safe_install.own_packages.judge import judge
from poetry_plugin_safe_install.own_packages.judge import judge_root
from poetry_plugin_safe_install.own_packages.judge import judge_written
from poetry_plugin_safe_install.releases import Change
from poetry_plugin_safe_install.releases import Release
from poetry_plugin_safe_install.releases import Requires
from poetry_plugin_safe_install.releases import Root
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from pathlib import Path


def requires(requirer: str, package: str, specifier: str) -> Requires:
    accepts = SpecifierSet(specifier)
    return Requires(requirer, package, f"{package}{specifier}", accepts.contains)


OWN = {
    "poetry": Release(
        "poetry",
        "2.5.1",
        (
            requires("poetry 2.5.1", "packaging", ">=24.2,<27"),
            requires("poetry 2.5.1", "requests", ">=2.26"),
            requires("poetry 2.5.1", "poetry-core", "==2.5.0"),
        ),
    ),
    "poetry-core": Release("poetry-core", "2.5.0"),
    "packaging": Release("packaging", "25.0"),
    "requests": Release(
        "requests", "2.32", (requires("requests 2.32", "urllib3", "<2"),)
    ),
    "urllib3": Release("urllib3", "1.26"),
    "plugin": Release("plugin", "1.0"),
}
ACCEPTS = [requires("the project demo", "packaging", ">=20")]
DECLINES = [*ACCEPTS, requires("cattle 1.0", "packaging", "<25")]

REMOVED = Change("packaging", None)
OLDER = Change("packaging", Release("packaging", "24.2"))
TOO_OLD = Change("packaging", Release("packaging", "24.1"))
SAME = Change("packaging", Release("packaging", "25.0"))
ELSEWHERE = Change("packaging", Release("packaging", "25.0"), source="git there")
NEWER = Change("packaging", Release("packaging", "26.3"))
NEWER_ELSEWHERE = Change("packaging", Release("packaging", "26.3"), source="git there")
OVER = Change("packaging", Release("packaging", "26.3"), over=True)
OVER_SAME = Change("packaging", Release("packaging", "25.0"), over=True)
TOO_NEW = Change("packaging", Release("packaging", "27.0"))
PLUGIN_REMOVED = Change("plugin", None)

STOP, KEEP, LAST, DO = Action.STOP, Action.KEEP, Action.LAST, Action.DO


def judged(
    changes: list[Change],
    mode: str = "refuse",
    locked: list[Requires] | None = None,
    others: dict[str, Release] | None = None,
) -> list[Verdict]:
    found = Installed(OWN, ["poetry", "plugin"], others or {})
    return judge(changes, found, locked or [], mode)


@pytest.mark.parametrize(
    ("change", "locked", "refuse", "pin", "strict", "allow"),
    [
        (REMOVED, [], STOP, KEEP, STOP, DO),
        (PLUGIN_REMOVED, [], STOP, KEEP, STOP, DO),
        (OLDER, ACCEPTS, LAST, LAST, STOP, LAST),
        (OLDER, DECLINES, LAST, LAST, STOP, LAST),
        (TOO_OLD, ACCEPTS, STOP, KEEP, STOP, DO),
        (TOO_OLD, DECLINES, STOP, STOP, STOP, DO),
        (TOO_NEW, ACCEPTS, STOP, KEEP, STOP, DO),
        (TOO_NEW, DECLINES, STOP, STOP, STOP, DO),
        (NEWER, ACCEPTS, LAST, LAST, LAST, LAST),
        (NEWER_ELSEWHERE, ACCEPTS, LAST, LAST, LAST, LAST),
        (SAME, ACCEPTS, LAST, LAST, LAST, LAST),
        (ELSEWHERE, ACCEPTS, STOP, KEEP, STOP, DO),
        (OVER, ACCEPTS, STOP, KEEP, STOP, DO),
        (OVER_SAME, ACCEPTS, LAST, LAST, LAST, LAST),
    ],
)
def test_table(
    change: Change,
    locked: list[Requires],
    refuse: Action,
    pin: Action,
    strict: Action,
    allow: Action,
) -> None:
    found = [
        judged([change], mode, locked)[0].action
        for mode in ("refuse", "pin", "strict", "allow")
    ]
    assert found == [refuse, pin, strict, allow]


def test_a_new_release_needs_what_it_requires() -> None:
    """What it requires may have been installed before, or come with it, or be missing."""
    needs = (requires("requests 3", "charset", ">=2"),)
    requests = Change("requests", Release("requests", "3", needs))
    coming = {"charset": Release("charset", "2.1")}
    old = {"charset": Release("charset", "1.0")}

    assert [verdict.action for verdict in judged([requests], others=coming)] == [LAST]
    (missing,) = judged([requests])
    (refused,) = judged([requests], others=old)
    assert (missing.action, refused.action) == (STOP, STOP)
    assert missing.reason == (
        "changed, but requests 3 requires charset>=2, which is not installed"
    )
    assert refused.reason == (
        "changed, but requests 3 requires charset>=2, and 1.0 is installed"
    )


def test_what_a_new_requirement_requires_counts_too() -> None:
    needs = (requires("requests 3", "charset", ">=2"),)
    requests = Change("requests", Release("requests", "3", needs))
    bad = Release("charset", "2.1", (requires("charset 2.1", "packaging", "<26"),))

    verdicts = judged([requests, NEWER], others={"charset": bad})

    assert {verdict.package: verdict.action for verdict in verdicts} == {
        "packaging": STOP,
        "requests": LAST,
    }


def test_only_what_is_at_fault_is_named() -> None:
    """An old lock file: six go down, two of them too far."""
    changes = [
        TOO_OLD,
        Change("urllib3", Release("urllib3", "1.25")),
        Change("requests", Release("requests", "2.20")),
        Change("poetry-core", Release("poetry-core", "2.5.0")),
    ]

    stopped = [v.package for v in judged(changes) if v.action is STOP]

    assert stopped == ["packaging", "requests"]


ROOT = Root("packaging", "file:///here", False, (), ())


@pytest.mark.parametrize(
    ("root", "origins", "expected"),
    [
        (ROOT, {}, [STOP]),
        (ROOT, {"packaging": "file:///elsewhere"}, [STOP]),
        (ROOT, {"packaging": "file:///here"}, []),
        (replace(ROOT, is_plugin=True), {}, []),
        (replace(ROOT, name="demo"), {}, []),
    ],
)
def test_root(root: Root, origins: dict[str, str], expected: list[Action]) -> None:
    found = [judge_root(root, OWN, origins, mode) for mode in ("refuse", "pin")]
    assert [[verdict.action for verdict in each] for each in found] == [expected] * 2
    allowed = judge_root(root, OWN, origins, "allow")
    assert [verdict.action for verdict in allowed] == [DO] * len(expected)


def test_written_files() -> None:
    owners = {"/bin/poetry": "poetry", "/lib/a.py": "urllib3", "/lib/b.py": "urllib3"}
    files = ["/lib/a.py", "/lib/b.py", "/lib/mine.py", "/bin/poetry"]

    verdicts = judge_written("cattle 1.0", files, owners, OWN, "pin")

    assert [(v.package, v.action, v.reason) for v in verdicts] == [
        ("poetry", STOP, "written over by cattle 1.0: /bin/poetry"),
        ("urllib3", STOP, "written over by cattle 1.0: /lib/a.py and 1 more"),
    ]
    assert judge_written("cattle 1.0", files[2:3], owners, OWN, "refuse") == []


def test_a_verdict_says_who_requires_what() -> None:
    (verdict,) = judged([TOO_NEW], "pin", DECLINES)

    assert (verdict.package, verdict.installed, verdict.locked) == (
        "packaging",
        "25.0",
        "27.0",
    )
    assert verdict.requirers == ("poetry 2.5.1 requires packaging>=24.2,<27",)
    assert "poetry 2.5.1 requires packaging>=24.2,<27" in verdict.reason
    assert "cattle 1.0 requires packaging<25" in verdict.reason


def test_poetry_and_what_it_requires_may_be_upgraded_together() -> None:
    core = Change("poetry-core", Release("poetry-core", "2.6.0"))
    needs = (requires("poetry 2.6.0", "poetry-core", "==2.6.0"),)
    poetry = Change("poetry", Release("poetry", "2.6.0", needs))

    alone = judged([core])
    together = judged([core, poetry])

    assert [verdict.action for verdict in alone] == [STOP]
    assert [verdict.action for verdict in together] == [LAST, LAST]


def test_what_nothing_needs_any_more_may_be_removed() -> None:
    poetry = Change("poetry", Release("poetry", "2.6.0", ()))

    verdicts = judged([poetry, REMOVED])

    assert [verdict.action for verdict in verdicts] == [LAST, LAST]


def test_what_is_left_alone_counts_with_what_it_requires() -> None:
    """requests stays, so urllib3 must stay with it."""
    older = Change("requests", Release("requests", "2.20"))
    newer = Change("urllib3", Release("urllib3", "2.0"))

    verdicts = judged([older, newer], "pin")

    assert [verdict.action for verdict in verdicts] == [KEEP, KEEP]


def test_own_packages_are_those_of_poetry_and_all_plugins(tmp_path: Path) -> None:
    entry_points = "[poetry.application.plugin]\nshow = show:Plugin\n"
    for name, needs, entries in (
        ("poetry", ("cache[file]>=1", "old; python_version < '3'", "Dotted.Name"), ""),
        ("cache", ("files; extra == 'file'", "redis; extra == 'redis'"), ""),
        ("files", ("cache",), ""),
        ("redis", (), ""),
        ("old", (), ""),
        ("dotted-name", (), ""),
        ("poetry-plugin-show", ("tables",), entry_points),
        ("tables", (), ""),
        ("unrelated", ("poetry",), ""),
    ):
        Distribution(name, "1.0", requires=needs, entry_points=entries).unpack(tmp_path)
    installed = distributions([str(tmp_path)])

    roots = poetry_and_plugins(installed)

    assert roots == {"poetry", "poetry-plugin-show"}
    expected = {"cache", "dotted-name", "files", "tables"} | roots
    assert closure(roots, installed) == expected
    assert [
        str(need) for need in own_releases(roots, installed)["poetry"].requires
    ] == [
        "poetry 1.0 requires cache>=1",
        "poetry 1.0 requires Dotted.Name",
    ]


VERSIONS = st.builds(
    "{}.{}{}".format,
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from(["", "", "", "a1", ".post1"]),
)
SPECIFIERS = st.one_of(
    st.just(""),
    st.builds(
        "{}{}".format, st.sampled_from([">=", "<", "<=", ">", "!=", "=="]), VERSIONS
    ),
)
NAMES = ("a", "b", "c", "d")


@cache
def accepts(specifier: str, version: str) -> bool:
    return SpecifierSet(specifier).contains(version, prereleases=True)


@st.composite
def releases(draw: st.DrawFn) -> dict[str, Release]:
    """A consistent set: what is installed, or what a lock file holds."""
    versions = {name: draw(VERSIONS) for name in NAMES}
    found = {}
    for name in NAMES:
        needs = []
        for other in draw(st.sets(st.sampled_from(NAMES), max_size=3)):
            specifier = draw(SPECIFIERS)
            if not accepts(specifier, versions[other]):
                specifier = f"=={versions[other]}"
            needs.append((other, specifier))
        found[name] = Release(
            name,
            versions[name],
            tuple(_requires(name, other, specifier) for other, specifier in needs),
        )
    return found


def _requires(requirer: str, package: str, specifier: str) -> Requires:
    return Requires(
        requirer, package, specifier, lambda version: accepts(specifier, version)
    )


CASES = {
    "own": releases(),
    "lock": releases(),
    "removed": st.sets(st.sampled_from(NAMES), max_size=2),
    "mode": st.sampled_from(["refuse", "pin", "strict"]),
}


@given(**CASES)
@settings(deadline=None, max_examples=60)
def test_what_comes_of_it_violates_no_requirement(
    own: dict[str, Release], lock: dict[str, Release], removed: set[str], mode: str
) -> None:
    violates_none(own, lock, removed, mode)


@pytest.mark.soak
@given(**CASES)
@settings(deadline=None, max_examples=500)
def test_what_comes_of_many_violates_no_requirement(
    own: dict[str, Release], lock: dict[str, Release], removed: set[str], mode: str
) -> None:
    violates_none(own, lock, removed, mode)


def violates_none(
    own: dict[str, Release], lock: dict[str, Release], removed: set[str], mode: str
) -> None:
    locked = {name: release for name, release in lock.items() if name not in removed}
    needs = [
        need
        for release in locked.values()
        for need in release.requires
        if need.package in locked
    ]
    locked = {
        name: Release(
            name,
            release.version,
            tuple(need for need in release.requires if need.package in locked),
        )
        for name, release in locked.items()
    }
    changes = [Change(name, locked.get(name)) for name in NAMES]

    verdicts = judge(changes, Installed(own, ["a"], {}), needs, mode)

    if any(verdict.action is STOP for verdict in verdicts):
        return
    after = dict(own)
    for verdict in verdicts:
        if verdict.action is LAST:
            after.pop(verdict.package)
            if verdict.package in locked:
                after[verdict.package] = locked[verdict.package]
    for need in needs:
        assert need.accepts(after[need.package].version), need
    seen: set[str] = set()
    waiting = ["a"]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for need in after[name].requires:
            assert need.accepts(after[need.package].version), (name, need)
            waiting.append(need.package)
