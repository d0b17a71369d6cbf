"""The few shapes that charts are made of, as SVG."""

from __future__ import annotations

import html

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Sequence


def drawing(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """A whole picture; its title is for those who do not see it."""
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" role="img">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    return "\n".join([*head, *parts, "</svg>", ""])


def bar(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{max(width, 2):.0f}"'
        f' height="{height:.0f}" fill="{colour}"/>'
    )


def text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 14,
    weight: str = "normal",
    anchor: str = "start",
) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" font-weight="{weight}"'
        f' text-anchor="{anchor}" fill="#111827">{html.escape(text)}</text>'
    )
