"""Stops a process of a test at a function of its choice.

On ``PYTHONPATH`` this is imported when Python starts. ``PAUSE`` names the function and
the side, ``package.module:Class.function:before`` (or ``after``); the process then waits
there at the barrier ``pause`` (see ``tests.laboratory.barriers``).
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import os
import socket
import sys


def meet(name: str) -> None:
    host, port = os.environ["BARRIER_" + name.upper()].split(":")
    with socket.create_connection((host, int(port)), 120) as connection:
        connection.settimeout(None)
        connection.sendall(b"%d\n" % os.getpid())
        connection.recv(1)


class Pauses(importlib.abc.MetaPathFinder):
    def __init__(self, pause: str) -> None:
        self.module, self.function, self.side = pause.split(":")

    def find_spec(self, name, path, target=None):
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            self.wrap(module)

        spec.loader.exec_module = exec_module
        return spec

    def wrap(self, module):
        *path, name = self.function.split(".")
        owner = functools.reduce(getattr, path, module)
        original = getattr(owner, name)

        @functools.wraps(original)
        def paused(*args, **kwargs):
            if self.side == "before":
                meet("pause")
            result = original(*args, **kwargs)
            if self.side == "after":
                meet("pause")
            return result

        setattr(owner, name, paused)


if os.environ.get("PAUSE"):
    sys.meta_path.insert(0, Pauses(os.environ["PAUSE"]))
