"""What a question asks for, read from texts and numbers as people and assistants give them. Pure.

What makes no sense raises `QuestionError`, which says what would. `since` is a moment, a while, or an event:

- `5m`, `30s`, `2h`, `1d`: so long ago.
- `2026-11-27T18:25:10Z` and the like: ISO 8601, UTC where it names no zone; or seconds since 1970.
- An event's id: after that event arrived.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from .values import as_id, as_line, as_seconds

LEVELS = ("debug", "info", "warning", "error", "fatal")
DEFAULT_LIMIT = 20
MAX_LIMIT = 200
EXAMPLES = "5m, 2026-11-27T18:25:10Z or an event's id"
_WHILE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhd])", re.ASCII)
_STATUS = re.compile(r"[1-9](\d\d|xx)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EVENT_ID = 32

Params = Mapping[str, Any]


class QuestionError(ValueError):
    """A question that makes no sense; the text says what would."""


def event_named(text: str) -> str:
    """The id, if it is an event's; else nothing."""
    identity = as_id(text.strip())
    return identity if len(identity) == _EVENT_ID else ""


def moment(text: str, now: float) -> float | None:
    """The moment in seconds since 1970, or None if the text says none; `now` is that, too."""
    text = text.strip()
    if found := _WHILE.fullmatch(text):
        return now - float(found[1]) * _UNITS[found[2]]
    try:
        seconds = float(text)
    except ValueError:
        return as_seconds(text)
    return seconds if math.isfinite(seconds) else None


def words(params: Params) -> str:
    """What shall be looked for, in the language of `search`: `text`, with `slow` and `status` among it."""
    text, slow, status = as_line(params.get("text")), _milliseconds(params), _wanted_status(params)
    return " ".join(
        filter(None, (text, f">={slow:g}ms" if slow else "", f"status:{status}" if status else ""))
    )


def flag(params: Params, name: str) -> bool:
    """Whether it is asked for."""
    return str(params.get(name) or "").lower() not in {"", "0", "false", "no"}


def limit(params: Params) -> int:
    """How many, at most."""
    given = params.get("limit")
    if given in {None, ""}:
        return DEFAULT_LIMIT
    text = str(given)
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= MAX_LIMIT):
        raise QuestionError(f"limit must be a number from 1 to {MAX_LIMIT}, got {text[:40]!r}.")
    return int(text)


def _milliseconds(params: Params) -> float | None:
    given = params.get("slow")
    if given in {None, ""}:
        return None
    text = str(given).strip().removesuffix("ms")
    seconds = moment(text, 0) if text.replace(".", "", 1).isdigit() else None
    if seconds is None:
        raise QuestionError(f"slow must be a number of milliseconds, such as 200, got {given!r}.")
    return seconds


def _wanted_status(params: Params) -> str:
    text = str(params.get("status") or "").strip().lower()
    if text and not _STATUS.fullmatch(text):
        raise QuestionError(f"status must be one such as 422, or 5xx, got {text[:40]!r}.")
    return text


def level(params: Params) -> int:
    """The rank of the least level."""
    text = str(params.get("level") or "debug").strip().lower()
    if text not in LEVELS:
        raise QuestionError(f"level must be one of {', '.join(LEVELS)}, got {text[:40]!r}.")
    return rank(text)


def rank(level: str) -> int:
    """How bad a level is; one that is not known is as `info`."""
    return LEVELS.index(level) if level in LEVELS else LEVELS.index("info")
