"""What ``add`` and ``remove`` write: poetry.lock, then pyproject.toml, or neither.

Before the lock file is replaced, its old content is kept in the project's store, until
pyproject.toml is replaced too. Whoever finds it there, and has the project alone, puts
the old lock file back: the command that wrote the new one has died.

A plugin may have rewritten pyproject.toml meanwhile, or have put it back, and what it
puts back may differ from what was there: so what the file asks for is compared.
"""

from __future__ import annotations

import json

from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.command_line import parse_toml
from poetry_plugin_safe_install.writes import digest
from poetry_plugin_safe_install.writes import digest_of
from poetry_plugin_safe_install.writes import replacing


if TYPE_CHECKING:
    from pathlib import Path

    from cleo.io.io import IO

    from poetry_plugin_safe_install.store import Store

OF_PROJECT = ("requires-python", "dependencies", "optional-dependencies")
OF_POETRY = ("dependencies", "source", "extras", "dev-dependencies", "group")


class Pair:
    """The two files of one project."""

    def __init__(self, pyproject: Path, store: Store, io: IO) -> None:
        self._io = io
        self._lock = pyproject.with_name("poetry.lock")
        self._pyproject = pyproject
        self._journal = store.pair
        self._goes_on = False
        """Whether a plugin is to change pyproject.toml once more."""
        self._is_written = False

    def give_up(self) -> None:
        """pyproject.toml is not going to be replaced: have the old lock file back."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(self._journal.read_text(encoding="utf-8"))
            if digest(self._lock) == told["after"]:
                self._restore(_before(told))
        self.end()

    def put_back(self) -> None:
        """Have the old lock file back, unless pyproject.toml fits the new one.

        The project's lock is held exclusively.
        """
        if self._is_written and not self._goes_on:
            self.end()
            return
        if not self._journal.exists():
            return
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(self._journal.read_text(encoding="utf-8"))
            is_new = digest(self._lock) == told["after"]
            if is_new and self._is_as_told(told):
                self._restore(_before(told))
                self._io.write_error_line(
                    "<info>Put back</info>: poetry.lock (the command that changed it was"
                    " ended before it changed pyproject.toml)."
                )
                from poetry_plugin_safe_install.events import tell

                tell("repaired", what=self._lock.name, place=str(self._lock.parent))
        self.end()

    def begin(self, private: Path, original: bytes | None = None) -> None:
        """The lock file is about to be replaced.

        :param private: what takes its place.
        :param original: pyproject.toml without what a plugin has done to it.
        """
        self._is_written = False  # ``poetry self`` writes pyproject.toml before, too
        before = None
        with suppress(FileNotFoundError):
            before = self._lock.read_bytes().decode("latin-1")
        contents = [] if original is None else [original]
        with suppress(OSError):
            contents.append(self._pyproject.read_bytes())
        told = {
            "before": before,
            "after": digest(private),
            "pyproject": [digest(self._pyproject)],
            "asked": [*filter(None, map(asked_for, contents))],
        }
        self._save(told)

    def go_on(self, private: Path) -> None:
        """pyproject.toml is about to be replaced, and a plugin is to change it again.

        Until then it may be put back, and poetry.lock with it: see ``rewrites``.

        :param private: what takes its place.
        """
        self._goes_on = True
        with suppress(OSError, ValueError, KeyError, TypeError):
            told = json.loads(self._journal.read_text(encoding="utf-8"))
            told["pyproject"].append(digest(private))
            self._save(told)

    def written(self) -> None:
        """pyproject.toml is replaced; after ``go_on`` the pair ends with the command."""
        self._is_written = True
        if not self._goes_on:
            self.end()

    def end(self) -> None:
        """Both are replaced, or none is going to be."""
        with suppress(OSError):
            self._journal.unlink()

    def _is_as_told(self, told: dict[str, Any]) -> bool:
        """Whether pyproject.toml is what the new lock file does not fit."""
        content = self._pyproject.read_bytes()
        asked = asked_for(content)
        return digest_of(content) in told["pyproject"] or (
            asked is not None and asked in told.get("asked", ())
        )

    def _save(self, told: dict[str, Any]) -> None:
        with suppress(OSError), replacing(self._journal) as new:
            new.write_text(json.dumps(told), encoding="utf-8")

    def _restore(self, content: bytes | None) -> None:
        if content is None:
            self._lock.unlink()
            return
        with replacing(self._lock) as place:
            place.write_bytes(content)


def asked_for(pyproject: bytes) -> str | None:
    """By which all files are known that ask for the same; ``None`` if it makes no sense.

    The keys are those of ``Locker._get_content_hash`` in Poetry 2.5.1; older ones leave
    out the groups.

    :param pyproject: the content of a pyproject.toml.
    """
    try:
        content = parse_toml(pyproject.decode("utf-8"))
        project, tool = content.get("project", {}), content.get("tool", {})
        poetry = tool.get("poetry", {})
        asked = [
            {key: project.get(key) for key in OF_PROJECT},
            {key: poetry.get(key) for key in OF_POETRY},
            content.get("dependency-groups"),
        ]
    except (ValueError, AttributeError):  # a table that is none
        return None
    text = json.dumps(asked, sort_keys=True, default=str)
    return digest_of(text.encode())


def _before(told: dict[str, Any]) -> bytes | None:
    """The content that the lock file had; ``None`` if there was none."""
    before = told["before"]
    return None if before is None else str(before).encode("latin-1")
