"""The judgements of ``--check``, row by row."""

from __future__ import annotations

import pytest

from poetry_plugin_safe_install.check import topics
from poetry_plugin_safe_install.check.finding import Finding
from poetry_plugin_safe_install.check.finding import Level


def own_packages(*actions: str, pin: bool = True, unknown: str = "") -> Finding:
    changes = tuple(
        topics.OwnPackageChange("packaging", "26.0", "20.0", action, "", (), action)
        for action in actions
    )
    return topics.judge_own_packages(
        topics.OwnPackagesFacts("refuse", True, changes, pin, unknown)
    )


@pytest.mark.parametrize(
    ("finding", "pin"),
    [
        (own_packages("stop"), True),
        (own_packages("stop", pin=False), False),
        (own_packages("stop", "keep"), False),  # that is "pin" already
        (own_packages("do"), True),
        (own_packages("keep"), False),
    ],
)
def test_remedy_for_own_packages(finding: Finding, pin: bool) -> None:
    assert ("on-self-change pin" in finding.remedy) is pin


def test_not_all_own_packages_are_shown() -> None:
    shown = own_packages("last", "last", "last", "last", "last").text
    assert shown.endswith(": last; last; last; 2 more")


HOLDER = topics.HolderFacts(
    "poetry lock", 1, "h", "u", 0.0, "exclusive", "`poetry lock`"
)
READER = topics.HolderFacts("poetry run", 1, "h", "u", 0.0, "shared", "`poetry run`")


def locks(*holders: topics.HolderFacts, timeout: float | None) -> Finding:
    lock = topics.LockFacts("the project", "/p/project.lock", holders)
    return topics.judge_locks(topics.LocksFacts("/p", "/p", "", timeout, (lock,)))


@pytest.mark.parametrize(
    ("finding", "level"),
    [
        (topics.judge_own_packages(topics.OwnPackagesFacts("refuse", False)), "ok"),
        (own_packages(), "ok"),
        (own_packages("last"), "note"),
        (own_packages("last", "keep"), "risk"),
        (own_packages("last", "do"), "risk"),
        (own_packages("keep", "stop"), "refused"),
        (own_packages(unknown="no lock file"), "note"),
        (
            topics.judge_externally_managed(
                topics.ExternallyManagedFacts("warn", None)
            ),
            "ok",
        ),
        (
            topics.judge_externally_managed(
                topics.ExternallyManagedFacts("warn", "/m")
            ),
            "risk",
        ),
        (
            topics.judge_externally_managed(
                topics.ExternallyManagedFacts("refuse", "/m")
            ),
            "refused",
        ),
        (
            topics.judge_externally_managed(
                topics.ExternallyManagedFacts("allow", "/m")
            ),
            "note",
        ),
        (topics.judge_scripts(topics.ScriptsFacts(None, False, True, ())), "ok"),
        (topics.judge_scripts(topics.ScriptsFacts("/b", True, False, ())), "ok"),
        (topics.judge_scripts(topics.ScriptsFacts("/b", False, True, ())), "ok"),
        (topics.judge_scripts(topics.ScriptsFacts("/b", False, False, ())), "risk"),
        (locks(timeout=0), "ok"),
        (locks(HOLDER, timeout=900), "note"),
        (locks(HOLDER, timeout=None), "note"),
        (locks(HOLDER, timeout=0), "refused"),
        (locks(READER, timeout=0), "note"),
    ],
)
def test_judgement(finding: Finding, level: str) -> None:
    assert finding.level.value == level
    assert bool(finding.remedy) == (finding.level in (Level.RISK, Level.REFUSED))
    assert "\n" not in finding.remedy
