"""Figures of routes and queries: right by hand-made numbers, compared across a reload."""

from __future__ import annotations

from typing import Any

import pytest

from sentry_asgi.inspector.calls import CALL, MAX_SHAPES, calls_of
from sentry_asgi.inspector.figures import Times, percentile, queries, routes
from sentry_asgi.inspector.starts import keep_start
from sentry_asgi.inspector.store import Store

from .support import Inspector, kept
from .test_findings import CODE, call, query
from .test_requests import streamed
from .test_trace import transaction


def add(
    store: Store, name: str, *times: float, status: int = 200, spans: Any = (), **more: Any
) -> None:
    for took in times:
        one = transaction("a1", 0, took, spans=list(spans), **more)
        one["contexts"]["response"] = {"status_code": status}
        store.add("shop", kept(("transaction", {**one, "transaction": name})), received=1)


def test_a_route_has_its_figures(store: Store) -> None:
    add(store, "/tea", *[n / 100 for n in range(1, 19)], spans=[query(1), query(2)])
    add(store, "/tea", 0.19, 2.0, status=500)
    add(store, "/milk", 5)
    milk, tea = routes(store)
    assert (milk.name, milk.service, milk.before) == ("/milk", "shop", None)
    assert tea.times == Times(20, 2, 100, tea.times.p95, 2000, 36 / 20)
    assert round(tea.times.p95) == 190


def test_figures_are_of_what_came_since_a_reload_beside_those_before(store: Store) -> None:
    add(store, "/tea", 0.1, 0.2)
    add(store, "/milk", 0.3)
    keep_start(store, "shop", 1)
    keep_start(store, "shop", 9)
    add(store, "/tea", 0.4)
    by_name = {one.name: one for one in routes(store)}
    tea, milk = by_name["/tea"], by_name["/milk"]
    assert (tea.times.count, tea.times.p50) == (1, 400)
    assert tea.before is not None
    assert (tea.before.count, tea.before.p50, tea.before.slowest) == (2, 100, 200)
    assert (milk.times.count, milk.before) == (1, None)


@pytest.mark.parametrize(
    ("values", "share", "value"),
    [([1], 95, 1), ([1, 2], 50, 1), ([1, 2, 3], 50, 2), ([1, 2], 95, 2)],
)
def test_a_percentile_is_a_measured_value(values: list[float], share: float, value: float) -> None:
    assert percentile(values, share) == value


def test_a_query_has_its_figures_whatever_its_values(store: Store) -> None:
    spans = [query(n, f"SELECT {n}", n, **(CODE if n == 3 else {})) for n in range(1, 4)]
    add(store, "/tea", 1, spans=spans)
    add(store, "/milk", 1, spans=[query(1, "SELECT 9", 1), query(2, "UPDATE x", 9)])
    update, select = queries(store)
    assert (update.shape, update.count, update.place) == ("UPDATE x", 1, "")
    assert (select.shape, select.count, round(select.total), round(select.slowest)) == (
        "SELECT ?",
        4,
        7,
        3,
    )
    assert (select.place, set(select.routes)) == ("orders.py:41 in load", {"/tea", "/milk"})
    assert select.request_id == "a1"


def test_outgoing_calls_are_summed_by_host(store: Store) -> None:
    spans = [call(n, f"GET http://till/tax/{n}", n, n + 1) for n in range(3)]
    add(store, "/tea", 1, spans=[*spans, call(4, "GET http://[bad/", 0, 1), query(1)])
    assert {(one.shape, one.count) for one in queries(store, CALL)} == {
        ("GET till", 3), ("GET http://[bad/", 1),
    }  # fmt: skip


def test_streamed_spans_have_the_same_figures(store: Store) -> None:
    spans = [streamed(f"b{n}", "a1", f"SELECT {n}", n, n + 0.5, "db") for n in range(4)]
    whole = streamed("a1", "", "/orders", 0, 5, "http.server")
    store.add("shop", kept(("span", {"items": [*spans, whole]})), received=1)
    (route,) = routes(store)
    assert (route.name, route.times.p50, route.times.queries) == ("/orders", 5000, 4)
    (one,) = queries(store)
    assert (one.shape, one.count, one.slowest, one.request_id) == ("SELECT ?", 4, 500, "a1")


def test_of_one_request_a_bounded_number_of_shapes_is_summed() -> None:
    spans = [query(n, f"SELECT {'x' * n}") for n in range(1, MAX_SHAPES + 9)]
    assert len(calls_of(spans)) == MAX_SHAPES
    assert calls_of([{}, {"op": "db"}])[0].total == 0


def test_the_page_shows_them(inspector: Inspector) -> None:
    assert "No request has been traced yet" in inspector.get("/figures").text
    add(inspector.store, "/tea", 0.1, spans=[query(1), call(1, "GET http://till/", 0, 1)])
    add(inspector.store, "/milk", 0.4)
    keep_start(inspector.store, "shop", 1)
    keep_start(inspector.store, "shop", 9)
    add(inspector.store, "/tea", 0.4, status=500)
    add(inspector.store, "/milk", 0.1)
    page = inspector.get("/figures").text
    for text in (
        "/tea",
        "400 ms",
        "SELECT",
        "GET till",
        "shop reloaded",
        "100 ms before the last reload",
    ):
        assert text in page
    assert page.count('class="worse" title') == 2
    assert page.count('class="better" title') == 2
    assert 'href="/?q=route%3A%2Ftea"' in page
