"""A request has a page: what was asked and answered, what it did in order of time, and what is wrong with it."""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings, strategies as st

from sentry_asgi.inspector import requests as module
from sentry_asgi.inspector.envelope import BadEnvelopeError
from sentry_asgi.inspector.exchanges import exchange, keep_exchange
from sentry_asgi.inspector.lists import Wanted
from sentry_asgi.inspector.pages import Pages
from sentry_asgi.inspector.rejections import MAX_REASONS, reasons
from sentry_asgi.inspector.requests import Diagnoses, find_request, request_facts
from sentry_asgi.inspector.store import Filter, Listed, Store
from sentry_asgi.inspector.trace import trace_view

from .support import Inspector, envelope, kept
from .test_findings import CODE, call, query, span
from .test_groups import failure, frame, rows
from .test_trace import TRACE, transaction
from .test_views import EVENT, JSON, shaped

TIMES = "\N{MULTIPLICATION SIGN}"


def facts_of(store: Store, span_id: str = "a1") -> module.RequestFacts:
    listed = find_request(store, span_id)
    assert listed is not None
    return request_facts(store, listed)


def happened(store: Store, span_id: str = "a1") -> list[str]:
    return [
        f"{one.kind} {one.text}{f' {TIMES}{len(one.held)}' if one.held else ''}"
        for one in facts_of(store, span_id).moments
    ]


def error_at(span_id: str, at: float, kind: str = "KeyError", **more: Any) -> tuple[str, Any]:
    trace = {"trace": {"trace_id": TRACE, "span_id": span_id}}
    return "event", {**failure(frame(), kind=kind), "timestamp": at, "contexts": trace, **more}


def log_at(at: float, body: str, span_id: str = "a1") -> dict[str, Any]:
    return {"timestamp": at, "body": body, "trace_id": TRACE, "span_id": span_id, "level": "info"}


SPANS = [
    query(0, "SELECT * FROM orders"),
    *[query(n, f"SELECT * FROM items WHERE id = {n}", 2, **CODE) for n in range(1, 5)],
    call(1, "GET http://till/tax", 60, 70),
    span("d1", "cache.get", "prices", 71, 72),
    span("d2", "template", "orders.html", 73, 79),
]


def report(store: Store, project: str = "shop") -> None:
    store.add(project, kept(("transaction", transaction("a1", 0, 0.08, spans=SPANS))), received=1)
    logs = {
        "items": [
            log_at(0.005, "begun"),
            log_at(0.065, "'bananas' is out"),
            log_at(0.066, "KeyError"),
        ]
    }
    store.add(project, kept(("log", logs)), received=2)
    store.add(project, kept(error_at("d2", 0.075)), received=3)


def test_what_a_request_did_is_in_order_of_time_with_equal_neighbours_in_one(store: Store) -> None:
    report(store)
    assert happened(store) == [
        "query SELECT * FROM orders",
        "log begun",
        f"query SELECT * FROM items WHERE id = ? {TIMES}4",
        "call GET http://till/tax",
        "log 'bananas' is out",
        "cache prices",
        "error KeyError",
    ]
    facts = facts_of(store)
    folded = facts.moments[2]
    assert (round(folded.begins), round(folded.lasts)) == (10, 8)
    assert folded.where == "orders.py:41 in load"
    assert facts.queries == 5
    assert facts.moments[-1].where == "stock.py:44 in price"


def streamed(
    span_id: str, parent: str, name: str, start: float, end: float, op: str, segment: str = "a1"
) -> dict[str, Any]:
    told = {"sentry.op": op, "sentry.segment.id": segment, "sentry.segment.name": "/orders"}
    if op == "http.server":
        told |= {
            "http.request.method": "GET",
            "url.full": "http://shop/orders",
            "http.response.status_code": "200",
        }
    return {
        "trace_id": TRACE, "span_id": span_id, "parent_span_id": parent, "name": name,
        "is_segment": op == "http.server", "start_timestamp": start, "end_timestamp": end, "status": "ok",
        "attributes": {name: {"value": value} for name, value in told.items()},
    }  # fmt: skip


def test_streamed_spans_make_the_same_request_as_a_transaction(store: Store) -> None:
    queries = [
        streamed(f"b{n}", "a1", f"SELECT {n}", n / 100, n / 100 + 0.001, "db") for n in range(6)
    ]
    whole = streamed("a1", "", "/orders", 0, 0.08, "http.server")
    store.add("shop", kept(("span", {"items": queries[:4]})), received=1)
    store.add("shop", kept(("span", {"items": [*queries[4:], whole]})), received=2)
    listed = find_request(store, "a1")
    assert listed is not None
    assert (listed.summary.title, listed.status) == ("GET /orders", "200")
    assert happened(store) == [f"query SELECT ? {TIMES}6"]
    facts = facts_of(store)
    assert [one.rule for one in facts.findings] == ["n-plus-one"]
    assert Diagnoses(store).of([listed]) == {listed.number: facts.findings}


def test_streamed_requests_of_one_trace_are_told_apart_and_the_trace_is_read_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for segment, count in (("a1", 6), ("e1", 1)):
        spans = [
            streamed(f"{segment}{n}", segment, f"SELECT {n}", n, n, "db", segment)
            for n in range(count)
        ]
        whole = streamed(segment, "", "/orders", 0, 0.08, "http.server", segment)
        store.add("shop", kept(("span", {"items": [*spans, whole]})), received=1)
    reads: list[str] = []
    read = store.trace

    def counted(trace_id: str, **how: Any) -> Any:
        reads.append(trace_id)
        return read(trace_id, **how)

    monkeypatch.setattr(store, "trace", counted)
    found = Diagnoses(store).of(requests(store))
    assert [[one.rule for one in found[each.number]] for each in requests(store)] == [
        [],
        ["n-plus-one"],
    ]
    assert reads == [TRACE]


def test_in_a_trace_of_several_services_each_request_has_its_own(store: Store) -> None:
    report(store)
    inner = transaction(
        "e1", 0.061, 0.069, parent="c1", spans=[query(7, "SELECT tax", parent="e1")]
    )
    store.add("till", kept(("transaction", inner)), received=4)
    store.add("till", kept(error_at("b7", 0.065, "TaxError")), received=5)
    store.add("till", kept(error_at("ff", 0.065, "NowhereError")), received=6)
    assert happened(store, "e1") == ["error TaxError", "error NowhereError", "query SELECT tax"]
    shop = facts_of(store)
    assert [one.summary.title for one in shop.errors] == ["KeyError"]
    assert "e1" not in {one.span_id for one in shop.spans}
    assert {"e1", "b7", "c1"} <= {one.span_id for one in shop.beneath}
    assert {one.span_id for one in facts_of(store, "e1").beneath} == {"e1", "b7"}


def test_exceptions_come_before_the_messages_that_announced_them(store: Store) -> None:
    report(store)
    trace = {"trace": {"trace_id": TRACE, "span_id": "a1"}}
    early = {"message": "no price", "level": "error", "timestamp": 0.01, "contexts": trace}
    store.add("shop", kept(("event", early)), received=1)
    store.add("shop", kept(error_at("a1", 0.02, "LateError")), received=1)
    titles = [one.summary.title for one in facts_of(store).errors]
    assert titles == ["KeyError", "LateError", "no price"]
    view = trace_view(TRACE, store.trace(TRACE, limit=99, most=1 << 20))
    assert [one.summary.title for one in view.bars[0].errors] == ["LateError", "no price"]


def test_spans_in_a_circle_end(store: Store) -> None:
    spans = [query(1, parent="b2"), query(2, parent="b1"), {**query(3), "span_id": ""}]
    store.add("1", kept(("transaction", transaction("a1", 0, 1, spans=spans))), received=1)
    assert len(facts_of(store).beneath) == 4


def test_a_request_of_no_trace_has_its_facts(store: Store) -> None:
    alone = {"contexts": {"trace": {"span_id": "a1"}}, "start_timestamp": 0, "timestamp": 1}
    store.add("1", kept(("transaction", alone)), received=1)
    assert len(facts_of(store).spans) == 1
    assert find_request(store, "") is None
    assert find_request(store, "a2") is None


# Why a request was refused.


def answered(body: Any, status: int = 422) -> tuple[str, ...]:
    text = body if isinstance(body, str) else json.dumps(body)
    record = exchange({"status": status, "response_body": text})
    return tuple(map(str, reasons(record)))


FASTAPI = {
    "detail": [
        {"type": "int_parsing", "loc": ["body", "customer_id"], "msg": "Input should be a valid integer", "input": "ann"},
        {"type": "missing", "loc": ["query", "page"], "msg": "Field required", "input": {"a": 1}},
    ]
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (FASTAPI, 422, (
            'body.customer_id: Input should be a valid integer, got "ann"', "query.page: Field required",
        )),
        (FASTAPI, 200, ()),
        ({"detail": [{"loc": ["body", "items", 0], "msg": "no"}]}, 422, ("body.items.0: no",)),
        ({"status_code": 400, "detail": "Validation failed for POST /", "extra": [
            {"message": "Expected `int`, got `str`", "key": "customer_id", "source": "body"}, {"key": "x"},
        ]}, 400, ("body.customer_id: Expected `int`, got `str`",)),
        ({"customer_id": ["A valid integer is required."], "other": 5}, 400, (
            "customer_id: A valid integer is required.",
        )),
        ({"title": "Invalid", "errors": [{"pointer": "#/customer/id", "detail": "no integer"}]}, 422, (
            "customer.id: no integer",
        )),
        ({"detail": "Invalid JSON"}, 400, ("Invalid JSON",)),
        ({"detail": [{"loc": ["body"]}, 7]}, 422, ()),
        ({"detail": [{"msg": "no", "loc": "odd"}]}, 422, ("no",)),
        ({"a": [1, 2], "b": []}, 400, ()),
        ('{"detail": [', 422, ()),
        ("", 422, ()),
        ("[]", 422, ()),
        ({"detail": [{"msg": "no", "input": [None] * 50}]}, 422, ("no, got [" + "null, " * 13 + "n…",)),
        ({"detail": [{"msg": "no", "input": None}]}, 422, ("no, got null",)),
    ],
)  # fmt: skip
def test_a_refusal_is_explained(body: Any, status: int, told: tuple[str, ...]) -> None:
    assert answered(body, status) == told


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_any_body_is_read(body: Any) -> None:
    answered({"detail": body, "errors": body, "extra": body})
    answered(body)


def test_reasons_are_bounded() -> None:
    assert len(answered({"detail": [{"msg": "no"}] * 99})) == MAX_REASONS
    assert reasons(None) == ()


# Lists and pages.


def requests(store: Store) -> list[Listed]:
    return store.entries(Filter(["request"]), limit=99)


def test_what_is_wrong_with_requests_is_asked_again_when_something_is_new(store: Store) -> None:
    many = [query(n) for n in range(6)]
    store.add("shop", kept(("transaction", transaction("a1", 0, 0.08, spans=many))), received=1)
    diagnoses = Diagnoses(store)
    (listed,) = requests(store)
    asked: list[str] = []
    store._reader.set_trace_callback(asked.append)
    assert [one.rule for one in diagnoses.of([listed])[listed.number]] == ["n-plus-one"]
    first = len(asked)
    asked.clear()
    diagnoses.of([listed])
    assert len(asked) < first  # only whether anything is new
    block = error_at("a1", 0.01, "EventLoopBlocked")
    store.add("shop", kept(block), received=2)
    store.add("till", kept(block), received=2)
    refused = {"span_id": "a1", "status": 422, "response_body": json.dumps(FASTAPI)}
    keep_exchange(store, exchange(refused), 3)
    told = diagnoses.of([listed])[listed.number]
    assert [one.rule for one in told] == ["rejected", "n-plus-one", "loop-blocked"]
    assert (told[0].badge, told[0].subject) == ("body.customer_id", "query.page: Field required")


def test_what_is_too_much_to_read_for_a_list_is_told_of_no_request(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [query(n) for n in range(6)]
    for number in range(3):
        store.add(
            "1", kept(("transaction", transaction(f"a{number}", 0, 1, spans=many))), received=1
        )
    size = len(store.payloads([1], most=1 << 20)[1])
    monkeypatch.setattr(module, "MAX_LIST_BYTES", 2 * size + 10)
    monkeypatch.setattr(module, "MAX_KNOWN", 1)
    listed = requests(store)
    diagnoses = Diagnoses(store)
    assert list(diagnoses.of(listed)) == [one.number for one in listed[:2]]
    # And then there is room for it.
    assert list(diagnoses.of(listed)) == [one.number for one in listed]


def test_what_is_remembered_of_requests_is_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_KNOWN", 2)
    for number in range(4):
        store.add("1", kept(("transaction", transaction(f"a{number}", 0, 1))), received=1)
    diagnoses = Diagnoses(store)
    for one in requests(store):
        diagnoses.of([one])
    assert len(diagnoses._known) <= 2


def test_a_list_says_what_is_wrong_and_leads_to_the_request(inspector: Inspector) -> None:
    spans = [query(n, f"SELECT {n}", 101) for n in range(6)]
    inspector.report(envelope(("transaction", transaction("a1", 0, 2, spans=spans))))
    page = inspector.get("/").text
    assert f"N+1 {TIMES}6 slow query 101 ms" in rows(page)[0]
    assert 'href="/requests/a1"' in page
    assert inspector.get("/requests/a2").status_code == 404


RECORD: dict[str, Any] = {
    "span_id": "a1", "method": "POST", "path": "/orders", "query": "page=1&token=[Filtered]",
    "request_headers": [["host", "127.0.0.1:8000"], ["content-type", "application/json"]],
    "request_body": '{"customer_id": "ann"}', "request_body_size": 22, "status": 422,
    "response_headers": [["content-type", "application/json"]],
    "response_body": json.dumps(FASTAPI), "response_body_size": 9999, "duration_ms": 80,
}  # fmt: skip


def test_the_page_of_a_request_has_it_all(inspector: Inspector) -> None:
    report(inspector.store)
    keep_exchange(inspector.store, exchange(RECORD), 1)
    page = " ".join(inspector.get("/requests/a1").text.split())
    for text in (
        "Why 422", "body.customer_id", "Input should be a valid integer", "http://127.0.0.1:8000/orders",
        "page", "customer_id", "Its beginning alone", "9,999 bytes", "In order of time", "Waterfall",
        "the parameter token is filtered", "orders.py:41 in load", f"query {TIMES}4", "5 queries",
    ):  # fmt: skip
        assert text in page, text
    assert "The response is shown for apps" not in page


def test_without_dev_the_page_has_what_the_event_tells(inspector: Inspector) -> None:
    asked = {"method": "GET", "url": "http://shop/orders", "query_string": "page=2"}
    inspector.report(envelope(("transaction", transaction("a1", 0, 1, request=asked))))
    page = inspector.get("/requests/a1").text
    assert "http://shop/orders" in page
    assert "The response is shown for apps" in page


def test_of_streamed_spans_an_error_tells_what_was_asked(inspector: Inspector) -> None:
    whole = streamed("a1", "", "/orders", 0, 0.08, "http.server")
    inspector.report(envelope(("span", {"items": [whole]})))
    assert "<h2>Request</h2>" not in inspector.get("/requests/a1").text
    asked = {"method": "GET", "url": "http://shop/orders", "query_string": "page=2"}
    inspector.report(envelope(error_at("a1", 0.01, request=asked)))
    assert "http://shop/orders" in inspector.get("/requests/a1").text


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"request_body": None, "request_body_size": 5000}, "5,000 bytes that are no text"),
        ({"response_body": None, "response_body_size": 7000}, "7,000 bytes that are no text"),
        ({"request_headers": {"content-type": "application/x-www-form-urlencoded"},
          "request_body": "tea=1&tea=2&milk=3"}, "milk"),
        ({"request_body": "{not json"}, "{not json"),
        ({"request_headers": {}, "request_body": "plain"}, "plain"),
        ({"status": None}, "none"),
    ],
)  # fmt: skip
def test_bodies_are_shown_as_well_as_they_can_be(
    inspector: Inspector, more: dict[str, Any], told: str
) -> None:
    report(inspector.store)
    keep_exchange(inspector.store, exchange({**RECORD, **more}), 1)
    assert told in inspector.get("/requests/a1").text


def test_an_error_leads_to_its_request(inspector: Inspector) -> None:
    report(inspector.store)
    (error,) = inspector.errors()
    assert 'href="/requests/a1">Request' in inspector.get(f"/events/{error.event_id}").text
    inspector.store.add("1", kept(("transaction", transaction("e1", 0, 1))), received=1)
    # Of two requests, neither is surely its own.
    assert ">Request</a>" not in inspector.get(f"/events/{error.event_id}").text


SPAN = shaped(
    span_id=st.sampled_from(["a1", "b1", ""]), parent_span_id=st.sampled_from(["a1", "b1"]),
    op=st.sampled_from(["db", "http.client", "http.server", "cache.get"]), description=st.text(max_size=9),
    name=st.text(max_size=9), start_timestamp=st.floats(0, 9), timestamp=st.floats(0, 9), data=JSON,
    attributes=JSON, is_segment=st.booleans(), trace_id=st.just(TRACE),
)  # fmt: skip
TRANSACTION = shaped(
    contexts=st.fixed_dictionaries({"trace": st.just({"trace_id": TRACE, "span_id": "a1", "op": "http.server"})}),
    start_timestamp=st.floats(0, 9), timestamp=st.floats(0, 99), spans=st.lists(SPAN, max_size=7),
    request=JSON, transaction=st.text(max_size=9), tags=JSON, user=JSON, release=st.text(max_size=9),
)  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.lists(st.one_of(TRANSACTION, SPAN), min_size=1, max_size=4), EVENT, JSON)
def test_anything_that_is_taken_has_its_pages(
    sent: list[dict[str, Any]], event: dict[str, Any], body: Any
) -> None:
    trace = {"trace": {"trace_id": TRACE, "span_id": "a1"}}
    items = [("transaction" if "spans" in one else "span", one) for one in sent]
    with tempfile.TemporaryDirectory() as folder, closing(Store(Path(folder) / "a")) as store:
        try:
            kept_of = kept(*items, ("event", {**event, "contexts": trace}), ("event", event))
        except (BadEnvelopeError, ValueError):
            reject()  # no JSON, and refused
        store.add("shop", kept_of, received=1)
        record = dict.fromkeys(RECORD, body) | {"span_id": "a1"}
        keep_exchange(store, exchange(record), 1)
        pages = Pages(store, "vscode")
        for query in ({}, {"each": "1"}, {"show": "more"}, {"q": "a !b status:>4xx"}):
            pages.overview(Wanted.of(query), "http://x")
        pages.figures()
        pages.trace(TRACE)
        for one in store.entries(limit=99):
            pages.request(one.span_id)
            pages.event(one.event_id)
            pages.export(one.event_id)
