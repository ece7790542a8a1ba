"""Every kind of item becomes entries that lists can show, whatever it contains."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from sentry_asgi.inspector.entries import JSON_ITEMS, KINDS, entries, level, losses, status_level

from .test_views import JSON, shaped, texts

ATTRIBUTES = st.dictionaries(
    st.sampled_from(["logger.name", "http.request.method", "url.full", "sentry.op", "http.response.status_code"]),
    shaped(value=JSON) | JSON,
)  # fmt: skip
ONE = shaped(
    body=JSON, level=JSON, timestamp=JSON, attributes=ATTRIBUTES, name=JSON, description=JSON, op=JSON,
    is_segment=st.booleans(), start_timestamp=st.floats() | JSON, end_timestamp=st.floats() | JSON,
    trace_id=JSON, span_id=JSON, value=JSON, unit=JSON, status=JSON,
)  # fmt: skip
PAYLOAD = shaped(
    items=st.lists(ONE | JSON, max_size=3) | JSON, aggregates=st.lists(shaped(exited=JSON), max_size=2) | JSON,
    discarded_events=st.lists(shaped(quantity=JSON, reason=JSON), max_size=2), contexts=shaped(
        trace=shaped(trace_id=JSON, op=JSON, status=JSON, data=JSON), response=shaped(status_code=JSON)
    ),
    request=shaped(method=JSON, url=JSON | st.just("http://[")), transaction=JSON, profile=shaped(samples=JSON),
    start_timestamp=JSON, timestamp=JSON, tags=JSON, monitor_slug=JSON, status=JSON,
).filter(lambda payload: isinstance(payload, dict))  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from([*sorted(JSON_ITEMS), "attachment", "new"]), payload=PAYLOAD)
def test_any_payload_of_any_kind_makes_entries(kind: str, payload: dict[str, Any]) -> None:
    for entry in entries(kind, {"filename": payload}, payload):
        assert entry.kind in KINDS
        assert entry.summary.title
        assert all(text.encode() is not None for text in texts(astuple(entry)))


def one(kind: str, payload: dict[str, Any], **headers: Any) -> Any:
    (entry,) = entries(kind, headers, payload)
    return entry


def test_a_transaction_is_a_request_with_its_status_and_duration() -> None:
    entry = one("transaction", {
        "transaction": "shop.order", "start_timestamp": 10, "timestamp": 10.25,
        "request": {"method": "GET", "url": "http://shop.example/orders/7?a=b"},
        "contexts": {"trace": {"trace_id": "AB" * 16, "span_id": "cd" * 8, "op": "http.server", "status": "internal_error"},
                     "response": {"status_code": 500}},
    })  # fmt: skip
    assert (entry.kind, entry.summary.title, entry.summary.transaction) == (
        "request", "GET /orders/7", "shop.order",
    )  # fmt: skip
    assert (entry.status, entry.summary.level, entry.duration) == ("500", "error", 0.25)
    assert (entry.trace_id, entry.span_id) == ("ab" * 16, "cd" * 8)


@pytest.mark.parametrize(
    "payload",
    [
        {
            "contexts": {
                "trace": {"data": {"http.response.status_code": 404}, "status": "not_found"}
            }
        },
        {"tags": {"http.status_code": "404"}},
        {"contexts": {"trace": {"status": "404"}}},
    ],
)
def test_the_status_is_found_wherever_sdks_put_it(payload: dict[str, Any]) -> None:
    entry = one("transaction", payload)
    assert (entry.status, entry.summary.level, entry.summary.title) == (
        "404",
        "warning",
        "(no name)",
    )


def test_streamed_spans_are_requests_where_a_segment_begins() -> None:
    segment = {
        "name": "GET /x", "is_segment": True, "trace_id": "a1", "span_id": "b1", "status": "ok",
        "start_timestamp": 1, "end_timestamp": 1.5,
        "attributes": {"http.request.method": {"value": "GET"}, "url.path": {"value": "/x/1"}},
    }  # fmt: skip
    inner = {"name": "select", "is_segment": False, "attributes": {"sentry.op": {"value": "db"}}}
    first, second = entries("span", {}, {"items": [segment, inner]})
    assert (first.kind, first.summary.title, first.duration, first.position) == (
        "request", "GET /x/1", 0.5, 0,
    )  # fmt: skip
    assert (second.kind, second.summary.title, second.summary.detail, second.position) == (
        "span", "select", "db", 1,
    )  # fmt: skip


def test_a_span_that_an_old_sdk_sends_alone_is_one() -> None:
    entry = one("span", {"description": "GET", "op": "http", "start_timestamp": 1, "timestamp": 3})
    assert (entry.kind, entry.summary.title, entry.duration) == ("span", "GET", 2)


def test_each_log_of_a_batch_is_an_entry() -> None:
    log = {
        "body": "low",
        "level": "warn",
        "timestamp": 0,
        "attributes": {"logger.name": {"value": "stock"}},
    }
    first, second = entries("log", {}, {"items": [log, {}]})
    assert (first.kind, first.summary.title, first.summary.level, first.summary.transaction) == (
        "log", "low", "warning", "stock",
    )  # fmt: skip
    assert (second.summary.title, second.position) == ("(empty)", 1)


@pytest.mark.parametrize(
    ("kind", "payload", "headers", "title", "detail"),
    [
        ("trace_metric", {"items": [{"name": "orders", "value": 2, "unit": "none"}]}, {}, "orders", "2 none"),
        ("session", {"status": "errored"}, {}, "session", "errored"),
        ("sessions", {"aggregates": [{"exited": 3, "errored": 1}, {"exited": 1}]}, {}, "sessions", "4 exited, 1 errored"),
        ("check_in", {"monitor_slug": "nightly", "status": "ok"}, {}, "check-in", "nightly ok"),
        ("client_report", {"discarded_events": [{"quantity": 3, "category": "error", "reason": "before_send"}]}, {},
         "client report", "3 error: before_send"),
        ("profile", {"transaction": {"name": "t"}, "profile": {"samples": [1, 2]}}, {}, "profile", "t 2 samples"),
        ("attachment", {}, {"filename": "a.txt"}, "attachment", "a.txt"),
        ("from_the_future", {}, {}, "from_the_future", ""),
    ],
)  # fmt: skip
def test_everything_else_has_its_line(
    kind: str, payload: dict[str, Any], headers: dict[str, Any], title: str, detail: str
) -> None:
    entry = one(kind, payload, **headers)
    assert (entry.summary.title, entry.summary.detail) == (title, detail)


@pytest.mark.parametrize("url", ["http://[", "shop"])
def test_a_url_that_is_none_is_shown_as_it_is(url: str) -> None:
    assert (
        one("transaction", {"request": {"method": "GET", "url": url}}).summary.title == f"GET {url}"
    )


def test_levels_have_one_name_each() -> None:
    assert [level(name) for name in ("warn", "trace", None, "error")] == [
        "warning",
        "debug",
        "info",
        "error",
    ]


def test_a_status_says_how_bad_it_is() -> None:
    assert [status_level(status) for status in ("200", "404", "503", "ok", "", "unavailable")] == [
        "info", "warning", "error", "info", "info", "error",
    ]  # fmt: skip


def discarded(quantity: Any, category: str, reason: str) -> dict[str, Any]:
    return {"quantity": quantity, "category": category, "reason": reason}


def test_what_an_sdk_lost_is_told_from_what_it_was_to_leave_out() -> None:
    wanted = [discarded(9, "transaction", "sample_rate"), discarded(9, "error", "before_send")]
    entry = one("client_report", {"discarded_events": wanted})
    assert entry.kind == "other"
    lost = [
        discarded(222, "transaction", "queue_overflow"), discarded(157, "error", "backpressure"),
        discarded(1, "error", "network_error"), discarded(4, "log_item", "queue_overflow"),
        discarded(4096, "log_byte", "queue_overflow"), discarded("x", "span", "network_error"),
    ]  # fmt: skip
    report = {"discarded_events": [*wanted, *lost]}
    assert losses(report) == {"transaction": 222, "error": 158, "log": 4}
    entry = one("client_report", report)
    assert (entry.kind, entry.summary.title, entry.summary.level) == (
        "loss",
        "client report",
        "warning",
    )
