"""Files of the project that another plugin rewrites for the length of a command.

poetry-dynamic-versioning puts the version into pyproject.toml, and into what else it is
told to, before the command's own code runs, and takes it out again afterwards. What a
file was before is kept in the store of its project as long as the command lives. Whoever
finds it there, and has the project alone, puts the file back: that command has died.
"""

from __future__ import annotations

import json
import os

from contextlib import contextmanager
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat.command_line import real_path
from poetry_plugin_safe_install.compat.rewrites import REWRITES
from poetry_plugin_safe_install.events import tell
from poetry_plugin_safe_install.writes import digest
from poetry_plugin_safe_install.writes import digest_of
from poetry_plugin_safe_install.writes import replacing


if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from cleo.io.io import IO

    from poetry_plugin_safe_install.compat.command_line import StartingCommand

LARGEST = 4 * 1024**2
"""Bytes of a file that is kept: no source file is larger."""


def watch_rewrites(
    command: StartingCommand, journals: Mapping[Path, Path], ending: ExitStack
) -> Rewrites:
    """
    :param ending: what is done when the command has ended.
    """
    rewrites = Rewrites(journals, command.io)
    command.patch(REWRITES, rewrites)
    ending.callback(rewrites.end)
    return rewrites


class Rewrites:
    """Those of one command, which holds all these projects exclusively."""

    def __init__(self, journals: Mapping[Path, Path], io: IO) -> None:
        """
        :param journals: where what a file was before is kept, by the directory of the
            project; that of the command's own project is the first.
        """
        self._journals = journals
        self._own = next(iter(journals))
        self._io = io
        self._is_over = False
        self._kept: dict[Path, dict[str, dict[str, Any]]] = {}
        self._is_before = True

    def command_runs(self) -> None:
        """What is written from now on is the command's own doing, or put back."""
        self._is_before = False

    def command_terminates(self) -> None:
        """Every file is as the plugins want to have it."""
        self._is_over = True

    def end(self) -> None:
        """The command has ended; after Ctrl-C no plugin was told so (see ``_run``)."""
        kept, self._kept = self._kept, {}
        for project in kept:
            with suppress(OSError):
                if self._is_over:
                    self._journals[project].unlink()
                else:
                    put_back(project, self._journals[project], self._io)

    def written_by_command(self, path: Path, new: Path) -> bool:
        """The command itself is about to write a file that a plugin has rewritten.

        If it dies before the plugin has put that back, the file is put back as a whole.

        :param new: what is going to take the place of the file.
        :return: whether it is such a file.
        """
        project, name = self._found(path) or (path, "")
        told = self._kept.get(project, {}).get(name)
        if told is None:
            return False
        told["after"].append(digest(new))
        self._save(project)
        return True

    def original(self, path: Path) -> bytes | None:
        """What a file was that a plugin has rewritten; ``None`` if none has."""
        project, name = self._found(path) or (path, "")
        told = self._kept.get(project, {}).get(name)
        return told["before"].encode("latin-1") if told else None

    @contextmanager
    def replacing(self, path: Path) -> Iterator[Path]:
        found = self._found(path)
        if found is None:
            yield path
            return
        new: list[Path] = []
        with replacing(path, partial(self._keep, *found, new)) as place:
            if place != path:
                new.append(place)
            yield place

    def _found(self, path: Path) -> tuple[Path, str] | None:
        """The nearest of the projects that a file is in, and its name there.

        ``None`` if nothing is kept of it. What is hidden there is no source file; the
        journals themselves, and whatever else this plugin writes, are among it.
        """
        real = real_path(path)
        project = next((one for one in real.parents if one in self._journals), None)
        if project is None:
            return None
        name = os.path.relpath(real, project)
        try:
            is_kept = real.is_file() and real.stat().st_size <= LARGEST
        except OSError:
            return None
        return (project, name) if is_kept and not name.startswith(".") else None

    def _keep(self, project: Path, name: str, new: list[Path]) -> None:
        """Keep what a file is, unless the command itself writes it, or a plugin reverts it.

        A path dependency is rewritten when Poetry reads it, in the middle of the command,
        which writes nothing there. What reverts it is told from that by nothing: after a
        kill right behind it, a file that says the same is put back.

        :param new: what is going to take the place of the file.
        """
        if not self._is_before and project == self._own:
            if told := self._kept.get(project, {}).get(name):
                told["reverted"] = [*map(digest, new)]
                self._save(project)
            return
        before = (project / name).read_bytes().decode("latin-1")
        kept = self._kept.setdefault(project, {})
        told = kept.setdefault(name, {"before": before, "after": []})
        told["after"] += [*map(digest, new)]
        self._save(project)

    def _save(self, project: Path) -> None:
        with (
            suppress(OSError),
            replacing(self._journals[project]) as journal,
            # ``Path.write_text`` would come here again.
            journal.open("w", encoding="utf-8") as file,
        ):
            json.dump(self._kept[project], file)


def put_back(project: Path, journal: Path, io: IO) -> None:
    """Have the files of a project as they were; it is held exclusively.

    A file that has been changed since stays as it is.
    """
    kept: dict[str, dict[str, Any]] = {}
    with suppress(OSError, ValueError):
        kept = json.loads(journal.read_text(encoding="utf-8"))
    for name, told in kept.items():
        path, before = project / name, told["before"].encode("latin-1")
        if digest(path) in told["after"]:
            with replacing(path) as place:
                place.write_bytes(before)
            io.write_error_line(
                f"<info>Put back</info>: {path} (the command in which a plugin had"
                " rewritten it was killed)."
            )
            tell("repaired", what=name, place=str(project))
        elif digest(path) not in (digest_of(before), *told.get("reverted", ())):
            original = journal.with_name(f"{path.name}.original")
            original.write_bytes(before)
            io.write_error_line(
                f"<warning>{path} was rewritten by a plugin, in a command that was"
                " killed, and has been changed since. Nothing is done to it; what it"
                f" was before is kept in {original}.</warning>"
            )
    journal.unlink()
