"""What is the same but for its values, and where in the source something is. Pure."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

from .values import as_line

_VALUE = re.compile(r"'(?:[^']|'')*'|\$\d+|%s|%\(\w+\)s|(?<![\w.])\d+(?:\.\d+)?")
_LIST = re.compile(r"\(\s*\?(?:\s*,\s*\?)+\s*\)")


def shape(query: str) -> str:
    """A query without its values: numbers, quoted texts, and lists of these."""
    return _LIST.sub("(?)", _VALUE.sub("?", " ".join(query.split())))


def code_place(data: dict[str, Any]) -> str:
    """The line that made a span or log, by the names of both conventions; nothing if it is not told."""
    path = as_line(data.get("code.file.path") or data.get("code.filepath"))
    line = as_line(data.get("code.line.number") or data.get("code.lineno"), 12)
    function = as_line(data.get("code.function.name") or data.get("code.function"), 120)
    if not path:
        return ""
    place = f"{PurePath(path).name}:{line}" if line else PurePath(path).name
    return f"{place} in {function}" if function else place
