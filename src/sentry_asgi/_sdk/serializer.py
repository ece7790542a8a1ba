"""Events that need no serialiser: what is plain data is written as it is.

The SDK's serialiser takes 2 to 3 µs for each node of an event, and of a transaction's hundred nodes nearly all are
texts and numbers: more than half of what a sampled request costs. So are those of an error but for its exceptions
and breadcrumbs, of which the first are rendered by `traceback`, and say so themselves. The rules:

- An event that `plain` has made a `PlainEvent` of writes itself, by the serialiser's own hook (`__sentry_repr__`). To
  everybody else it is the dict that it was; an SDK without the hook takes it for that, too.
- What comes out is what the SDK's serialiser makes of it, to the letter. Only built-in types are written here,
  and only short texts. Any part of the event (as `contexts`, `spans`) that holds anything else, or that the SDK
  would trim, goes through the SDK's serialiser.
- Whether that holds with the installed SDK is tried out at first use; if not, events stay as they are.
"""

from __future__ import annotations

import functools
import logging
from datetime import UTC, datetime, timedelta, timezone
from math import isfinite
from typing import Any, Final, NamedTuple

import sentry_sdk
from sentry_sdk import serializer

from . import events
from .diagnostics import log_failure

logger: Final = logging.getLogger("sentry_asgi")

# Parts that the SDK does not trim, or little. Of a request it trims the body, of `extra` what is long or deep, and
# `global_repr_processors` are asked about that and the spans' data.
_PARTS: Final = frozenset(
    {"contexts", "dist", "environment", "event_id", "extra", "level", "measurements", "modules", "platform", "release"}
    | {"request", "sdk", "server_name", "spans", "start_timestamp", "tags", "timestamp", "transaction"}
    | {"transaction_info", "type", "user"}
)  # fmt: skip
_TYPES: Final = frozenset({"transaction", "event", None})
_SHORT: Final = 250  # characters: a thousand bytes at most, and `max_value_length` was 1024 once
_AS_THEY_ARE: Final = frozenset({int, bool, type(None)})
_OPTIONS: Final = ("max_request_body_size", "max_value_length", "custom_repr")


def plain(event: Any, hint: Any) -> Any:  # noqa: ARG001
    """An event processor, which others should not follow: a transaction or error as one that writes itself."""
    if event.get("type") not in _TYPES or not _works():
        return event
    return PlainEvent(event)


class PlainEvent(dict[str, Any]):
    """An event that writes itself."""

    __slots__ = ()

    def __sentry_repr__(self) -> dict[str, Any]:
        options = sentry_sdk.get_client().options
        wanted = {name: options.get(name) for name in _OPTIONS}
        try:
            return _event(self, wanted)
        except Exception:  # of something very odd that it holds
            log_failure("writing an event")
            written: dict[str, Any] = serializer.serialize(dict(self), **wanted)
            return written


class _NotPlainError(Exception):
    """For the SDK's serialiser to write."""


class _Bounds(NamedTuple):
    """Within which nothing is trimmed: characters of a text, members of a dict or list, and how deep."""

    short: int
    members: int
    depth: int


def _event(event: PlainEvent, options: dict[str, Any]) -> dict[str, Any]:
    longest = options["max_value_length"]
    short = _SHORT if longest is None else min(_SHORT, longest // 4)
    usual, few = _Bounds(short, 10_000, 20), _Bounds(short, 10, 3)
    written: dict[str, Any] = {}
    notes: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in event.items():
        kind = value.__class__
        if name in _PARTS and ((kind is str and len(value) <= short) or kind in _AS_THEY_ARE):
            written[name] = value
            continue
        try:
            _refuse(name, value)
            note: dict[str, Any] = {}
            written[name] = _written(value, note, few if name == "extra" else usual, 0)
            if note:
                notes[name] = note
        except _NotPlainError:
            written[name] = rest[name] = value  # its place, for now
    if rest:
        written.update(serializer.serialize(rest, **options))
    if notes:
        written["_meta"] = {**written.get("_meta", {}), **notes}
    return written


def _refuse(name: str, value: Any) -> None:
    if name not in _PARTS:
        raise _NotPlainError
    if name == "request" and (value.__class__ is not dict or "data" in value):
        raise _NotPlainError
    if name in {"spans", "extra"} and serializer.global_repr_processors:
        raise _NotPlainError


def _written(value: Any, note: dict[str, Any], bounds: _Bounds, depth: int) -> Any:
    """A value as the serialiser writes it; what Sentry is to be told of it (`_meta`) goes into `note`."""
    kind = value.__class__
    if (kind is str and len(value) <= bounds.short) or kind in _AS_THEY_ARE:
        return value
    if kind is dict:
        return _written_dict(value, note, bounds, depth)
    if kind is list or kind is tuple:
        return _written_list(value, note, bounds, depth)
    if kind is datetime:
        # Five times as fast as the SDK's own, for what its spans have.
        utc = value.tzinfo is UTC
        return (
            value.isoformat(timespec="microseconds")[:-6] + "Z"
            if utc
            else events.format_timestamp(value)
        )
    if kind is float and isfinite(value):
        return value
    if events.is_annotated(value) and not events.is_annotated(value.value):
        note.setdefault("", {}).update(value.metadata)
        return _written(value.value, note, bounds, depth)
    raise _NotPlainError


# In these loops most members are texts and numbers, and a call for each would cost as much as all else.


def _written_dict(value: Any, note: dict[str, Any], bounds: _Bounds, depth: int) -> Any:
    short, members, deepest = bounds
    if depth > deepest or len(value) > members:
        raise _NotPlainError
    written: dict[str, Any] = {}
    for name, item in value.items():
        if name.__class__ is not str:
            raise _NotPlainError
        kind = item.__class__
        if (kind is str and len(item) <= short) or kind in _AS_THEY_ARE:
            written[name] = item
        else:
            inner: dict[str, Any] = {}
            written[name] = _written(item, inner, bounds, depth + 1)
            if inner:
                if not name:  # which is where a value's own note stands
                    raise _NotPlainError
                note[name] = inner
    return written


def _written_list(value: Any, note: dict[str, Any], bounds: _Bounds, depth: int) -> Any:
    short, members, deepest = bounds
    if depth > deepest or len(value) > members:
        raise _NotPlainError
    written: list[Any] = []
    for index, item in enumerate(value):
        kind = item.__class__
        if (kind is str and len(item) <= short) or kind in _AS_THEY_ARE:
            written.append(item)
        else:
            inner: dict[str, Any] = {}
            written.append(_written(item, inner, bounds, depth + 1))
            if inner:
                note[str(index)] = inner
    return written


@functools.cache
def _works() -> bool:
    """Whether the installed SDK writes the same by itself."""
    sample = {
        "type": "transaction",
        "start_timestamp": datetime(2020, 1, 1, 12, 30, 0, 0, tzinfo=UTC),
        "timestamp": datetime(2020, 1, 1, 12, 30, 0, 7, tzinfo=timezone(timedelta(hours=1))),
        "contexts": {"trace": {"data": {"a": 1, "b": 2.5, "c": None, "d": ("x", [True, "y"])}}},
        "spans": [
            {"description": "d" * _SHORT, "data": {str(n): n for n in range(20)}, "tags": {}}
        ],
        "request": {"headers": {str(n): "x" for n in range(20)}},
        "user": events.annotated(
            {"id": events.annotated("", {"len": 7})}, {"rem": [["!config", "x"]]}
        ),
    }
    extras: list[Any] = [
        {str(n): [[n]] for n in range(9)},
        {"many": list(range(20)), "bytes": b"x"},
    ]
    try:
        works = all(
            serializer.serialize(PlainEvent(sample, extra=extra))
            == serializer.serialize(dict(sample, extra=extra))
            for extra in extras
        )
    except Exception:  # whatever a future SDK does: then it does not work
        logger.debug("the self-check of events without a serialiser failed", exc_info=True)
        works = False
    return works
