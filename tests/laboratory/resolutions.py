"""What the index held at some time: resolved by uv, and served again as it was.

Of packages that do not matter only the metadata is taken: their wheels are empty.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile

from typing import TYPE_CHECKING
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from tests.laboratory import CACHE
from tests.laboratory.poetries import DEFAULT_PYTHON
from tests.laboratory.poetries import WHEELS
from tests.laboratory.poetries import download
from tests.laboratory.poetries import poetry_home
from tests.laboratory.poetries import stand_in_for_missing
from tests.laboratory.wheels import Distribution


if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping
    from pathlib import Path

RESOLUTIONS = CACHE / "resolutions"


class Resolved(NamedTuple):
    """One release, and what it requires."""

    name: str
    version: str
    requires: tuple[str, ...]


def resolution(requirements: str, date: str) -> dict[str, Resolved]:
    """What would have been installed at that time; asked for once.

    :param requirements: separated by spaces.
    :param date: the day before which it must have been released; empty for today.
    :raises subprocess.CalledProcessError: if there is nothing that fits.
    """
    asked = f"{requirements} {date} {DEFAULT_PYTHON}"
    kept = RESOLUTIONS / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"
    if not kept.exists():
        found = _with_metadata(_compiled(requirements, date))
        RESOLUTIONS.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found), encoding="utf-8")
    return {
        name: Resolved(name, version, tuple(requires))
        for name, version, requires in json.loads(kept.read_text(encoding="utf-8"))
    }


def _compiled(requirements: str, date: str) -> list[str]:
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header"]
    command += ["--no-annotate", "--no-strip-extras", "--only-binary", ":all:"]
    command += ["--python-version", DEFAULT_PYTHON, "-"]
    command += ["--exclude-newer", date] if date else []
    said = _said(command, "\n".join(requirements.split()))
    return [
        line.partition(";")[0].strip() for line in said.splitlines() if "==" in line
    ]


def _with_metadata(pins: list[str]) -> list[Resolved]:
    """As pip reports it, which downloads metadata alone where the index has it."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
    command += ["--ignore-installed", "--no-deps", "--only-binary", ":all:"]
    command += ["--python-version", DEFAULT_PYTHON, "--report", "-"]
    plain = [_without_extras(pin) for pin in pins]
    with tempfile.TemporaryDirectory() as directory:
        said = _said([*command, "--target", directory, *plain])
    extras = {canonicalize_name(one.name): one.extras for one in map(Requirement, pins)}
    found = []
    for item in json.loads(said)["install"]:
        metadata = item["metadata"]
        name = canonicalize_name(metadata["name"])
        required = metadata.get("requires_dist", [])
        found.append((name, metadata["version"], _here(required, extras[name])))
    names = {name for name, _, _ in found}
    return [
        Resolved(name, version, tuple(r for r in requires if _name(r) in names))
        for name, version, requires in found
    ]


def _without_extras(pin: str) -> str:
    requirement = Requirement(pin)
    return f"{requirement.name}{requirement.specifier}"


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def _here(requires: Iterable[str], extras: Iterable[str]) -> list[str]:
    """What is required on this machine with these extras, and no conditions left."""
    found = []
    for text in requires:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(
            marker.evaluate({"extra": extra, "python_version": DEFAULT_PYTHON})
            for extra in ("", *extras)
        ):
            found.append(f"{requirement.name}{requirement.specifier}")
    return found


def _said(command: list[str], text: str = "") -> str:
    return subprocess.run(
        command, input=text, capture_output=True, text=True, check=True
    ).stdout


def serve(resolved: Mapping[str, Resolved], real: Iterable[str], folder: Path) -> None:
    """Have these releases in the folder of an index.

    :param real: the names of those that are to be as they are; all others are empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = {*real} & {*resolved}
    pins = sorted(f"{name}=={resolved[name].version}" for name in names)
    if pins:
        download(poetry_home(protected=False).python, *pins)
    for wheel in WHEELS.glob("*.whl"):
        name, version, *_ = parse_wheel_filename(wheel.name)
        wanted = name in names and Version(resolved[name].version) == version
        if wanted and not (folder / wheel.name).exists():
            (folder / wheel.name).symlink_to(wheel)
    for one in resolved.values():
        if one.name not in names:
            Distribution(one.name, one.version, requires=one.requires).wheel(folder)
    stand_in_for_missing([folder], folder)
