"""The spans of a trace, as transactions and streamed spans bring them. Pure.

The rules:

- A transaction brings its spans with it; streamed spans come one by one, in any order. Both make
  the same spans here.
- Each knows its request by `segment_id`: the span id of the transaction, or of the segment.
- A batch is read one item at a time: what JSON says takes much more room than JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .entries import REQUEST, SPAN, items_of, shaped, transaction_status
from .envelope import BadEnvelopeError, json_object
from .services import service_name
from .shapes import code_place
from .store import Listed, Stored
from .values import Pairs, as_dict, as_dicts, as_id, as_line, as_pairs, as_seconds, attributes


@dataclass(frozen=True, slots=True)
class Span:
    """One span as sent; moments are in seconds since 1970. `event_id` is its transaction's.

    `where` is the line that made it, `orders.py:41 in load`, if the SDK told.
    """

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
    segment_id: str = ""
    where: str = ""

    @property
    def lasts(self) -> float:
        """How long it took, in milliseconds."""
        return (self.end - self.start) * 1000

    @property
    def is_query(self) -> bool:
        """Whether it asks a database."""
        return self.op == "db" or self.op.startswith("db.")

    @property
    def is_call(self) -> bool:
        """Whether it asks another service."""
        return self.op == "http.client"

    def fact(self, *names: str) -> str:
        """What the span tells by the first of these names that it has."""
        told = dict(self.data)
        return next((told[name] for name in names if told.get(name)), "")


def spans_of(found: Iterable[Stored]) -> Iterator[Span]:
    """The spans of what is kept of a trace."""
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


def is_unread(one: Stored) -> bool:
    """Whether it has spans that were too much to read."""
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
    segment_id = listed.span_id
    yield from _span(own, service, transaction_status(event), segment_id, listed.event_id)
    for span in as_dicts(event.get("spans")):
        yield from _span(span, service, as_line(span.get("status"), 40), segment_id)


def _streamed(listed: Listed, batch: list[dict[str, Any]]) -> Iterator[Span]:
    for span in batch[listed.position : listed.position + 1]:
        data = attributes(span.get("attributes"))
        service = service_name(listed.project, {"sdk": {"name": data.get("sentry.sdk.name")}}, data)
        segment_id = as_id(data.get("sentry.segment.id"))
        if not segment_id and listed.kind == REQUEST:
            segment_id = listed.span_id
        told = shaped(span, listed.summary.title, data)
        yield from _span(told, service, listed.status, segment_id)


def _span(
    span: dict[str, Any], service: str, status: str, segment_id: str, event_id: str = ""
) -> Iterator[Span]:
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
        segment_id=segment_id,
        where=code_place(as_dict(span.get("data"))),
    )
