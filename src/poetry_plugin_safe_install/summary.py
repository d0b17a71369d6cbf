"""What the protection did in one command, summed up in one line."""

from __future__ import annotations


class Summary:
    """A record that is only added to."""

    def __init__(self) -> None:
        self._waited = 0.0
        self._holders: dict[str, None] = {}
        self._plugin_set = ""
        self._pinned: list[str] = []
        self._other: list[str] = []

    def waited(self, seconds: float, holder: str = "") -> None:
        """
        :param seconds: that the command has waited so far, all waits together.
        :param holder: whom it was for; empty where the wait was too short to ask.
        """
        self._waited = max(self._waited, seconds)  # threads may say so late
        if holder:
            self._holders[holder] = None

    def plugin_set(self, origin: str) -> None:
        """
        :param origin: where it is from: ``made``, ``copied`` or ``reused``.
        """
        self._plugin_set = f"plugin set {origin}"

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
        if not self._waited:
            return "did not have to wait"
        shown = f"{self._waited:.0f}" if self._waited >= 1 else f"{self._waited:.1f}"
        whom = " and ".join(self._holders)
        return f"waited {shown} s" + (f" for {whom}" if whom else "")

    def _pinning(self) -> str:
        if not self._pinned:
            return ""
        noun = "package" if len(self._pinned) == 1 else "packages"
        return f"{len(self._pinned)} {noun} pinned ({', '.join(self._pinned)})"
