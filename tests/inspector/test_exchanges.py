"""What `dev` tells of a request and its response is kept, bounded, and found by its span or event."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from sentry_asgi.inspector import exchanges as module
from sentry_asgi.inspector.exchanges import (
    MAX_BODY,
    MAX_RECORD,
    exchange,
    find_exchange,
    keep_exchange,
)
from sentry_asgi.inspector.store import Store

from .support import ID, Inspector
from .test_views import JSON, shaped

SPAN = "b1" * 8
PATH = "/api/local/exchange"

RECORD: dict[str, Any] = {
    "trace_id": "ab" * 16, "span_id": SPAN, "event_id": ID, "method": "POST", "path": "/orders",
    "query": "page=1", "request_headers": [["content-type", "application/json"]],
    "request_body": '{"tea": 1}', "request_body_size": 10, "status": 422,
    "response_headers": {"Content-Type": "application/json"}, "response_body": "{}",
    "response_body_size": 2, "duration_ms": 12.5,
}  # fmt: skip


def tell(inspector: Inspector, record: Any = RECORD, **headers: str) -> int:
    return inspector.report(json.dumps(record).encode(), PATH, **headers).status_code


def test_an_exchange_is_found_by_its_span_and_by_its_event(inspector: Inspector) -> None:
    assert tell(inspector) == 200
    found = find_exchange(inspector.store, span_id=SPAN)
    assert found is not None
    assert found == find_exchange(inspector.store, event_id=ID) == exchange(RECORD)
    assert (found.method, found.status, found.duration) == ("POST", 422, 12.5)
    assert (found.header("content-type"), found.header("etag")) == ("application/json", "")
    assert find_exchange(inspector.store) is None
    assert find_exchange(inspector.store, span_id="c1") is None


def test_the_newest_of_a_span_counts(inspector: Inspector) -> None:
    for status in (200, 500):
        tell(inspector, {**RECORD, "status": status})
    found = find_exchange(inspector.store, span_id=SPAN)
    assert found is not None
    assert found.status == 500


@settings(max_examples=60, deadline=None)
@given(shaped(**dict.fromkeys(RECORD, JSON)))
def test_any_record_makes_an_exchange(record: dict[str, Any]) -> None:
    json.dumps(exchange(record).path).encode()


def test_bodies_and_numbers_are_bounded() -> None:
    found = exchange({"request_body": "x" * MAX_BODY * 2, "duration_ms": -1, "response_body": 5})
    assert len(found.request_body or "") == MAX_BODY + 1
    assert (found.duration, found.response_body) == (None, None)


def test_the_oldest_go_and_clear_forgets_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EXCHANGES", 3)
    for number in range(5):
        keep_exchange(store, exchange({**RECORD, "span_id": f"a{number}"}), 1)
    found = [find_exchange(store, span_id=f"a{number}") is not None for number in range(5)]
    assert found == [False, False, True, True, True]
    store.clear()
    assert find_exchange(store, span_id="a4") is None


@pytest.mark.parametrize("body", [b"nope", b"[]", b'{"a": "' + b"x" * MAX_RECORD + b'"}'])
def test_what_is_no_exchange_is_refused(store: Store, body: bytes) -> None:
    from sentry_asgi.inspector.envelope import BadEnvelopeError

    with pytest.raises(BadEnvelopeError, match="The exchange"):
        module.read_exchange(body)


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000", "null"])
def test_no_page_but_the_inspectors_own_tells_of_exchanges(
    inspector: Inspector, origin: str
) -> None:
    assert tell(inspector, origin=origin) == 403
    assert tell(inspector, host="evil.example") == 403
    preflight = inspector.options(PATH, headers={"origin": origin})
    assert "access-control-allow-origin" not in preflight.headers
    assert find_exchange(inspector.store, span_id=SPAN) is None
    assert tell(inspector, origin=inspector.url) == 200
