"""How Poetry compiles the schemas of ``pyproject.toml``: in each process again.

It takes a quarter of the instructions of an install with nothing to do, and what comes of
it depends on the schema and the library alone. fastjsonschema offers the code for
keeping (``compile_to_code``).
"""

from __future__ import annotations

import os

from typing import TYPE_CHECKING
from typing import Any
from weakref import finalize

from poetry_plugin_safe_install.compat.internals import Internals


if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import TypeAlias

    from poetry_plugin_safe_install.compat.command_line import StartingCommand

    Validator: TypeAlias = Callable[[Any], Any]
    Compiled: TypeAlias = tuple[str, CodeType]
    """The name of the validator, and what defines it when it is executed."""

    Keep: TypeAlias = Callable[[str, str, Callable[[], Compiled]], Compiled | None]
    """The context of ``SCHEMAS``: finds what a library (its directory) has compiled and is
    kept under a key, or makes and keeps it; ``None`` where nothing can be kept."""


SCHEMAS = Internals("how schemas are compiled")

FASTJSONSCHEMA = "fastjsonschema 2.21.1 to 2.22.3"


@SCHEMAS.around("fastjsonschema", "compile", seen_in=FASTJSONSCHEMA)
def _compile(
    keep: Keep,
    original: Callable[..., Validator],
    *args: Any,
    **kwargs: Any,
) -> Validator:
    found = None
    if len(args) == 1 and not kwargs and (key := _key(args[0])):
        import fastjsonschema

        library = os.path.dirname(fastjsonschema.__file__)
        found = keep(library, key, lambda: _code_of(args[0]))
    return _executed(*found) if found else original(*args, **kwargs)


@SCHEMAS.uses("fastjsonschema", "VERSION", seen_in=FASTJSONSCHEMA)
def _key(schema: Any) -> str:
    """Nothing where it is not all that decides: it may name others elsewhere."""
    import json

    from fastjsonschema import VERSION

    try:
        text = json.dumps(schema)
    except (TypeError, ValueError):  # another plugin's, which is no JSON
        return ""
    elsewhere = text.count('"$ref": "') != text.count('"$ref": "#')
    return "" if elsewhere else f"{VERSION} {text}"


@SCHEMAS.uses("fastjsonschema", "compile_to_code", seen_in=FASTJSONSCHEMA)
@SCHEMAS.uses(
    "fastjsonschema.ref_resolver",
    "RefResolver.from_schema",
    "RefResolver.get_scope_name",
    seen_in=FASTJSONSCHEMA,
)
def _code_of(schema: Any) -> Compiled:
    from fastjsonschema import compile_to_code
    from fastjsonschema.ref_resolver import RefResolver

    code = compile(compile_to_code(schema), "<schema>", "exec", dont_inherit=True)
    return RefResolver.from_schema(schema, store={}).get_scope_name(), code


def _executed(name: str, code: CodeType) -> Validator:
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(code, namespace)
    validator: Validator = namespace[name]
    return validator


def keep_compiled_schemas(command: StartingCommand, keep: Keep) -> None:
    """Have each schema compiled once, as long as the application lives.

    A Poetry that does it otherwise is not told of: it loses time, and no protection.
    """
    if not SCHEMAS.missing() and SCHEMAS.apply(keep):
        # There are commands that nothing else is protected of, and so has an end.
        finalize(command.application, SCHEMAS.undo)
