"""Plugins as their authors have released them, and a project that each is for."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field

from packaging.version import Version


@dataclass(frozen=True)
class RealPlugin:
    """A release on the package index, and what shows that it works."""

    name: str
    version: str
    commands: tuple[str, ...]
    """The main ones, one after the other in one project."""
    oldest: str = "2.0.1"
    """The oldest Poetry, of those that are tested, that this release accepts."""
    extra: str = ""
    tail: str = ""
    """What its project has in pyproject.toml."""
    files: dict[str, str] = field(default_factory=dict)
    """What its project has besides, by name."""
    tag: str = ""
    """The git tag that its project has, if it is in a repository."""

    @property
    def requirement(self) -> str:
        extra = f"[{self.extra}]" if self.extra else ""
        return f"{self.name}{extra}=={self.version}"

    @property
    def required(self) -> str:
        """This release in ``requires-plugins``."""
        extras = f', extras = ["{self.extra}"]' if self.extra else ""
        return f'{self.name} = {{ version = "{self.version}"{extras} }}'

    def accepts(self, poetry: str) -> bool:
        return poetry == "main" or Version(poetry) >= Version(self.oldest)


REAL_PLUGINS = (
    RealPlugin(
        "poetry-plugin-export",
        "1.10.1",
        ("export --output requirements.txt",),
        oldest="2.1.4",
    ),
    RealPlugin("poetry-plugin-shell", "1.0.1", ("shell",)),
    RealPlugin("poetry-plugin-up", "0.9.0", ("up --latest",)),
    RealPlugin(
        "poetry-plugin-bundle", "1.8.0", ("bundle venv ../bundled",), oldest="2.1.4"
    ),
    RealPlugin(
        "poetry-dynamic-versioning",
        "1.10.1",
        ("build --format wheel", "install", "dynamic-versioning"),
        tail="[tool.poetry-dynamic-versioning]\nenable = true\n",
        tag="v1.2.3",
    ),
    RealPlugin(
        "poetry-dotenv-plugin",
        "0.2.0",
        ("run printenv FROM_DOTENV",),
        files={".env": "FROM_DOTENV=yes\n"},
    ),
    RealPlugin(
        "poetry-multiproject-plugin", "2.0.0", ("build-project --format wheel",)
    ),
    RealPlugin(
        "poetry-polylith-plugin",
        "1.54.1",
        (
            "poly create workspace --name shop --theme loose",
            "poly create component --name till",
            "poly info",
        ),
        tag="v1.0",
    ),
    RealPlugin(
        "poethepoet",
        "0.49.0",
        ("poe greet", "show"),
        extra="poetry-plugin",
        tail=(
            '[tool.poe.tasks]\ngreet = "echo from a task"\n'
            '[tool.poe.poetry_hooks]\npre_show = "greet"\n'
        ),
    ),
    RealPlugin("poetry-plugin-sort", "0.3.0", ("sort", "add --lock ant")),
)
