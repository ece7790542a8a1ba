"""Moments, durations, sizes and the like, as pages and terminals show them. Pure.

Moments are in the time zone of this machine, which is the developer's.
"""

from __future__ import annotations

import codecs
import json
from datetime import UTC, datetime

from .search import LEVELS
from .store import Listed
from .values import clean, indented

MAX_PAYLOAD = 200_000


def took(seconds: float | None) -> str:
    """A duration for people."""
    if seconds is None:
        return ""
    if seconds >= 1:
        return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:,.0f} s"  # noqa: PLR2004
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"  # noqa: PLR2004


def lasted(milliseconds: float) -> str:
    """A duration in milliseconds, for people."""
    return took(milliseconds / 1000)


def moment(listed: Listed) -> dict[str, str]:
    """When it happened, for people and for machines; when it arrived, if it doesn't tell."""
    text = listed.summary.when
    arrived = datetime.fromtimestamp(listed.received, UTC)
    return local(text) if text else local(arrived.isoformat())


def at(seconds: float) -> dict[str, str]:
    """A moment in seconds since 1970, as `local` has it."""
    return local(datetime.fromtimestamp(seconds, UTC).isoformat())


def local(text: str) -> dict[str, str]:
    """A moment as ISO 8601, for people and for machines."""
    told = datetime.fromisoformat(text)
    try:
        here = told.astimezone()
    except (OverflowError, ValueError):  # near the ends of all time
        here = told
    return {
        "machine": told.isoformat(timespec="milliseconds"),
        "day": here.strftime("%Y-%m-%d"),
        "time": here.strftime("%H:%M:%S"),
        "zone": here.tzname() or "",
    }


def clock(text: str) -> str:
    """The time of day of a moment as ISO 8601; nothing for nothing."""
    return local(text)["time"] if text else ""


def tone(level: str) -> str:
    """The name of a level's colour."""
    return level if level in LEVELS else "other"


def size(count: int) -> str:
    """A number of bytes for people."""
    return f"{count:,} bytes" if count < 10_000 else f"{count / 1024:,.0f} KB"  # noqa: PLR2004


def pretty(data: bytes, whole_size: int | None = None) -> str:
    """JSON for people, a text as it is, and of other bytes their number; `data` may be the beginning."""
    whole = whole_size is None or whole_size == len(data)
    try:
        if whole:
            return indented(json.loads(data), MAX_PAYLOAD)
    except (RecursionError, ValueError):
        pass
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data, final=whole)
    except UnicodeDecodeError:
        return f"{whole_size} bytes that are no text"
    return clean(text if whole else f"{text}…", MAX_PAYLOAD)
