"""Whose code a frame runs: the application's, or a library's, and which library's. By its file's name alone.

The rules:

- The standard library, whatever is installed (below `site-packages` or `dist-packages`, or beside the application, as
  `installed` tells), code that a library has made
  up at run time (`<string>`, `<attrs generated ...>`) and compiled extensions are library; the rest is the
  application.
- An application that is installed itself says so as it does to the SDK: by the option `in_app_include`;
  `in_app_exclude` makes a library of what is not installed.
- Answers are kept by file name, in a plain dictionary: `unwinding` looks there itself, for each frame that an
  exception leaves, and a subclass with `__missing__` would cost it 25 ns more each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from .installed import installed_as

_STDLIB: Final = str(Path(os.path.normcase(os.__file__)).parent) + os.sep
_INSTALLED: Final = ("site-packages", "dist-packages")
PACKAGE: Final = __name__.partition(".")[0]
FOLDER: Final = str(Path(__file__).parents[1]) + os.sep
"""Where this package is."""

_BOUND: Final = 10_000  # file names; code that is made at run time has ever new ones


class Files:
    """Whether a file, by its name, is the application's."""

    def __init__(self) -> None:
        self.known: Final[dict[str, bool]] = {}
        self._included: tuple[str, ...] = ()
        self._excluded: tuple[str, ...] = ()

    def configure(self, included: Iterable[str] | None, excluded: Iterable[str] | None) -> None:
        """Takes the SDK's options, each a list of modules."""
        options = _names(included), _names(excluded)
        if options != (self._included, self._excluded):
            self._included, self._excluded = options
            self.known.clear()

    def __getitem__(self, filename: str) -> bool:
        answer = self.known.get(filename)
        if answer is None:
            if len(self.known) >= _BOUND:
                self.known.clear()
            self.known[filename] = answer = self._is_application(filename)
        return answer

    def _is_application(self, filename: str) -> bool:
        module = _module(filename)
        if _within(module, self._included):
            return True
        return library(filename) is None and not _within(module, self._excluded)


application: Final = Files()


def library(filename: str) -> str | None:
    """The top-level package of a library's file; empty for the standard library; None for the application's."""
    if filename.startswith("<") or filename.endswith((".pyx", ".pxd", ".pyd", ".so")):
        # What Cython leaves in tracebacks: a name relative to where it was built.
        return "" if filename.startswith("<") else _top(filename)
    if filename.startswith(FOLDER):
        return PACKAGE
    path = filename.replace("\\", "/")
    for directory in _INSTALLED:
        _, found, inner = path.rpartition(f"/{directory}/")
        if found:
            return _top(inner)
    if filename.startswith(_STDLIB):
        return ""
    beside = installed_as(filename)
    return None if beside is None else _top(beside)


def _names(modules: Iterable[Any] | None) -> tuple[str, ...]:
    return tuple(name for name in modules or () if isinstance(name, str))


def _top(path: str) -> str:
    return path.replace("\\", "/").split("/", 1)[0].split(".", 1)[0]


def _module(filename: str) -> str:
    """A file as a dotted module, as far as can be told: from below `site-packages`, else the whole path."""
    path = filename.replace("\\", "/")
    for directory in _INSTALLED:
        path = path.rpartition(f"/{directory}/")[2]
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _within(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(
        module == prefix or module.startswith(prefix + ".") or f".{prefix}." in f"{module}."
        for prefix in prefixes
    )
