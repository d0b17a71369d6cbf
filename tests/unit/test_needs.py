"""What a command needs, as far as its options decide."""

from __future__ import annotations

import pytest

from poetry_plugin_safe_install.needs import Need
from poetry_plugin_safe_install.needs import row_of


@pytest.mark.parametrize(
    ("words", "options", "need"),
    [
        (["safe-install"], {"check"}, Need.CHECK),
        (["safe-install"], {"show-config", "no-root"}, Need.CHECK),
        (["safe-install"], {"no-root"}, Need.INSTALL),
        (["install"], {"check"}, Need.INSTALL),
        (["check"], {"lock"}, Need.PLUGINS),
    ],
)
def test_need(words: list[str], options: set[str], need: Need) -> None:
    assert row_of(words, options).need is need
