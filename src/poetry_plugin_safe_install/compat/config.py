"""Poetry's version and configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from poetry_plugin_safe_install.compat.internals import Internals


CONFIG = Internals("the configuration")


@CONFIG.uses("poetry.utils._compat", "tomllib")
def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML with the parser that Poetry brings for its Python.

    :raises ValueError: if it is not TOML.
    """
    from poetry.utils._compat import tomllib

    return tomllib.loads(text)


def poetry_version() -> str:
    from poetry.__version__ import __version__

    return __version__


def cache_directory() -> Path:
    """Poetry's cache directory, as the user has configured it."""
    from poetry.config.config import Config

    return Path(Config.create().get("cache-dir"))


@CONFIG.uses("poetry.config.config", "Config.repository_cache_directory")
def repository_cache() -> Path:
    """Where Poetry keeps what it knows of indexes, a directory for each."""
    from poetry.config.config import Config

    return Config.create().repository_cache_directory


@CONFIG.uses("poetry.config.config", "Config.installer_max_workers")
def parallel_builds() -> int:
    """How many distributions may be built at once: the workers of ``Executor``."""
    from poetry.config.config import Config

    config = Config.create()
    if not config.get("installer.parallel", True):
        return 1
    return config.installer_max_workers
