"""Changes in a process of a test, made while its modules are loaded.

On ``PYTHONPATH`` this is imported when Python starts. The environment says what to do:

``PAUSE=package.module:Class.function:before`` (or ``after``)
    the process waits there at the barrier ``pause`` (see ``tests.laboratory.barriers``).
``RENAME=name other_name``
    Poetry's and cleo's own source has other names wherever it has these.
``CONSTANTS=package.module:NAME=1.5 package.module:OTHER=2``
    constants have other values.
"""

from __future__ import annotations

import ast
import functools
import importlib.abc
import importlib.machinery
import os
import re
import socket
import sys


def meet(name: str) -> None:
    host, port = os.environ["BARRIER_" + name.upper()].split(":")
    with socket.create_connection((host, int(port)), 120) as connection:
        connection.settimeout(None)
        connection.sendall(b"%d\n" % os.getpid())
        connection.recv(1)


def pause(module, function, side):
    *path, name = function.split(".")
    owner = functools.reduce(getattr, path, module)
    original = getattr(owner, name)

    @functools.wraps(original)
    def paused(*args, **kwargs):
        if side == "before":
            meet("pause")
        result = original(*args, **kwargs)
        if side == "after":
            meet("pause")
        return result

    setattr(owner, name, paused)


class Rename:
    """Another name in a source, but for module names and what is text."""

    def __init__(self, old):
        self.old, self.new = old, f"{old}_changed"
        own = rf"^(\s*from (?:poetry|cleo)\b\S* import ){old}$"
        other = rf"^(\s*from (?!poetry|cleo)\S+ import {old})$"
        use = rf"^(?!\s*(?:import|from) )(.*)\b{old}\b(?!['\"])"
        self.own_import = re.compile(own, re.MULTILINE)
        self.other_import = re.compile(other, re.MULTILINE)
        self.use = re.compile(use, re.MULTILINE)

    def __call__(self, text):
        if self.old not in text:
            return text
        text = self.own_import.sub(rf"\g<1>{self.new}", text)
        text = self.other_import.sub(rf"\g<1> as {self.new}", text)
        while self.use.search(text):
            text = self.use.sub(rf"\g<1>{self.new}", text)
        return text


RENAMES = [Rename(name) for name in os.environ.get("RENAME", "").split()]


class Renaming(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname):
        path = self.get_filename(fullname)
        before = text = self.get_data(path).decode()
        for rename in RENAMES:
            text = rename(text)
        if text == before:
            return super().get_code(fullname)
        return compile(text, path, "exec", dont_inherit=True)


class Changes(importlib.abc.MetaPathFinder):
    def __init__(self) -> None:
        self.after_loading = {}
        if os.environ.get("PAUSE"):
            module, function, side = os.environ["PAUSE"].split(":")
            self.add(module, lambda it: pause(it, function, side))
        for constant in os.environ.get("CONSTANTS", "").split():
            module, _, assignment = constant.partition(":")
            name, _, value = assignment.partition("=")
            self.add(module, functools.partial(self.assign, name, value))

    def add(self, module, change):
        if module in sys.modules:
            change(sys.modules[module])
            return
        self.after_loading.setdefault(module, []).append(change)

    @staticmethod
    def assign(name, value, module):
        getattr(module, name)  # it must be there
        setattr(module, name, ast.literal_eval(value))

    @property
    def has_work(self):
        return bool(self.after_loading or RENAMES)

    def find_spec(self, name, path, target=None):
        renamed = RENAMES and self.is_poetrys(name)
        changes = self.after_loading.get(name)
        if not renamed and not changes:
            return None
        spec = self.found_by_others(name, path, target)
        if spec is None:
            return None
        if renamed and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = Renaming(spec.loader.name, spec.loader.path)
        if changes:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                for change in changes:
                    change(module)

            spec.loader.exec_module = exec_module
        return spec

    @staticmethod
    def is_poetrys(name):
        return name.partition(".")[0] in ("poetry", "cleo") and "._vendor" not in name

    def found_by_others(self, name, path, target):
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(name, path, target) for finder in others)
        return next((spec for spec in specs if spec), None)


changes = Changes()
if changes.has_work:
    sys.meta_path.insert(0, changes)
