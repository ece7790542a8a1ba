"""How Sentry's events are laid out: what stands where in one, who has said it, and what is to be left as it is.

https://develop.sentry.dev/sdk/data-model/event-payloads/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from sentry_asgi._sdk import events

# Of an event, what holds no text of a request.
LEFT_ALONE: Final = frozenset(
    {"event_id", "timestamp", "start_timestamp", "sdk", "modules", "debug_meta", "platform"}
    | {"level", "type", "release", "dist", "environment", "server_name", "_meta", "_metrics"}
    | {"profile", "measurements", "transaction_info"}
)
# What code calls things: a client that sends such a word as a token blanks nothing. By a key that tells what holds it.
_CALLED: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    *((key, frozenset({"type", "module"})) for key in ("mechanism", "stacktrace", "handled")),
    ("span_id", frozenset({"op", "origin", "status"})),
    ("timestamp", frozenset({"type", "category", "level"})),  # a breadcrumb
    ("method", frozenset({"method"})),  # a request
    ("build", frozenset({"name", "version", "build"})),  # a runtime
)
# What the SDK reads again before it sends an event.
UNREMARKED: Final = frozenset({"user", "tags", "transaction", "message", "logger", "fingerprint"})
# Where integrations keep query strings.
QUERIES: Final = frozenset({"query_string", "http.query", "url.query"})
# Where what an event holds is data of the application's, keys and all; and facts, which have keys of the SDK's.
Place: TypeAlias = Literal["event", "facts", "data", "variables"]
PLACES_OF: Final[dict[str, Place]] = {
    "vars": "variables",
    "extra": "data",
    "tags": "facts",
    "data": "data",
    "headers": "facts",
    "cookies": "data",
}
ALL_PLACES: Final = ("event", *dict.fromkeys(PLACES_OF.values()))
NAMED_BY_CODE: Final = frozenset({"event", "facts"})
# Where an event says what code has said.
SAYING: Final = (*("exception", "threads", "message", "logentry", "breadcrumbs", "extra", "spans"),)
# Contexts that nobody but the SDK and this package writes.
FACTS: Final = frozenset(
    {"trace", "asgi", "response", "runtime", "os", "profile", "cloud_resource"}
)
# By what events are joined: that a client sends it is no secret.
_IDS: Final = frozenset({"trace_id", "span_id", "parent_span_id", "segment_id"})
_HEX: Final = re.compile("[0-9a-f]{16}|[0-9a-f]{32}")
CODE: Final = frozenset(
    {"filename", "abs_path", "module", "function", "lineno", "in_app", "context_line"}
    | {"pre_context", "post_context"}
)
_STACKS: Final = frozenset({"exception", "threads", "stacktrace"})
PLAIN: Final = frozenset({type(None), bool, int, float, datetime})


def left_alone(value: Mapping[Any, Any]) -> frozenset[str]:
    return next((called for sign, called in _CALLED if sign in value), frozenset())


def is_id(key: Any, value: Any) -> bool:
    """Whether a value is an id of a trace or span, which joins events: that a client sends it is no secret."""
    return key in _IDS and isinstance(value, str) and _HEX.fullmatch(value) is not None


def frames_of(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if event.keys().isdisjoint(_STACKS):
        return
    holders = [event]
    for key in ("exception", "threads"):
        if key in event:
            holders += values_of(event[key])
    for holder in holders:
        stacktrace = events.plain(holder.get("stacktrace"))
        if isinstance(stacktrace, dict):
            yield from (
                frame for frame in stacktrace.get("frames") or () if isinstance(frame, dict)
            )


def values_of(part: Any) -> list[dict[str, Any]]:
    """The dicts of a part that is a list, or holds one as its `values`."""
    part = events.plain(part)
    values = events.plain(part.get("values")) if isinstance(part, dict) else part
    return [one for one in values or () if isinstance(one, dict)] if _is_list(values) else []


def _is_list(values: Any) -> bool:
    return isinstance(values, (list, tuple))
