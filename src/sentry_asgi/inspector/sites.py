"""Which errors are equal: those of one type, from one function of the app. Pure.

The rules:

- The innermost frame of the app's own says where; where none is marked so, the innermost of all.
- Its line is shown and does not count: editing a file makes no new errors.
- A message without an exception is known by its template, whatever was put in, and its logger.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from .values import as_dict, as_dicts, as_line, as_number, as_values


@dataclass(frozen=True, slots=True)
class Site:
    """`key` is the same for equal errors; `place` is for people: `stock.py:44 in price`, or nothing."""

    key: str
    place: str


def site_of(event: dict[str, Any]) -> Site:
    """Where an error comes from."""
    exceptions = as_values(event.get("exception"))
    if not exceptions:
        entry = event.get("logentry") or event.get("message")
        template = entry.get("message") if isinstance(entry, dict) else entry
        key = _key("", as_line(event.get("logger")), as_line(template))
        return Site(key, _place(_innermost(_stack(event))))
    last = exceptions[-1]
    kind = as_line(last.get("type"))
    frame = _innermost(as_dicts(as_dict(last.get("stacktrace")).get("frames")))
    if frame is None:
        return Site(_key(kind, as_line(event.get("transaction")), ""), "")
    return Site(_key(kind, _path(frame), as_line(frame.get("function"))), _place(frame))


def _place(frame: dict[str, Any] | None) -> str:
    if frame is None:
        return ""
    function, lineno = as_line(frame.get("function")), as_number(frame.get("lineno"))
    line = "" if lineno is None else f":{lineno}"
    return f"{PurePath(_path(frame)).name}{line} in {function}"


def _path(frame: dict[str, Any]) -> str:
    return as_line(frame.get("abs_path")) or as_line(frame.get("filename"))


def _stack(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Where a message came from, if its SDK was asked to say so."""
    for thread in (*as_values(event.get("threads")), event):
        if frames := as_dicts(as_dict(thread.get("stacktrace")).get("frames")):
            return frames
    return []


def _innermost(frames: list[dict[str, Any]]) -> dict[str, Any] | None:
    own = [frame for frame in frames if frame.get("in_app") is True]
    return (own or frames)[-1] if frames else None


def _key(*parts: str) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()
