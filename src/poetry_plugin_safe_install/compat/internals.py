"""Poetry's internals: how they are declared, checked and patched.

A module of ``compat`` has a group for each subject, and declares beside the code that
needs it what the code needs. Modules of Poetry are named, not imported: nothing is
imported before the group is checked.

    BUILDS = Internals("builds")

    @BUILDS.around("poetry.installation.chef", "Chef._prepare")
    def _prepare(builds: Builds, original: Callable[..., Path], chef: Chef, ...) -> Path:
        return original(chef, ...)

    @BUILDS.uses("poetry.installation.executor", "Executor._shutdown")
    def _is_shutting_down(executor: Executor) -> bool:
        return executor._shutdown

    command.patch(BUILDS, builds)  # checks all, patches; undone when the command ends
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING
from typing import Any

from poetry_plugin_safe_install.compat import UnknownPoetryError


if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Iterable
    from collections.abc import Iterator
    from typing import TypeVar

    from cleo.io.io import IO

    Declared = TypeVar("Declared")


ALL = "2.0.1, 2.1.4, 2.2.1, 2.3.4, 2.4.3, 2.5.1"


class Internal:
    """Something of Poetry's, or of cleo's, that Poetry does not promise.

    Neither a dataclass nor a named tuple: every command would pay for making it.
    """

    def __init__(
        self, module: str, name: str, seen_in: str = ALL, instead: str = ""
    ) -> None:
        self.module = module
        self.name = name
        self.seen_in = seen_in
        self.instead = instead

    @property
    def is_missing(self) -> bool:
        return not self.is_here and _find(self.module, self.instead) is _NOTHING

    @property
    def is_here(self) -> bool:
        if _find(self.module, self.name) is not _NOTHING:
            return True
        owner, _, name = self.name.rpartition(".")
        return _is_set_by_constructor(_find(self.module, owner), name)

    @property
    def place(self) -> tuple[Any, str]:
        """What has the attribute, a module or a class, and the attribute's name."""
        *path, name = self.name.split(".")
        owner: Any = import_module(self.module)
        for part in path:
            owner = getattr(owner, part)
        return owner, name

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


_NOTHING = object()


def _find(module: str, name: str) -> Any:
    if not name:
        return _NOTHING
    found: Any
    try:
        found = import_module(module)
    except ImportError:
        return _NOTHING
    for part in name.split("."):
        found = getattr(found, part, _NOTHING)
    return found


def _is_set_by_constructor(owner: Any, name: str) -> bool:
    """Whether only instances have it: ``__init__`` of the class or of a base sets it."""
    constructors = (
        vars(base).get("__init__") for base in getattr(owner, "__mro__", ())
    )
    return any(
        name in constructor.__code__.co_names
        for constructor in constructors
        if hasattr(constructor, "__code__")
    )


class Internals:
    """What one subject needs of Poetry: checked as a whole before the first use."""

    def __init__(self, subject: str, *parts: Internals) -> None:
        """
        :param parts: subjects that are part of this one, declared elsewhere.
        """
        self.subject = subject
        self.declared: list[Internal] = [
            internal for part in parts for internal in part.declared
        ]
        self._wrappers: list[tuple[Internal, Callable[..., Any]]] = []
        self._patches: list[_Patch] = []

    def uses(
        self, module: str, *names: str, seen_in: str = ALL, instead: str = ""
    ) -> Callable[[Declared], Declared]:
        """Declare what a function or class reads, sets, calls or overrides.

        :param names: dotted where it is an attribute of a class, or of its instances.
        :param instead: another name that does as well, of the module or a class, under
            which other versions have it, or by which those are known that need none. It
            is not there beside the first: a version that lost that would not be noticed.
        """
        self.declared += [Internal(module, name, seen_in, instead) for name in names]
        return lambda user: user

    def around(
        self, module: str, name: str, seen_in: str = ALL, instead: str = ""
    ) -> Callable[[Declared], Declared]:
        """Declare a function of Poetry's, and what is called in its place.

        That is called with the context given to ``apply``, the original function, and
        the arguments: of a method the instance first, of a class method the class. Of
        several decorators on one function each stands for itself.

        :param instead: another name: where Poetry has that one and not this one,
            nothing is missing, and this one is left alone.
        """
        internal = Internal(module, name, seen_in, instead)
        self.declared.append(internal)

        def declare(wrapper: Declared) -> Declared:
            self._wrappers.append((internal, wrapper))  # type: ignore[arg-type]
            return wrapper

        return declare

    def missing(self) -> list[str]:
        """Those that this Poetry does not have."""
        return [str(internal) for internal in self.declared if internal.is_missing]

    def check(self) -> None:
        """
        :raises UnknownPoetryError: if one of them is missing.
        """
        if missing := self.missing():
            raise UnknownPoetryError(f"{', '.join(missing)} not found")

    def apply(self, context: Any, io: IO | None = None) -> bool:
        """Patch all, or nothing. What is patched already keeps its first context.

        :param io: where it is said when a patch fails, and Poetry goes on without it.
        :returns: whether it was not patched already.
        :raises UnknownPoetryError: if one of them is missing.
        """
        if self._patches:
            return False
        self.check()

        def give_up(error: Exception) -> None:
            from poetry_plugin_safe_install.compat.faults import explain
            from poetry_plugin_safe_install.compat.faults import warn

            self.undo()
            warn(io, explain(error))

        self._patches = [
            _Patch(internal, wrapper, context, give_up)
            for internal, wrapper in self._wrappers
            if internal.is_here
        ]
        return True

    def undo(self) -> None:
        """Put everything back as it was."""
        for patch in self._patches:
            patch.active = False
        self._patches = []
        _restore_inactive()

    @contextmanager
    def applied(self, context: Any, io: IO | None = None) -> Iterator[None]:
        applied = self.apply(context, io)
        try:
            yield
        finally:
            if applied:
                self.undo()


class _Patch:
    """One function of Poetry's with another in its place."""

    def __init__(
        self,
        internal: Internal,
        wrapper: Callable[..., Any],
        context: Any,
        give_up: Callable[[Exception], None],
    ) -> None:
        self.active = True
        self._give_up = give_up
        self._owner, self._name = internal.place
        self._inherited = self._name not in vars(self._owner)
        self._before = _unbound(self._owner, self._name)
        self._after = self._wrapped(wrapper, context)
        setattr(self._owner, self._name, self._after)
        _in_place.append(self)

    def _wrapped(self, wrapper: Callable[..., Any], context: Any) -> Any:
        before = self._before
        kind = type(before) if isinstance(before, (classmethod, staticmethod)) else None
        original = before.__func__ if kind else before

        @wraps(original)
        def patched(*args: Any, **kwargs: Any) -> Any:
            if not self.active:
                return original(*args, **kwargs)
            call = _Call(original, args, kwargs)
            try:
                return wrapper(context, call, *args, **kwargs)
            except Exception as error:
                if error is call.error:
                    raise
                from poetry_plugin_safe_install.compat.faults import is_own_fault

                if not is_own_fault(error):
                    raise
                self._give_up(error)
                return call.result()

        return kind(patched) if kind else patched

    @property
    def is_on_top(self) -> bool:
        """Whether nobody else has patched the same in the meantime."""
        return vars(self._owner).get(self._name) is self._after

    def restore(self) -> None:
        if self._inherited:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._before)


class _Call:
    """A call of one of Poetry's functions, which a patch passes on, or fails to."""

    def __init__(
        self,
        original: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._original = original
        self._args = args
        self._kwargs = kwargs
        self._last: tuple[Any, tuple[Any, ...], dict[str, Any]] | None = None
        self.error: Exception | None = None
        """What the function raised, in whatever library it did: no fault of a patch."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            result = self._original(*args, **kwargs)
        except Exception as error:
            self.error = error
            raise
        self._last = result, args, kwargs
        return result

    def result(self) -> Any:
        """What Poetry's own function gives for these arguments; it is called once."""
        if self._last:
            result, args, kwargs = self._last
            if _same(args, self._args) and _same(
                kwargs.values(), self._kwargs.values()
            ):
                return result
        return self._original(*self._args, **self._kwargs)


def _same(some: Iterable[Any], others: Iterable[Any]) -> bool:
    return [*map(id, some)] == [*map(id, others)]


def _unbound(owner: Any, name: str) -> Any:
    """An attribute as the module or class has it, or the base that it inherits from."""
    homes = (vars(home) for home in getattr(owner, "__mro__", (owner,)))
    return next(attributes[name] for attributes in homes if name in attributes)


_in_place: list[_Patch] = []
"""In the order in which they were made; inactive where somebody else's is on top."""


def _restore_inactive() -> None:
    for patch in reversed(_in_place[:]):
        if not patch.active and patch.is_on_top:
            patch.restore()
            _in_place.remove(patch)
