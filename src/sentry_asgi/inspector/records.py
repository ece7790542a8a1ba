"""What of an envelope is kept, and the few facts that lists and searches need. Pure.

The rules:

- Every item is kept, also of kinds that no page shows yet.
- An event has an id: the envelope's, else its own, else a new one. An id is 32 hexadecimal digits.
- An event that is no JSON object makes the whole envelope bad: nothing of it is kept.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from .envelope import BadEnvelopeError, Envelope, Item, json_object
from .views import Summary, clean, summarize

# Kinds whose payload is an event, and so has an id and a summary.
ERRORS = "event"
EVENTS = frozenset({ERRORS, "transaction"})


@dataclass(frozen=True, slots=True)
class Record:
    """One item to keep. `event_id` and `summary` are there for events only."""

    kind: str
    headers: bytes
    payload: bytes
    event_id: str | None = None
    summary: Summary | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """An envelope to keep: its headers as JSON, its items, and the id to answer with."""

    headers: bytes
    items: tuple[Record, ...]
    event_id: str | None


def records(envelope: Envelope) -> Records:
    """Turn an envelope into what is kept of it.

    Raises BadEnvelopeError if an event or an id in it is malformed.
    """
    given = _event_id(envelope.headers.get("event_id"))
    items = tuple(_record(item, given) for item in envelope.items)
    own = next((item.event_id for item in items if item.event_id), None)
    return Records(_json(envelope.headers), items, given or own)


def _record(item: Item, event_id: str | None) -> Record:
    kind, headers = clean(item.kind), _json(item.headers)
    if kind not in EVENTS:
        return Record(kind, headers, item.payload)
    event = json_object(item.payload, f"The {kind}")
    identity = event_id or _event_id(event.get("event_id")) or uuid.uuid4().hex
    return Record(kind, headers, item.payload, identity, summarize(event))


def _event_id(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return uuid.UUID(value).hex
    except (AttributeError, TypeError, ValueError):
        raise BadEnvelopeError("The event_id is not 32 hexadecimal digits.") from None


def _json(headers: dict[str, Any]) -> bytes:
    return json.dumps(headers, separators=(",", ":")).encode()
