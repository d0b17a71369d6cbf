"""What Poetry compiles of its schemas is kept as byte code is, and run only if whole."""

from __future__ import annotations

import hashlib
import marshal
import os
import subprocess

from typing import TYPE_CHECKING

import pytest

from tests.laboratory import preloaded
from tests.laboratory.cases import thorough_but
from tests.laboratory.clones import SCHEMAS
from tests.laboratory.poetries import NEWEST
from tests.laboratory.poetries import OLDEST


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterator
    from pathlib import Path

    from tests.laboratory.poetries import PoetryHome
    from tests.laboratory.projects import Project

CHECK = ("check", "--no-interaction")

FORGED = "this comes from the cache"

FORGE = f"""\
import hashlib, marshal, pathlib, sys
for path in map(pathlib.Path, sys.argv[1:]):
    name, _ = marshal.loads(path.read_bytes()[32:])
    text = (
        "from fastjsonschema import JsonSchemaValueException\\n"
        f"def {{name}}(*_, **__): raise JsonSchemaValueException('{FORGED}')"
    )
    body = marshal.dumps((name, compile(text, "forged", "exec")))
    path.write_bytes(hashlib.sha256(body).digest() + body)
"""
"""Has every schema that is kept refuse all that there is."""

FORGERIES: dict[str, bytes] = {}


@pytest.fixture(autouse=True)
def executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forked commands have everything compiled beforehand."""
    monkeypatch.setattr(preloaded, "CAN_FORK", False)


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    project = new_project()
    project.lock()
    return project


def kept(home: PoetryHome) -> list[Path]:
    return sorted(home.site_packages.glob(SCHEMAS))


@pytest.fixture
def own(clone: Callable[..., PoetryHome]) -> PoetryHome:
    """A Poetry that has kept nothing yet."""
    return clone()


@pytest.fixture
def forged(project: Project, own: PoetryHome) -> list[Path]:
    """Made from what a command has kept; the names are the same in each clone."""
    if not FORGERIES:
        project.poetry(own, *CHECK).succeeded()
        subprocess.run([own.python, "-c", FORGE, *kept(own)], check=True)
        FORGERIES.update({path.name: path.read_bytes() for path in kept(own)})
    directory = (own.site_packages / SCHEMAS).parent
    for name, content in FORGERIES.items():
        (directory / name).write_bytes(content)
    assert kept(own)
    return kept(own)


def test_what_is_kept_is_used(
    project: Project, own: PoetryHome, forged: list[Path]
) -> None:
    project.poetry(own, *CHECK).failed(FORGED)
    for path in forged:
        path.unlink()
    project.poetry(own, *CHECK).succeeded()
    assert kept(own) == forged


@pytest.mark.thorough
@pytest.mark.parametrize("version", dict.fromkeys((OLDEST, NEWEST)))
def test_the_same_is_said(
    project: Project, version: str, clone: Callable[..., PoetryHome]
) -> None:
    """When it is compiled, when it was, and by Poetry alone."""
    text = project.pyproject.read_text()
    home, plain = clone(version), clone(version, protected=False)
    for wrong in (
        text.replace('name = "demo"', "name = 3"),
        f"{text}\n[tool.poetry]\nunknown = 1\n",
        f"{text}\n[tool.poetry]\nsource = [{{}}]\n",
        f'{text}\n[tool.poetry]\nrequires-poetry = "*"\npackages = "none"\n',
    ):
        project.pyproject.write_text(wrong)
        told = project.poetry_apart(plain, *CHECK)
        assert told.returncode
        for _ in range(2):
            found = project.poetry_apart(home, *CHECK)
            assert (found.returncode, found.stdout, found.stderr) == (
                told.returncode,
                told.stdout,
                told.stderr,
            )
    assert kept(home)


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def no_byte_code(path: Path) -> None:
    path.write_bytes(hashlib.sha256(b"text").digest() + b"text")


def huge(path: Path) -> None:
    os.truncate(path, 1 << 40)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def strange(path: Path) -> None:
    """Whole, and none of what is kept."""
    body = marshal.dumps(("validate", 5))
    path.write_bytes(hashlib.sha256(body).digest() + body)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize(
    "damage",
    thorough_but(
        [(cut_off,)],
        [(cut_off,), (no_byte_code,), (huge,), (pipe,), (directory,), (strange,)],
    ),
)
def test_what_is_damaged_is_not_there(
    damage: Callable[[Path], None],
    project: Project,
    own: PoetryHome,
    forged: list[Path],
) -> None:
    for path in forged:
        damage(path)
    result = project.poetry(own, *CHECK).succeeded()
    assert "poetry-plugin-safe-install" not in result.out
    for path in forged:  # the clone serves other tests
        if path.is_dir():
            path.rmdir()


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_nobody_else_may_write_them(
    project: Project, own: PoetryHome, no_umask: None
) -> None:
    project.poetry(own, *CHECK).succeeded()
    assert {path.stat().st_mode & 0o777 for path in kept(own)} == {0o644}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize(
    "of", thorough_but([("another user",)], [("everybody",), ("another user",)])
)
def test_what_others_can_write_is_not_run(
    of: str, project: Project, own: PoetryHome, forged: list[Path]
) -> None:
    if of != "everybody" and os.getuid() != 0:
        pytest.skip("needs root, to give files away")
    for path in forged:
        path.chmod(0o646 if of == "everybody" else 0o644)
        if of != "everybody":
            os.chown(path, 65534, -1)

    project.poetry(own, *CHECK).succeeded()

    assert {path.stat().st_mode & 0o777 for path in kept(own)} == {0o644}
    assert {path.stat().st_uid for path in kept(own)} == {os.getuid()}


def test_what_another_library_has_compiled_is_not_run(
    project: Project, own: PoetryHome, forged: list[Path]
) -> None:
    """As with byte code, it is known by its files."""
    source = forged[0].parents[1] / "version.py"
    text = source.read_text(encoding="utf-8")
    source.unlink()  # clones share it
    source.write_text(text + "# patched\n", encoding="utf-8")

    project.poetry(own, *CHECK).succeeded()

    assert len(kept(own)) == 2 * len(forged)


def test_where_nothing_can_be_kept(project: Project, own: PoetryHome) -> None:
    place = (own.site_packages / SCHEMAS).parent
    aside = place.rename(place.with_name("aside"))
    place.touch()
    try:
        project.poetry(own, *CHECK).succeeded()
        assert place.is_file()
    finally:
        place.unlink()
        aside.rename(place)


@pytest.mark.parametrize(
    "environ",
    thorough_but(
        [({"POETRY_SAFE_INSTALL_ENABLED": "false"},)],
        [
            ({"PYTHONDONTWRITEBYTECODE": "1"},),
            ({"POETRY_SAFE_INSTALL_ENABLED": "false"},),
        ],
    ),
    ids=["no byte code", "switched off"],
)
def test_where_nothing_shall_be_kept(
    environ: dict[str, str], project: Project, own: PoetryHome
) -> None:
    project.poetry(own, *CHECK, environ=environ).succeeded()
    assert kept(own) == []


@pytest.mark.thorough
def test_where_byte_code_is_elsewhere(
    project: Project, own: PoetryHome, tmp_path: Path
) -> None:
    prefix = {"PYTHONPYCACHEPREFIX": str(tmp_path / "byte-code")}
    project.poetry(own, *CHECK, environ=prefix).succeeded()
    assert kept(own) == []
    assert [*(tmp_path / "byte-code").rglob("safe-install-schema-*.pyc")]


@pytest.mark.thorough
def test_switched_off_in_the_project(project: Project, own: PoetryHome) -> None:
    with project.pyproject.open("a") as file:
        file.write("[tool.poetry-plugin-safe-install]\nenabled = false\n")
    project.poetry(own, *CHECK)
    assert kept(own) == []


@pytest.mark.thorough
def test_many_at_once(project: Project, own: PoetryHome) -> None:
    started = [project.start(own, *CHECK) for _ in range(6)]
    for one in started:
        one.result().succeeded()
    once = kept(own)
    project.poetry(own, *CHECK).succeeded()
    assert kept(own) == once
    assert len(once) <= 3


@pytest.mark.thorough
def test_old_ones_go(project: Project, own: PoetryHome, forged: list[Path]) -> None:
    """When another one is kept; and what is not ours stays."""
    directory = forged[0].parent
    left, other = forged[0].with_stem("safe-install-schema-old"), directory / "other"
    for path in forged:
        path.unlink()
    for path in (left, other):
        path.touch()
        os.utime(path, (0, 0))
    project.poetry(own, *CHECK).succeeded()
    assert not left.exists()
    other.unlink()


@pytest.mark.thorough
def test_they_do_not_become_ever_more(project: Project, own: PoetryHome) -> None:
    project.poetry(own, *CHECK).succeeded()
    first, *others = kept(own)
    for path in (first, *others):
        path.unlink()
    for number in range(32):
        first.with_stem(f"safe-install-schema-{number}").touch()
    project.poetry(own, *CHECK).succeeded()
    assert len(kept(own)) == 32
