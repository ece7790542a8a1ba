"""The waterfall: every span is there once, beneath its parent, wherever it came from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, reject, settings, strategies as st

from sentry_asgi.inspector import trace as module
from sentry_asgi.inspector.services import service_name
from sentry_asgi.inspector.store import Store, Stored
from sentry_asgi.inspector.trace import TraceView, trace_view

from .support import kept
from .test_views import JSON

TRACE = "ab" * 16


def transaction(
    span_id: str, start: float, end: float, parent: str = "", **more: Any
) -> dict[str, Any]:
    trace = {"trace_id": TRACE, "span_id": span_id, "parent_span_id": parent, "op": "http.server"}
    return {
        "contexts": {"trace": trace}, "start_timestamp": start, "timestamp": end,
        "transaction": f"t{span_id}", **more,
    }  # fmt: skip


def span(span_id: str, parent: str, start: float, end: float, **more: Any) -> dict[str, Any]:
    return {
        "trace_id": TRACE, "span_id": span_id, "parent_span_id": parent, "start_timestamp": start,
        "timestamp": end, "description": f"s{span_id}", "op": "db", **more,
    }  # fmt: skip


def view(store: Store, *items: tuple[str, Any], project: str = "1") -> TraceView:
    store.add(project, kept(*items), received=1)
    return trace_view(TRACE, store.trace(TRACE, limit=1000, most=1 << 20))


def tree(trace: TraceView) -> list[tuple[int, str]]:
    return [(bar.depth, bar.span.span_id) for bar in trace.bars]


def test_the_spans_of_a_transaction_stand_beneath_it_in_order(store: Store) -> None:
    spans = [span("c1", "a1", 5, 6), span("b1", "a1", 1, 4), span("b2", "b1", 2, 3)]
    trace = view(store, ("transaction", transaction("a1", 0, 10, spans=spans)))
    assert tree(trace) == [(0, "a1"), (1, "b1"), (2, "b2"), (1, "c1")]
    bar = trace.bars[1]
    assert (bar.left, bar.width, bar.begins, bar.lasts) == (10, 30, 1000, 3000)
    assert trace.lasts == 10_000


def test_services_meet_in_one_trace(store: Store) -> None:
    store.add("1", kept(("transaction", transaction("a1", 0, 10, release="web@1"))), received=1)
    store.add(
        "2",
        kept(("transaction", transaction("b1", 2, 8, parent="a1", release="api@1"))),
        received=1,
    )
    trace = trace_view(TRACE, store.trace(TRACE, limit=10, most=1 << 20))
    assert tree(trace) == [(0, "a1"), (1, "b1")]
    assert trace.services == (("web", 0), ("api", 1))


def test_streamed_spans_make_the_same_waterfall(store: Store) -> None:
    def streamed(
        span_id: str, parent: str, start: float, end: float, segment: bool
    ) -> dict[str, Any]:
        return {
            "trace_id": TRACE, "span_id": span_id, "parent_span_id": parent, "name": span_id,
            "is_segment": segment, "start_timestamp": start, "end_timestamp": end,
            "attributes": {"service.name": {"value": "shop"}},
        }  # fmt: skip

    batch = {"items": [streamed("b1", "a1", 1, 2, False), streamed("a1", "", 0, 4, True)]}
    trace = view(store, ("span", batch))
    assert tree(trace) == [(0, "a1"), (1, "b1")]
    assert trace.services == (("shop", 0),)


def test_errors_stand_at_their_span_or_above_all(store: Store) -> None:
    def failure(span_id: str) -> dict[str, Any]:
        return {
            "message": f"at {span_id}",
            "contexts": {"trace": {"trace_id": TRACE, "span_id": span_id}},
        }

    trace = view(
        store, ("transaction", transaction("a1", 0, 1)), ("event", failure("a1")), ("event", failure("f0")),
        ("log", {"items": [{"body": "hello", "trace_id": TRACE}]}),
    )  # fmt: skip
    assert [error.summary.title for error in trace.bars[0].errors] == ["at a1"]
    assert [error.summary.title for error in trace.errors] == ["at f0"]
    assert [log.summary.title for log in trace.logs] == ["hello"]


def test_spans_in_a_circle_are_shown_all_the_same(store: Store) -> None:
    spans = [
        span("b1", "b2", 1, 2),
        span("b2", "b1", 2, 3),
        span("c1", "c1", 3, 4),
        span("", "", 1, 2),
    ]
    trace = view(store, ("transaction", transaction("a1", 0, 10, spans=spans)))
    assert sorted(identity for _, identity in tree(trace)) == ["", "a1", "b1", "b2", "c1"]


def test_of_too_many_spans_the_earliest_are_shown(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SPANS", 3)
    spans = [span(f"b{number}", "a1", number, number + 1) for number in range(5)]
    trace = view(store, ("transaction", transaction("a1", 0, 10, spans=spans)))
    assert ([identity for _, identity in tree(trace)], trace.hidden) == (["a1", "b0", "b1"], 3)


def test_spans_without_a_beginning_or_an_end(store: Store) -> None:
    spans = [
        span("b1", "a1", 1, 2),
        {"span_id": "b2"},
        {**span("b3", "a1", 3, 4), "timestamp": None},
    ]
    trace = view(store, ("transaction", transaction("a1", 0, 10, spans=spans)))
    assert [(bar.span.span_id, bar.lasts) for bar in trace.bars] == [
        ("a1", 10_000),
        ("b1", 1000),
        ("b3", 0),
    ]


def test_a_trace_of_which_nothing_took_time_or_is_left(store: Store) -> None:
    trace = view(store, ("transaction", transaction("a1", 5, 5)))
    assert (trace.lasts, trace.bars[0].left, trace.bars[0].width) == (0, 0, 0.4)
    gone = store.trace(TRACE, limit=1, most=0)
    assert (trace_view(TRACE, gone).bars, trace_view(TRACE, gone).hidden) == ((), 1)


def test_a_service_is_named_as_well_as_can_be() -> None:
    named = {"sdk": {"name": "sentry.python.django"}, "release": "b" * 40}
    assert service_name("shop", named, {}) == "shop"
    assert service_name("1", named, {}) == "project 1 · python"
    assert service_name("shop", {"release": "till@1"}, {}) == "till"
    sdk = {"sdk": {"name": "sentry.javascript.node"}}
    assert service_name("1", sdk, {"service.name": "shop"}) == "shop"
    assert service_name("1", {"release": "web@2"}, {}) == "web"
    assert service_name("3", {**sdk, "release": "a" * 40}, {}) == "project 3 · javascript"
    assert service_name("spotlight", {}, {}) == "app"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from("abcd"), st.floats(0, 9), st.floats(0, 9)
        ),
        max_size=6,
    ),
    JSON,
)
def test_every_span_is_shown_once_however_they_hang_together(
    shapes: list[tuple[str, str, float, float]], odd: Any
) -> None:
    from sentry_asgi.inspector.store import Listed
    from sentry_asgi.inspector.views import Summary

    listed = Listed(
        1, "e", 0, "1", Summary("t", "", "info", "", ""), "request", TRACE, "a1", "", None, 0, 1, 1
    )
    try:
        json.dumps(odd, allow_nan=False)
    except ValueError:
        reject()  # Python's own, no JSON: refused as a whole
    spans = [*(span(name, parent, start, end) for name, parent, start, end in shapes), odd]
    payload = json.dumps(transaction("a1", 0, 10, spans=spans)).encode()
    trace = trace_view(TRACE, [Stored(listed, payload)])
    odd_one = isinstance(odd, dict) and "start_timestamp" in odd
    assert len(trace.bars) == len(shapes) + 1 + odd_one
    assert all(0 <= bar.left <= 100 and 0 < bar.width <= 100 for bar in trace.bars)
