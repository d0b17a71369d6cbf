"""The machine that figures are of."""

from __future__ import annotations

import os
import platform

from pathlib import Path


def machine() -> str:
    """Its processors and system, in words."""
    return (
        f"{os.cpu_count()} x {_processor()}, {platform.system()} {platform.release()}"
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [
        line.partition(":")[2] for line in text.splitlines() if "model name" in line
    ]
    return " ".join(names[0].split()) if names else platform.machine()
