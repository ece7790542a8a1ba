"""Source lines around a place in a file, from a bounded cache that notices when a file has changed.

The rules:

- What is kept is excerpts, not files: the few lines around each place where something has failed.
- A file is looked at (its time of change and size) once for each event, and read again if it has changed.
- Files that are no files, or too large, have no lines. What is not in the file system (an archive, a notebook's cell)
  is asked of its loader, or of `linecache`.
- Lines are counted as the interpreter counts them, and cut.
"""

from __future__ import annotations

import linecache
import os
import stat
import tokenize
from importlib.machinery import SourceFileLoader
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, TypeAlias

LINE: Final = 1_000  # characters
_FILE: Final = 4_000_000  # bytes
_KEPT: Final = 2_000  # excerpts; when there are more, all go

Changed: TypeAlias = tuple[int, int] | None
"""When a file was changed, and its size; None for what is no file that can be read."""


class Step(NamedTuple):
    """What is kept of a frame that goes on running, as another thread's does: it has no variables."""

    f_code: CodeType
    f_globals: dict[str, Any]
    f_lineno: int


class Excerpt(NamedTuple):
    """Lines before, the line, lines after."""

    before: list[str]
    line: str | None
    after: list[str]


NOTHING: Final = Excerpt([], None, [])

_excerpts: Final[dict[tuple[str, int, int], tuple[Changed, Excerpt]]] = {}


class Source:
    """The source, as one event shows it."""

    def __init__(self, lines: int) -> None:
        self._lines = lines  # before and after
        self._changed: dict[str, Changed] = {}
        self._files: dict[str, list[str]] = {}

    def around(self, frame: FrameType | Step, number: int) -> Excerpt:
        """The lines around a frame's line, which is counted from 1."""
        filename = frame.f_code.co_filename
        if filename not in self._changed:
            self._changed[filename] = _look_at(filename)
        changed = self._changed[filename]
        place = filename, number, self._lines
        known = _excerpts.get(place)
        if known is not None and known[0] == changed:
            return known[1]
        excerpt = self._read(frame, filename, number - 1)
        if len(_excerpts) >= _KEPT:
            _excerpts.clear()
        _excerpts[place] = changed, excerpt
        return excerpt

    def _read(self, frame: FrameType | Step, filename: str, at: int) -> Excerpt:
        lines = self._files.get(filename)
        if lines is None:
            lines = self._files[filename] = _lines_of(frame, filename, self._changed[filename])
        if not 0 <= at < len(lines):  # the file is another than the one that runs
            return NOTHING
        before, after = lines[max(0, at - self._lines) : at], lines[at + 1 : at + 1 + self._lines]
        return Excerpt([_cut(one) for one in before], _cut(lines[at]), [_cut(one) for one in after])


def _look_at(filename: str) -> Changed:
    try:
        status = os.stat(filename)  # noqa: PTH116  # half the time of a `Path`
    except (OSError, ValueError):
        return None
    readable = stat.S_ISREG(status.st_mode) and status.st_size <= _FILE
    return (status.st_mtime_ns, status.st_size) if readable else None


def _lines_of(frame: FrameType | Step, filename: str, changed: Changed) -> list[str]:
    try:
        loader: Any = frame.f_globals.get("__loader__")
        if not isinstance(loader, (SourceFileLoader, type(None))):
            text = _loaded(loader, frame.f_globals.get("__name__"))
            if text is not None:
                return text.splitlines()
        if changed is not None:
            with tokenize.open(filename) as file:
                return file.readlines()
        return linecache.getlines(filename) if filename.startswith("<") else []
    except Exception:  # of whatever encoding it claims to have
        return []


def _loaded(loader: Any, module: Any) -> str | None:
    try:
        text = loader.get_source(module)
    except Exception:  # a loader of anybody's, or none
        return None
    return text if isinstance(text, str) and len(text) <= _FILE else None


def _cut(line: str) -> str:
    line = line.strip("\r\n")
    return line if len(line) <= LINE else line[: LINE - 3] + "..."
