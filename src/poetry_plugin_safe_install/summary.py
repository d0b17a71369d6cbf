"""What the protection did in one command, summed up in one line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wait:
    seconds: float
    holder: str
    """Whom it was for; empty where the wait was too short to ask."""


class Summary:
    """A record that is only added to."""

    def __init__(self) -> None:
        self._waits: list[Wait] = []
        self._plugin_set = ""
        self._pinned: list[str] = []
        self._other: list[str] = []

    def waited(self, seconds: float, holder: str = "") -> None:
        if seconds > 0:
            self._waits.append(Wait(seconds, holder))

    def plugin_set(self, *, made: bool) -> None:
        self._plugin_set = "plugin set made" if made else "plugin set reused"

    def pinned(self, package: str) -> None:
        """A package of Poetry's own was kept as it is."""
        self._pinned.append(package)

    def add(self, text: str) -> None:
        """Anything else that was done, as a part of a sentence."""
        self._other.append(text)

    @property
    def sentence(self) -> str:
        parts = [self._waiting(), self._plugin_set, self._pinning(), *self._other]
        return f"Protected: {', '.join(part for part in parts if part)}."

    def _waiting(self) -> str:
        if not self._waits:
            return "did not have to wait"
        seconds = sum(wait.seconds for wait in self._waits)
        shown = f"{seconds:.0f}" if seconds >= 1 else f"{seconds:.1f}"
        whom = list(dict.fromkeys(wait.holder for wait in self._waits if wait.holder))
        return f"waited {shown} s" + (f" for {' and '.join(whom)}" if whom else "")

    def _pinning(self) -> str:
        if not self._pinned:
            return ""
        noun = "package" if len(self._pinned) == 1 else "packages"
        return f"{len(self._pinned)} {noun} pinned ({', '.join(self._pinned)})"
