"""What the pages show of an event: from a decoded event to frozen values for templates. Pure.

An event comes from anybody's SDK, or from somebody who means harm. The rules:

- Any JSON object makes a view. What is missing or of another type than Sentry documents is shown
  as well as it can be, or left out; it never raises.
- Every text is one that UTF-8 can encode, and has a bounded length; every list has a bounded
  length.
- Nothing here escapes HTML: templates do, all of them, always.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

MAX_TEXT = 10_000
MAX_LINE = 500
MAX_LIST = 250


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of a list. `title` is the exception's type, or a message; `when` is ISO 8601."""

    title: str
    detail: str
    level: str
    transaction: str
    when: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of source; `current` is the one that was running."""

    number: int | None
    text: str
    current: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a stack; `application` tells the app's own code from libraries'."""

    function: str
    module: str
    filename: str
    lineno: int | None
    application: bool
    lines: tuple[Line, ...]
    variables: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ExceptionView:
    """One exception of a chain; `frames` has the most recent call first."""

    type: str
    value: str
    mechanism: str
    handled: bool | None
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True)
class RequestView:
    """The request that an event happened in; `query` and `headers` are pairs as shown."""

    method: str
    url: str
    query: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    body: str


@dataclass(frozen=True, slots=True)
class EventView:
    """Everything that the page of one event shows; `exceptions` has the last raised first."""

    summary: Summary
    message: str
    exceptions: tuple[ExceptionView, ...]
    request: RequestView | None
    tags: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]


def clean(value: str, limit: int = MAX_TEXT) -> str:
    """A text that UTF-8 can encode, at most `limit` characters and an ellipsis long."""
    text = value if len(value) <= limit else f"{value[:limit]}…"
    return text.encode("utf-8", "replace").decode()


def summarize(event: dict[str, Any]) -> Summary:
    """What a list shows of an event."""
    exceptions = _values(event.get("exception"))
    last = exceptions[-1] if exceptions else {}
    message = _message(event)
    if last:
        title, detail = _text(last.get("type")) or "Error", _text(last.get("value"))
    else:
        title, _, detail = (message or "(no message)").partition("\n")
    return Summary(
        title=clean(title, MAX_LINE),
        detail=clean(detail, MAX_LINE),
        level=clean(_text(event.get("level")) or ("error" if last else "info"), 20),
        transaction=clean(_text(event.get("transaction")), MAX_LINE),
        when=_when(event.get("timestamp")),
    )


def event_view(event: dict[str, Any]) -> EventView:
    """What the page of one event shows."""
    exceptions = (_exception(value) for value in reversed(_values(event.get("exception"))))
    return EventView(
        summary=summarize(event),
        message=_message(event),
        exceptions=tuple(exceptions),
        request=_request(event.get("request")),
        tags=_pairs(event.get("tags")),
        facts=tuple(_facts(event)),
    )


def _facts(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    sdk = _dict(event.get("sdk"))
    for name, value in (
        ("environment", event.get("environment")),
        ("release", event.get("release")),
        ("server", event.get("server_name")),
        ("logger", event.get("logger")),
        ("SDK", " ".join(filter(None, (_text(sdk.get("name")), _text(sdk.get("version")))))),
    ):
        if text := _text(value):
            yield name, clean(text, MAX_LINE)


def _message(event: dict[str, Any]) -> str:
    """SDKs send a text as `message`, or as `logentry` with the template and the result."""
    for entry in (event.get("logentry"), event.get("message")):
        value = entry.get("formatted") or entry.get("message") if isinstance(entry, dict) else entry
        if value:
            return _text(value)
    return ""


def _exception(value: dict[str, Any]) -> ExceptionView:
    mechanism = _dict(value.get("mechanism"))
    handled = mechanism.get("handled")
    frames = _frames(_dict(value.get("stacktrace")).get("frames"))
    return ExceptionView(
        type=clean(_text(value.get("type")) or "Error", MAX_LINE),
        value=_text(value.get("value")),
        mechanism=clean(_text(mechanism.get("type")), MAX_LINE),
        handled=handled if isinstance(handled, bool) else None,
        frames=tuple(reversed(frames)),
    )


def _frames(value: Any) -> list[Frame]:
    """The last of them if there are too many: those are nearest to the failure."""
    frames = [frame for frame in _list(value) if isinstance(frame, dict)][-MAX_LIST:]
    # An SDK that cannot tell marks none: then all that are not surely a library's are the app's.
    marked = any(frame.get("in_app") is True for frame in frames)
    return [
        _frame(frame, frame.get("in_app") is True if marked else frame.get("in_app") is not False)
        for frame in frames
    ]


def _frame(frame: dict[str, Any], application: bool) -> Frame:  # noqa: FBT001
    return Frame(
        function=clean(_text(frame.get("function")) or "?", MAX_LINE),
        module=clean(_text(frame.get("module")), MAX_LINE),
        filename=clean(_text(frame.get("abs_path")) or _text(frame.get("filename")), MAX_LINE),
        lineno=_lineno(frame.get("lineno")),
        application=application,
        lines=tuple(_lines(frame)),
        variables=_pairs(frame.get("vars")),
    )


def _lines(frame: dict[str, Any]) -> Iterator[Line]:
    current = frame.get("context_line")
    if not isinstance(current, str):
        return
    before = _list(frame.get("pre_context"))[-MAX_LIST:]
    after = _list(frame.get("post_context"))[:MAX_LIST]
    lineno = _lineno(frame.get("lineno"))
    for index, text in enumerate([*before, current, *after]):
        number = None if lineno is None else lineno + index - len(before)
        yield Line(number, clean(_text(text), MAX_LINE), index == len(before))


def _lineno(value: Any) -> int | None:
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31
    return value if known else None


def _request(value: Any) -> RequestView | None:
    request = _dict(value)
    if not request:
        return None
    return RequestView(
        method=clean(_text(request.get("method")), 20),
        url=clean(_text(request.get("url")), MAX_LINE * 4),
        query=_query(request.get("query_string")),
        headers=_pairs(request.get("headers")),
        body=_text(request.get("data")),
    )


def _query(value: Any) -> tuple[tuple[str, str], ...]:
    """The query as sent, one pair a row; nothing is decoded, so nothing can be mistaken."""
    if not isinstance(value, str):
        return _pairs(value)
    parts = (part.partition("=") for part in value.split("&", MAX_LIST) if part)
    return tuple((clean(name), clean(text)) for name, _, text in parts)


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Sentry takes an object or a list of pairs wherever it takes names with values."""
    if isinstance(value, dict):
        pairs = list(islice(value.items(), MAX_LIST))
    else:
        rows = (row for row in _list(value) if isinstance(row, list) and len(row) == 2)  # noqa: PLR2004
        pairs = [(row[0], row[1]) for row in islice(rows, MAX_LIST)]
    return tuple((clean(_text(name), MAX_LINE), _text(text)) for name, text in pairs)


def _values(value: Any) -> list[dict[str, Any]]:
    """Exceptions come as `{"values": [...]}`, as a bare list, or as one bare object."""
    if isinstance(value, dict):
        value = value.get("values", [value])
    return [entry for entry in _list(value) if isinstance(entry, dict) and entry][-MAX_LIST:]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
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


def _when(value: Any) -> str:
    """SDKs send seconds since 1970, or ISO 8601 with or without an offset (then it is UTC)."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return aware.astimezone(UTC).isoformat(timespec="milliseconds")
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds")
    except (OSError, OverflowError, TypeError, ValueError):
        return ""
