"""Poetry's version and configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from poetry.console.application import Application


CONFIG = Internals("the configuration")

LOADING = Internals("when the configuration is loaded")


def poetry_version() -> str:
    from poetry.__version__ import __version__

    return __version__


def cache_directory() -> Path:
    """Poetry's cache directory, as the user has configured it."""
    from poetry.config.config import Config

    return Path(Config.create().get("cache-dir"))


@CONFIG.uses("poetry.locations", "CONFIG_DIR")
def configuration_file() -> Path:
    """The user's own configuration of Poetry."""
    from poetry.locations import CONFIG_DIR

    return Path(CONFIG_DIR, "config.toml")


@CONFIG.uses("poetry.config.config", "Config.repository_cache_directory")
def repository_cache() -> Path:
    """Where Poetry keeps what it knows of indexes, a directory for each."""
    from poetry.config.config import Config

    return Config.create().repository_cache_directory


@CONFIG.uses("poetry.config.config", "Config.installer_max_workers")
def parallel_builds() -> int:
    """How many distributions may be built at once: the workers of ``Executor``.

    :raises UnknownPoetryError: if this Poetry does not say.
    """
    from poetry.config.config import Config

    CONFIG.check()
    config = Config.create()
    if not config.get("installer.parallel", True):
        return 1
    return config.installer_max_workers


@LOADING.uses("poetry.config.config", "_default_config")
@LOADING.uses("poetry.console.application", "Application._poetry")
def load_configuration_later(application: Application) -> None:
    """Have Poetry load it when it reads the project, although that was done already.

    Poetry logs that, once it shows what is logged.
    """
    from poetry.config import config

    if not LOADING.missing() and application._poetry is None:
        config._default_config = None
