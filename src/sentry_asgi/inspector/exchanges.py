"""What `dev` tells of a request beside its events: what was asked and what was answered.

`POST /api/local/exchange` takes one as a JSON object, each name optional:

    {"trace_id": "…", "span_id": "…", "event_id": "…",
     "method": "POST", "path": "/orders", "query": "page=1",
     "request_headers": [["content-type", "application/json"]],
     "request_body": "{…}", "request_body_size": 120,
     "status": 422, "response_headers": [["content-type", "application/json"]],
     "response_body": "{…}", "response_body_size": 98, "duration_ms": 12.5}

The rules:

- `span_id` is that of the request's transaction or segment, `event_id` that of an event of it: by
  either the request's page finds what it shows.
- A body is a text, of at most `MAX_BODY` characters, or null if it is none; its size says how many
  bytes it had, so a page can tell what is missing. Headers are objects or pairs.
- Whoever sends it has removed the secrets: what is taken is kept on disk as it came.
- The newest `MAX_EXCHANGES` are kept.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from .database import Database
from .envelope import json_object
from .values import FILTERED, Pairs, as_id, as_line, as_number, as_pairs, clean

MAX_BODY = 16 * 1024
MAX_EXCHANGES = 2000
MAX_RECORD = 256 * 1024
"""How many bytes one record may be long, as sent."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response; `duration` is in milliseconds, sizes are in bytes, as they passed."""

    trace_id: str
    span_id: str
    event_id: str
    method: str
    path: str
    query: str
    request_headers: Pairs
    request_body: str | None
    request_body_size: int | None
    status: int | None
    response_headers: Pairs
    response_body: str | None
    response_body_size: int | None
    duration: float | None

    @property
    def is_cut(self) -> bool:
        """Whether of the response's body there is only the beginning."""
        return _is_cut(self.response_body, self.response_body_size)

    @property
    def is_request_cut(self) -> bool:
        """Whether of the request's body there is only the beginning."""
        return _is_cut(self.request_body, self.request_body_size)

    def header(self, name: str) -> str:
        """The response's header of that name, or nothing."""
        wanted = name.lower()
        return next((value for key, value in self.response_headers if key.lower() == wanted), "")


def read_exchange(data: bytes) -> Exchange:
    """Read what was posted. Raises BadEnvelopeError if it is no JSON object, or too large."""
    return exchange(json_object(data, "The exchange", MAX_RECORD))


def exchange(record: dict[str, Any]) -> Exchange:
    """Read a decoded record; what makes no sense is taken as missing."""
    return Exchange(
        trace_id=as_id(record.get("trace_id")),
        span_id=as_id(record.get("span_id")),
        event_id=as_id(record.get("event_id")),
        method=as_line(record.get("method"), 20),
        path=as_line(record.get("path")),
        query=as_line(record.get("query"), 2000),
        request_headers=as_pairs(record.get("request_headers")),
        request_body=_body(record.get("request_body")),
        request_body_size=as_number(record.get("request_body_size")),
        status=as_number(record.get("status")),
        response_headers=as_pairs(record.get("response_headers")),
        response_body=_body(record.get("response_body")),
        response_body_size=as_number(record.get("response_body_size")),
        duration=_milliseconds(record.get("duration_ms")),
    )


def _is_cut(body: str | None, size: int | None) -> bool:
    if body is None or size is None:
        return False
    # What was filtered in it is shorter than it was.
    return size > (MAX_BODY if FILTERED in body else len(body.encode()))


def _body(value: Any) -> str | None:
    return clean(value, MAX_BODY) if isinstance(value, str) else None


def _milliseconds(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and 0 <= value < 1 << 40 else None


def keep_exchange(store: Database, told: Exchange, received: float) -> None:
    """Keep one that came at `received` (seconds, Unix), and let the oldest go."""
    record = asdict(told)
    record["duration_ms"] = record.pop("duration")
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO exchanges (received, trace_id, span_id, event_id, record)"
            " VALUES (?, ?, ?, ?, ?)",
            (received, told.trace_id, told.span_id, told.event_id, json.dumps(record).encode()),
        )
        connection.execute(
            "DELETE FROM exchanges WHERE id <= (SELECT max(id) FROM exchanges) - ?",
            (MAX_EXCHANGES,),
        )


def find_exchange(store: Database, *, span_id: str = "", event_id: str = "") -> Exchange | None:
    """The newest of that span or of that event; None if none is kept."""
    rows = store.read(
        "SELECT record FROM exchanges WHERE span_id = ? AND span_id != ''"
        " UNION ALL SELECT record FROM exchanges WHERE event_id = ? AND event_id != ''",
        (span_id, event_id),
    )
    return exchange(json.loads(rows[-1][0])) if rows else None
