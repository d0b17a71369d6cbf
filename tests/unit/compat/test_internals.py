"""How internals are declared, checked, patched and put back."""

from __future__ import annotations

import sys

from types import ModuleType
from typing import TYPE_CHECKING
from typing import Any

import pytest

from cleo.io.buffered_io import BufferedIO

from poetry_plugin_safe_install.compat import UnknownPoetryError
from poetry_plugin_safe_install.compat.internals import Internals
from poetry_plugin_safe_install.errors import SafeInstallError


if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = """
class Base:
    def __init__(self):
        self._of_instances = 1

    def inherited(self):
        return "inherited"

class Poetry(Base):
    def method(self, word):
        return f"method {word}"

    @classmethod
    def of_class(cls, word):
        return f"{cls.__name__} {word}"

    @staticmethod
    def static(word):
        return f"static {word}"

    def failing(self):
        raise ValueError("Poetry's own")

def function(word):
    return f"function {word}"
"""


@pytest.fixture
def poetry(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of Poetry's, so to speak."""
    module = ModuleType("poetry.stand_in")
    exec(SOURCE, vars(module))
    monkeypatch.setitem(sys.modules, "poetry.stand_in", module)
    return module


def shout(context: Any, original: Callable[..., str], *args: Any, **kwargs: Any) -> str:
    return f"{original(*args, **kwargs).upper()}{context}"


def patched(name: str) -> Internals:
    internals = Internals("stand-in")
    internals.around("poetry.stand_in", name)(shout)
    return internals


CALLS = {
    "function": lambda poetry: poetry.function("a"),
    "Poetry.method": lambda poetry: poetry.Poetry().method("a"),
    "Poetry.of_class": lambda poetry: poetry.Poetry.of_class("a"),
    "Poetry.static": lambda poetry: poetry.Poetry.static("a"),
    "Poetry.inherited": lambda poetry: poetry.Poetry().inherited(),
}


@pytest.mark.parametrize("name", CALLS)
def test_patch_is_undone_exactly(name: str, poetry: Any) -> None:
    before = dict(vars(poetry)), dict(vars(poetry.Poetry))
    plain = CALLS[name](poetry)
    internals = patched(name)

    internals.apply("!")
    assert CALLS[name](poetry) == plain.upper() + "!"

    internals.undo()
    assert CALLS[name](poetry) == plain
    assert before == (dict(vars(poetry)), dict(vars(poetry.Poetry)))


def test_all_or_nothing(poetry: Any) -> None:
    internals = patched("function")
    internals.uses("poetry.stand_in", "Poetry.method", "Poetry.gone", "gone_too")

    with pytest.raises(UnknownPoetryError) as raised:
        internals.apply("!")

    assert str(raised.value) == (
        "poetry.stand_in.Poetry.gone, poetry.stand_in.gone_too not found"
    )
    assert poetry.function("a") == "function a"


def test_module_that_is_gone() -> None:
    internals = Internals("stand-in")
    internals.uses("poetry.not_there", "Poetry.method")
    assert internals.missing() == ["poetry.not_there.Poetry.method"]


def test_attribute_that_only_instances_have(poetry: Any) -> None:
    internals = Internals("stand-in")
    internals.uses("poetry.stand_in", "Poetry._of_instances", "Poetry._of_nobody")
    assert internals.missing() == ["poetry.stand_in.Poetry._of_nobody"]


def test_one_of_two_names(poetry: Any) -> None:
    """Where Poetry has only the other name, this one is not patched, and not missed."""
    internals = Internals("stand-in")
    internals.around("poetry.stand_in", "Poetry.new", instead="function")(shout)
    internals.around("poetry.stand_in", "function", instead="Poetry.new")(shout)

    internals.apply("!")

    assert poetry.function("a") == "FUNCTION A!"
    assert not hasattr(poetry.Poetry, "new")
    internals.undo()


def test_two_decorators_on_one_function(poetry: Any) -> None:
    internals = Internals("stand-in")
    both = internals.around("poetry.stand_in", "Poetry.static")
    both(internals.around("poetry.stand_in", "function")(shout))

    internals.apply("!")

    assert poetry.function("a") == "FUNCTION A!"
    assert poetry.Poetry.static("a") == "STATIC A!"
    internals.undo()


def test_patched_twice_keeps_the_first_context(poetry: Any) -> None:
    internals = patched("function")
    assert internals.apply("!")
    assert not internals.apply("?")
    assert poetry.function("a") == "FUNCTION A!"
    internals.undo()
    assert poetry.function("a") == "function a"


def test_whatever_the_order_of_undoing(poetry: Any) -> None:
    original = poetry.function
    first, second = patched("function"), patched("function")
    first.apply("1")
    second.apply("2")

    first.undo()
    assert poetry.function("a") == "FUNCTION A2"

    second.undo()
    assert poetry.function is original


def test_patch_of_somebody_else_on_top_stays(poetry: Any) -> None:
    internals = patched("function")
    internals.apply("!")
    ours = poetry.function
    poetry.function = lambda word: f"<{ours(word)}>"

    internals.undo()

    assert poetry.function("a") == "<function a>"


def test_bug_of_ours_leaves_poetry_as_it_is(poetry: Any) -> None:
    """Poetry's own function gives the result, and is called once."""
    calls = []
    original = poetry.function

    def counting(word: str) -> str:
        calls.append(word)
        return str(original(word))

    poetry.function = counting
    internals = Internals("stand-in")

    @internals.around("poetry.stand_in", "function")
    def broken(context: Any, original: Callable[..., str], word: str) -> str:
        original(word)
        return str(1 // 0)

    io = BufferedIO()
    broken.__globals__["__name__"], name = "poetry_plugin_safe_install.broken", __name__
    try:
        internals.apply(None, io)
        assert poetry.function("a") == "function a"
    finally:
        broken.__globals__["__name__"] = name

    assert calls == ["a"]
    assert poetry.function is counting
    said = " ".join(io.fetch_error().split())
    assert "has failed (poetry_plugin_safe_install.broken, line " in said
    assert "ZeroDivisionError" in said
    assert "poetry safe-install --check --format json" in said


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SafeInstallError])
def test_what_is_no_bug_of_ours_passes(error: type[BaseException], poetry: Any) -> None:
    internals = patched("function")

    def failing(word: str) -> str:
        raise error

    poetry.function = failing
    with internals.applied("!"), pytest.raises(error):
        poetry.function("a")
    assert poetry.function is failing


def test_what_a_library_raises_for_poetry_passes(poetry: Any) -> None:
    """The frames of a build that fails are those of pyproject_hooks, not of Poetry."""
    calls = []

    def failing(word: str) -> str:
        calls.append(word)
        raise OSError(word)

    poetry.function = failing
    internals = Internals("stand-in")

    @internals.around("poetry.stand_in", "function")
    def passing(context: Any, original: Callable[..., str], word: str) -> str:
        return original(word)

    io = BufferedIO()
    passing.__globals__["__name__"], name = "poetry_plugin_safe_install.all", __name__
    failing.__globals__["__name__"] = "poetry_plugin_safe_install.all"
    try:
        with internals.applied(None, io), pytest.raises(OSError, match="a"):
            poetry.function("a")
    finally:
        passing.__globals__["__name__"] = name

    assert calls == ["a"]
    assert io.fetch_error() == ""
