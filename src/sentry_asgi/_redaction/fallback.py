"""What is left of an event that could not be cleaned."""

from __future__ import annotations

from typing import Any

from sentry_asgi._sdk import events

from .layout import CODE, LEFT_ALONE, frames_of, is_id, values_of
from .names import FILTERED


def without_data(event: dict[str, Any]) -> dict[str, Any]:
    """Return what of an event holds no data: for one that could not be cleaned.

    Built anew from names that are known to be harmless, so that nothing is kept by oversight.
    """
    left: dict[str, Any] = {key: event[key] for key in LEFT_ALONE if key in event}
    contexts = events.plain(event.get("contexts"))
    trace = events.plain(contexts.get("trace")) if isinstance(contexts, dict) else None
    if isinstance(trace, dict):
        left["contexts"] = {"trace": {key: trace[key] for key in trace if is_id(key, trace[key])}}
    exceptions = [_without_data(one) for one in values_of(event.get("exception"))]
    if exceptions:
        left["exception"] = {"values": exceptions}
    forbid_stacktrace(left)
    return left


def forbid_stacktrace(event: dict[str, Any]) -> None:
    """Keep the SDK from adding this thread's stack, as it does under `attach_stacktrace` to an event without one."""
    if not event.keys() & {"exception", "stacktrace", "threads"}:
        event["threads"] = {"values": []}


def _without_data(exception: dict[str, Any]) -> dict[str, Any]:
    left: dict[str, Any] = {key: exception[key] for key in ("type", "module") if key in exception}
    frames = [
        {key: frame[key] for key in frame if key in CODE} for frame in frames_of({**exception})
    ]
    return {**left, "value": FILTERED, "stacktrace": {"frames": frames}}
