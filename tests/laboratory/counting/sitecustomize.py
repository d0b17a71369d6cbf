"""Writes down which processes a command starts: what follows their executable."""

from __future__ import annotations

import os
import sys


def hook(event: str, args: tuple[object, ...]) -> None:
    if event == "subprocess.Popen":
        words = args[1]
        assert isinstance(words, (list, tuple))
        with open(os.environ["STARTED"], "a") as file:
            file.write(f"{words[1:4]}\n")


sys.addaudithook(hook)
