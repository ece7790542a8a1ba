"""What of an envelope is kept, and the few facts that lists and searches need. Pure.

The rules:

- Every item is kept, also of types that no page shows.
- An event has an id: the envelope's, else its own, else a new one. An id is 32 hexadecimal digits.
- An item whose type carries a JSON object, and that is none, makes the whole envelope bad: nothing
  of it is kept.
- Its bounds hold for all of its items together: `MAX_JSON` bytes are read, `MAX_ENTRIES` told of.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
import zlib
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .entries import JSON_ITEMS, Entry, entries
from .envelope import MAX_JSON, BadEnvelopeError, Envelope, Item, check_size, json_object
from .values import clean

# Types whose payload is an event, and so has an id.
ERRORS = "event"
EVENTS = frozenset({ERRORS, "transaction"})

# An envelope may tell of many things; lists show so many of them. The others are kept, and stand on its page.
MAX_ENTRIES = 5000


@dataclass(frozen=True, slots=True)
class Record:
    """One item to keep, and what it tells; `event_id` is there for events only."""

    kind: str
    headers: bytes
    payload: bytes
    entries: tuple[Entry, ...]
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """An envelope to keep: its headers as JSON, its items, and the id to answer with."""

    headers: bytes
    items: tuple[Record, ...]
    event_id: str | None


def records(envelope: Envelope) -> Records:
    """Turn an envelope into what is kept of it.

    Raises BadEnvelopeError if an item's JSON, or an id, is malformed.
    """
    given = _event_id(envelope.headers.get("event_id"))
    size = sum(len(item.payload) for item in envelope.items if item.kind in JSON_ITEMS)
    check_size(size, MAX_JSON, "The envelope's JSON")
    items: list[Record] = []
    room = MAX_ENTRIES
    for item in envelope.items:
        items.append(_record(item, given, room))
        room -= len(items[-1].entries)
    own = next((item.event_id for item in items if item.event_id), None)
    return Records(_json(envelope.headers), tuple(items), given or own)


def stored_event(data: bytes) -> Envelope:
    """The envelope of what an SDK sends to the store endpoint: one event, as JSON.

    Very old SDKs send it deflated and in base64. Raises BadEnvelopeError.
    """
    if data[:1] not in {b"{", b" ", b"\n"}:
        data = _unwrapped(data)
    event = json_object(data, "The event")
    kind = "transaction" if event.get("type") == "transaction" else ERRORS
    return Envelope({}, (Item({"type": kind, "length": len(data)}, data),))


def _unwrapped(data: bytes) -> bytes:
    try:
        deflated = base64.b64decode(data, validate=True)
        decoder = zlib.decompressobj()
        event = decoder.decompress(deflated, 1024 * 1024)
    except (binascii.Error, zlib.error):
        return data
    return event if decoder.eof else data


def _record(item: Item, event_id: str | None, room: int) -> Record:
    kind, headers = clean(item.kind), _json(item.headers)
    payload = json_object(item.payload, f"The {kind}") if kind in JSON_ITEMS else {}
    told = tuple(islice(entries(kind, item.headers, payload), room))
    if kind not in EVENTS:
        return Record(kind, headers, item.payload, told)
    identity = event_id or _event_id(payload.get("event_id")) or uuid.uuid4().hex
    return Record(kind, headers, item.payload, told, identity)


def _event_id(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return uuid.UUID(value).hex
    except (AttributeError, TypeError, ValueError):
        raise BadEnvelopeError("The event_id is not 32 hexadecimal digits.") from None


def _json(headers: dict[str, Any]) -> bytes:
    return json.dumps(headers, separators=(",", ":")).encode()
