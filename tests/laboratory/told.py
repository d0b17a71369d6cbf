"""What a command has told of in the file that POETRY_SAFE_INSTALL_EVENTS names."""

from __future__ import annotations

import json

from typing import TYPE_CHECKING
from typing import Any

import fastjsonschema

from tests.laboratory import ROOT


if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = json.loads((ROOT / "docs" / "events.schema.json").read_text())
VALIDATE = fastjsonschema.compile(SCHEMA)


def told(path: Path, event: str = "") -> list[dict[str, Any]]:
    """The events, or those of one name; each was found to be as the schema has it."""
    if not path.exists():
        return []
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for one in found:
        VALIDATE(one)
    return [one for one in found if one["event"].startswith(event)]
