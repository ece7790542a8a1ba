"""Reading JSON that anybody may have sent: each function takes any value, and never raises. Pure.

The rules:

- What is of another type than asked for is taken as missing.
- Every text is one that UTF-8 can encode, and has a bounded length; every list has a bounded
  length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

MAX_TEXT = 10_000
MAX_LINE = 500
MAX_LIST = 250
MAX_DEPTH = 20
FILTERED = "[Filtered]"
"""What stands for a secret."""

Pairs = tuple[tuple[str, str], ...]

_HEX = re.compile(r"[0-9a-f]{1,64}", re.ASCII)


def clean(value: str, limit: int = MAX_TEXT) -> str:
    """A text that UTF-8 can encode, at most `limit` characters and an ellipsis long."""
    text = value if len(value) <= limit else f"{value[:limit]}…"
    # Nearly always there is nothing to replace, and then nothing is copied.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def as_text(value: Any) -> str:
    """Any JSON value as text: nothing for null, a string as it is, the rest as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value)
    try:
        return clean(json.dumps(value, ensure_ascii=False))
    # Too deep to be written, though it could be read.
    except (RecursionError, ValueError):
        return "…"


def indented(value: Any, limit: int = MAX_TEXT) -> str:
    """JSON for people. No more is written than is shown: indented, deep JSON is much longer."""
    parts: list[str] = []
    room = limit
    for part in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(value):
        parts.append(part)
        room -= len(part)
        if room < 0:
            break
    return clean("".join(parts), limit)


def as_variable(value: Any) -> str:
    """A variable for people: what a container holds was sent as its `repr`, and is shown as that."""
    parts: list[str] = []
    room = MAX_TEXT
    for part in _variable(value, 0):
        parts.append(part)
        room -= len(part)
        if room < 0:
            break
    return clean("".join(parts))


def _variable(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif not isinstance(value, dict | list):
        yield as_text(value) or "None"
    elif depth == MAX_DEPTH:
        yield "…"
    else:
        named = isinstance(value, dict)
        yield "{" if named else "["
        for number, held in enumerate(value):
            yield ", " if number else ""
            yield f"{held}: " if named else ""
            yield from _variable(value[held] if named else held, depth + 1)
        yield "}" if named else "]"


def as_line(value: Any, limit: int = MAX_LINE) -> str:
    """As text, but short."""
    return clean(as_text(value), limit)


def as_list(value: Any) -> list[Any]:
    """A list, or an empty one."""
    return value if isinstance(value, list) else []


def as_dict(value: Any) -> dict[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def as_dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, all of them."""
    return [entry for entry in as_list(value) if isinstance(entry, dict)]


def as_values(value: Any) -> list[dict[str, Any]]:
    """Objects that come as `{"values": [...]}`, as a bare list, or as one bare object."""
    if isinstance(value, dict):
        value = value.get("values", [value])
    return [entry for entry in as_dicts(value) if entry][-MAX_LIST:]


def as_pairs(value: Any, as_value: Callable[[Any], str] = as_text) -> Pairs:
    """Sentry takes an object or a list of pairs wherever it takes names with values."""
    if isinstance(value, dict):
        pairs = list(islice(value.items(), MAX_LIST))
    else:
        rows = (row for row in as_list(value) if isinstance(row, list) and len(row) == 2)  # noqa: PLR2004
        pairs = [(row[0], row[1]) for row in islice(rows, MAX_LIST)]
    return tuple((as_line(name), as_value(held)) for name, held in pairs)


def as_id(value: Any) -> str:
    """An id of a trace or a span: lower-case hexadecimal digits without dashes, or nothing."""
    text = value.replace("-", "").lower() if isinstance(value, str) else ""
    return text if _HEX.fullmatch(text) else ""


def as_number(value: Any) -> int | None:
    """A line number, a status and the like: a whole number from 0 to 2³¹ - 1."""
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31
    return value if known else None


def as_seconds(value: Any) -> float | None:
    """A moment as seconds since 1970.

    SDKs send that, or ISO 8601 with or without an offset (then it is UTC).
    """
    moment = _moment(value)
    return None if moment is None else moment.timestamp()


def as_moment(value: Any) -> str:
    """A moment as ISO 8601 in UTC with microseconds, or nothing: things follow closely on one another."""
    moment = _moment(value)
    return "" if moment is None else moment.isoformat(timespec="microseconds")


def _moment(value: Any) -> datetime | None:
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return datetime.fromtimestamp(value, UTC)
    except (OSError, OverflowError, TypeError, ValueError):
        return None


def attributes(value: Any) -> dict[str, Any]:
    """Names and values of a log, metric or streamed span, without the types sent with them."""
    return {
        name: entry.get("value") if isinstance(entry, dict) else entry
        for name, entry in islice(as_dict(value).items(), MAX_LIST)
    }
