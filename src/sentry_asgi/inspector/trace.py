"""A trace as a waterfall: the spans of all services in it, with what went wrong on the way. Pure.

The rules:

- A transaction brings its spans with it; streamed spans come one by one, in any order.
- A span stands beneath its parent. One whose parent is not here, or in a circle of parents, stands
  at the top: nothing is left out for being odd.
- Where there are too many spans, the earliest are shown of as many as are read, and the page says so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .entries import (
    ERROR,
    LOG,
    REQUEST,
    SPAN,
    items_of,
    span_end,
    status_level,
    transaction_status,
)
from .envelope import BadEnvelopeError, json_object
from .store import Listed, Stored
from .values import (
    Pairs,
    as_dict,
    as_dicts,
    as_id,
    as_line,
    as_moment,
    as_pairs,
    as_seconds,
    attributes,
)

MAX_SPANS = 2000
MAX_READ = 10_000
MAX_DEPTH = 24
SHADES = 6
_SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Span:
    """One span as sent; moments are in seconds since 1970. `event_id` is its transaction's."""

    span_id: str
    parent_id: str
    name: str
    op: str
    service: str
    status: str
    start: float
    end: float
    data: Pairs
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of the waterfall; `left` and `width` are percents, times are milliseconds."""

    span: Span
    depth: int
    shade: int
    left: float
    width: float
    begins: float
    lasts: float
    level: str
    errors: tuple[Listed, ...]
    first: bool


@dataclass(frozen=True, slots=True)
class TraceView:
    """A trace; `lasts` is in milliseconds, `services` are names with their shades.

    `errors` are those of no span here; at least `hidden` spans are not shown.
    """

    trace_id: str
    when: str
    lasts: float
    bars: tuple[Bar, ...]
    services: tuple[tuple[str, int], ...]
    errors: tuple[Listed, ...]
    logs: tuple[Listed, ...]
    hidden: int


def trace_view(trace_id: str, found: list[Stored]) -> TraceView:
    """The waterfall of everything that is kept of a trace."""
    read = list(islice(_spans(found), MAX_READ))
    spans = sorted(read, key=lambda span: (span.start, -span.end))
    shown = spans[:MAX_SPANS]
    errors = [one.listed for one in found if one.listed.kind == ERROR]
    start = min((span.start for span in shown), default=0.0)
    lasts = max((span.end for span in shown), default=start) - start
    known = {span.span_id for span in shown}
    return TraceView(
        trace_id=trace_id,
        when=as_moment(start) if shown else "",
        lasts=lasts * 1000,
        bars=tuple(_bars(shown, errors, start, lasts)),
        services=tuple(_shades(shown).items()),
        errors=tuple(error for error in errors if error.span_id not in known),
        logs=tuple(one.listed for one in found if one.listed.kind == LOG),
        hidden=len(spans) - len(shown) + sum(_is_unread(one) for one in found),
    )


def _spans(found: Iterable[Stored]) -> Iterator[Span]:
    # One item at a time: what JSON says takes much more room than JSON.
    item, batch = -1, list[dict[str, Any]]()
    for one in found:
        if one.listed.kind not in {REQUEST, SPAN}:
            continue
        if one.listed.item != item:
            item, payload = one.listed.item, _decoded(one.payload)
            batch = [payload] if one.listed.event_id else items_of(payload)
        if one.listed.event_id:
            yield from _of_transaction(one.listed, batch[0])
        else:
            yield from _streamed(one.listed, batch)


def _is_unread(one: Stored) -> bool:
    return one.listed.kind in {REQUEST, SPAN} and not one.payload


def _decoded(payload: bytes) -> dict[str, Any]:
    try:
        return json_object(payload, "The item")
    except BadEnvelopeError:  # it has made room for newer ones meanwhile
        return {}


def _of_transaction(listed: Listed, event: dict[str, Any]) -> Iterator[Span]:
    trace = as_dict(as_dict(event.get("contexts")).get("trace"))
    service = service_name(listed.project, event, {})
    own = {
        **trace,
        "start_timestamp": event.get("start_timestamp"),
        "timestamp": event.get("timestamp"),
        "description": listed.summary.title,
    }
    yield from _span(own, service, transaction_status(event), listed.event_id)
    for span in as_dicts(event.get("spans")):
        yield from _span(span, service, as_line(span.get("status"), 40))


def _streamed(listed: Listed, batch: list[dict[str, Any]]) -> Iterator[Span]:
    for span in batch[listed.position : listed.position + 1]:
        data = attributes(span.get("attributes"))
        shaped = {
            **span,
            "description": listed.summary.title,
            "op": data.get("sentry.op") or span.get("op"),
            "timestamp": span_end(span),
            "data": data,
        }
        service = service_name(listed.project, {"sdk": {"name": data.get("sentry.sdk.name")}}, data)
        yield from _span(shaped, service, listed.status)


def _span(span: dict[str, Any], service: str, status: str, event_id: str = "") -> Iterator[Span]:
    start, end = as_seconds(span.get("start_timestamp")), as_seconds(span.get("timestamp"))
    if start is None:
        return
    yield Span(
        span_id=as_id(span.get("span_id")),
        parent_id=as_id(span.get("parent_span_id")),
        name=as_line(span.get("description")) or as_line(span.get("op")) or "(no name)",
        op=as_line(span.get("op")),
        service=service,
        status=status,
        start=start,
        end=start if end is None else max(start, end),
        data=as_pairs(span.get("data")),
        event_id=event_id,
    )


def service_name(project: str, event: dict[str, Any], data: dict[str, Any]) -> str:
    """What tells one service from another, best first: its name, its release's, its project.

    A project is a name where `dev` gave it one. The SDK's name is its language's alone: the
    rest tells which libraries happen to be installed.
    """
    name = as_line(data.get("service.name"), 60)
    release = as_line(event.get("release") or data.get("sentry.release"), 120)
    named = release.partition("@")[0]
    if name or (named and not _SHA.fullmatch(named)):
        return name or named
    if not project.isdigit() and project != "spotlight":
        return project
    sdk = (
        as_line(as_dict(event.get("sdk")).get("name"), 60).removeprefix("sentry.").partition(".")[0]
    )
    where = "" if project == "spotlight" else f"project {project}"
    return " · ".join(filter(None, (where, sdk))) or "app"


def _shades(spans: Iterable[Span]) -> dict[str, int]:
    services = dict.fromkeys(span.service for span in spans)
    return {service: number % SHADES for number, service in enumerate(services)}


def _bars(spans: list[Span], errors: list[Listed], start: float, lasts: float) -> Iterator[Bar]:
    shades = _shades(spans)
    by_span: dict[str, list[Listed]] = {}
    for error in errors:
        by_span.setdefault(error.span_id, []).append(error)
    whole = lasts or 1.0
    before = ""
    for depth, span in _in_order(spans):
        left = min((span.start - start) / whole * 100, 99.6)
        yield Bar(
            span=span,
            depth=min(depth, MAX_DEPTH),
            shade=shades[span.service],
            left=left,
            width=max(min((span.end - span.start) / whole * 100, 100 - left), 0.4),
            begins=(span.start - start) * 1000,
            lasts=(span.end - span.start) * 1000,
            level=status_level(span.status),
            errors=tuple(by_span.pop(span.span_id, ()) if span.span_id else ()),
            first=span.service != before,
        )
        before = span.service


def _in_order(spans: list[Span]) -> Iterator[tuple[int, Span]]:
    """Each span with its depth, parents before their children, siblings by their start."""
    ids = Counter(span.span_id for span in spans)
    children: dict[str, list[Span]] = {}
    for span in spans:
        known = span.parent_id in ids and span.parent_id not in {"", span.span_id}
        children.setdefault(span.parent_id if known else "", []).append(span)
    yield from _walk(children, children.pop("", []))
    while children:  # circles: each is entered where it begins first
        parent = next(iter(children))
        yield from _walk(children, children.pop(parent))


def _walk(children: dict[str, list[Span]], top: list[Span]) -> Iterator[tuple[int, Span]]:
    waiting = [(0, span) for span in reversed(top)]
    while waiting:
        depth, span = waiting.pop()
        yield depth, span
        below = children.pop(span.span_id, []) if span.span_id else []
        waiting += [(depth + 1, child) for child in reversed(below)]
