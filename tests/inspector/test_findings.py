"""What is wrong with a request: each rule at its threshold and below it, and nothing that is not so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentry_asgi.inspector import findings as module
from sentry_asgi.inspector.findings import (
    GAP,
    IN_A_ROW,
    LARGE_RESPONSE,
    MANY,
    MANY_CALLS,
    MAX_FINDINGS,
    ROW_TIME,
    SLOW_QUERY,
    Finding,
    findings,
    milliseconds,
)
from sentry_asgi.inspector.shapes import code_place, shape
from sentry_asgi.inspector.spans import Span, spans_of
from sentry_asgi.inspector.store import Store

from .support import kept
from .test_trace import TRACE, transaction

DOCS = Path(__file__).parents[2] / "docs" / "findings.md"
CODE = {"code.file.path": "/srv/orders.py", "code.line.number": 41, "code.function.name": "load"}


def span(
    identity: str, op: str, text: str, start: float, end: float, parent: str = "a1", **data: Any
) -> dict[str, Any]:
    """A span of the request that takes ten seconds from the moment 0; times are in milliseconds."""
    return {
        "trace_id": TRACE, "span_id": identity, "parent_span_id": parent, "op": op, "description": text,
        "start_timestamp": start / 1000, "timestamp": end / 1000, "data": data,
    }  # fmt: skip


def query(n: int, text: str = "SELECT 1", took: float = 1, **more: Any) -> dict[str, Any]:
    return span(f"b{n}", "db", text, n * 10, n * 10 + took, **more)


def call(n: int, text: str, start: float, end: float, **more: Any) -> dict[str, Any]:
    return span(f"c{n}", "http.client", text, start, end, **more)


def diagnose(
    store: Store, *spans: dict[str, Any], lasts: float = 80, **trace: Any
) -> list[Finding]:
    request = transaction("a1", 0, lasts / 1000, spans=list(spans))
    request["contexts"]["trace"].update(trace)
    store.add("1", kept(("transaction", request)), received=1)
    found = store.trace(TRACE, limit=1000, most=1 << 20)
    return findings(list(spans_of(found)), [one.listed for one in found])


def rules(found: list[Finding]) -> list[str]:
    return [one.rule for one in found]


@pytest.mark.parametrize("op", ["db", "db.query", "db.sql.execute"])
def test_a_query_for_each_row_is_found_whatever_its_values(store: Store, op: str) -> None:
    texts = [f"SELECT * FROM teas WHERE id = {n} AND kind = 'x{n}'" for n in range(MANY)]
    spans = [{**query(n, text, 2, **(CODE if n else {})), "op": op} for n, text in enumerate(texts)]
    (one,) = diagnose(store, *spans)
    assert (one.rule, one.count, one.subject) == (
        "n-plus-one", MANY, "SELECT * FROM teas WHERE id = ? AND kind = ?",
    )  # fmt: skip
    assert (one.where, one.span_id, one.within) == ("orders.py:41 in load", "b0", "ta1")
    assert one.badge == "N+1 \N{MULTIPLICATION SIGN}5"
    assert "5\N{MULTIPLICATION SIGN} the same query, 2.0 ms each" in one.title


def test_few_of_them_other_spans_and_those_of_other_parents_are_fine(store: Store) -> None:
    few = [query(n) for n in range(MANY - 1)]
    others = [span(f"d{n}", "template", "teas.html", n, n + 1) for n in range(9)]
    apart = [query(n + 20, "SELECT 2", parent=f"e{n}") for n in range(9)]
    assert diagnose(store, *few, *others, *apart) == []


def test_a_query_that_takes_long_is_found_once_by_its_slowest(store: Store) -> None:
    spans = [query(n, f"SELECT {n}", SLOW_QUERY + n) for n in range(2)]
    (one,) = diagnose(store, *spans, query(3, "SELECT x", SLOW_QUERY - 1))
    assert (one.rule, one.count, one.span_id) == ("slow-query", 2, "b1")
    assert one.title == "A query that takes 101 ms, 2 times"
    assert one.badge == "slow query 101 ms"


def test_the_same_call_again_and_again_is_found_if_it_is_safe(store: Store) -> None:
    same = [call(n, "GET http://till/tax", n, n + 1) for n in range(MANY_CALLS)]
    (one,) = diagnose(store, *same)
    assert (one.rule, one.count, one.subject) == ("repeated-call", 3, "GET http://till/tax")


@pytest.mark.parametrize("data", [{}, {"http.query": "id={n}"}])
def test_calls_that_differ_or_change_something_are_not_the_same(
    store: Store, data: dict[str, str]
) -> None:
    verb = "GET" if data else "POST"
    told = [{name: text.format(n=n) for name, text in data.items()} for n in range(5)]
    spans = [call(n, f"{verb} http://till/tax", n, n + 1, **told[n]) for n in range(5)]
    assert diagnose(store, *spans) == []


def test_calls_one_after_the_other_are_found_if_they_take_long(store: Store) -> None:
    each = ROW_TIME / IN_A_ROW
    row = [call(n, f"GET http://s{n}/", n * each, (n + 1) * each, **CODE) for n in range(IN_A_ROW)]
    (one,) = diagnose(store, *row, lasts=110)
    assert (one.rule, one.count, one.where) == ("calls-in-a-row", 3, "orders.py:41 in load")
    assert "as long as the longest, 33 ms" in one.advice


@pytest.mark.parametrize("starts", [(0, 10, 40), (0, 60)], ids=["at the same time", "only two"])
def test_calls_at_once_or_few_are_fine(store: Store, starts: tuple[float, ...]) -> None:
    row = [call(n, f"GET http://s{n}/", start, start + 50) for n, start in enumerate(starts)]
    assert diagnose(store, *row) == []


def test_calls_in_a_row_that_are_short_are_fine(store: Store) -> None:
    row = [call(n, f"GET http://s{n}/", n * 10, n * 10 + 9) for n in range(8)]
    assert diagnose(store, *row) == []


@pytest.mark.parametrize(
    ("size", "found"),
    [(LARGE_RESPONSE, ["large-response"]), (LARGE_RESPONSE - 1, []), ("x", []), ("9" * 40, [])],
)
def test_a_large_response_is_found(store: Store, size: Any, found: list[str]) -> None:
    assert rules(diagnose(store, data={"http.response.body.size": size})) == found


def blocked(store: Store, text: str = "The event loop was blocked for 812 ms") -> None:
    frames = [{"function": "report", "abs_path": "/srv/stock.py", "lineno": 44, "in_app": True}]
    exception = {
        "type": "EventLoopBlocked", "value": text, "stacktrace": {"frames": frames},
        "mechanism": {"type": "ANR"},
    }  # fmt: skip
    event = {"exception": {"values": [exception]}, "contexts": {"trace": {"trace_id": TRACE}}}
    store.add("1", kept(("event", event), event_id="d" * 32), received=1)


@pytest.mark.parametrize(
    ("text", "lasts"), [("blocked for 812 ms", 812), ("for 1.5s", 1500), ("blocked", 0)]
)
def test_a_blocked_loop_is_told_with_its_line_and_explains_the_gap(
    store: Store, text: str, lasts: float
) -> None:
    blocked(store, text)
    (one,) = diagnose(store, query(1), lasts=GAP * 9)
    assert (one.rule, one.title, one.where) == ("loop-blocked", text, "stock.py:44 in report")
    assert (one.event_id, one.lasts) == ("d" * 32, lasts)


def test_what_the_span_tells_of_a_block_is_exact_and_leads_to_the_event(store: Store) -> None:
    blocked(store, "Event Loop Blocked for at least 200 ms")
    data = {"event_loop.blocked_ms": 812, "event_loop.blocked_in": "stock.py:45 in add"}
    (one,) = diagnose(store, query(1), lasts=GAP * 9, data=data)
    assert (one.title, one.where) == ("The event loop was blocked for 812 ms", "stock.py:45 in add")
    assert (one.event_id, one.span_id, one.badge) == ("d" * 32, "a1", "loop blocked 812 ms")


def test_a_block_that_only_the_span_tells_of_is_found(store: Store) -> None:
    (one,) = diagnose(store, data={"event_loop.blocked_ms": 812})
    assert (one.rule, one.event_id) == ("loop-blocked", "")


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ((150, 160), (170, 200), "150 ms that no span explains, before the first span"),
        ((0, 40), (190, 195), "150 ms that no span explains, after SELECT 1"),
        ((0, 10), (10, 50), "150 ms that no span explains, after SELECT 2"),
        ((0, 120), (10, 50), None),
        ((0, 60), (130, 200), None),
    ],
)
def test_a_time_that_no_span_explains_is_told_from_its_threshold_on(
    store: Store, first: tuple[float, float], second: tuple[float, float], told: str | None
) -> None:
    spans = [span("b1", "x", "SELECT 1", *first), span("b2", "x", "SELECT 2", *second)]
    found = diagnose(store, *spans, lasts=200)
    assert [one.title for one in found if one.rule == "gap"] == ([told] if told else [])


def test_wrappers_explain_nothing_and_what_follows_the_response_needs_no_explanation(
    store: Store,
) -> None:
    wrapper = span("e1", "middleware", "Session", 0, 200)
    (one,) = diagnose(store, wrapper, query(0, parent="e1"), lasts=200)
    assert (one.rule, one.badge, one.span_id) == ("gap", "gap 199 ms", "b0")


def test_a_stream_is_no_gap(store: Store) -> None:
    data = {"http.request.time_to_first_byte": 0.05}
    assert diagnose(store, query(0), lasts=5000, data=data) == []


def test_a_request_without_spans_and_a_short_share_of_a_long_one_are_no_gaps(store: Store) -> None:
    assert diagnose(store, lasts=900) == []
    spans = [span(f"b{n}", "x", f"s{n}", n * 100 + GAP / 2, n * 100 + 100) for n in range(9)]
    assert diagnose(store, *spans, lasts=1000) == []


def test_those_that_take_longest_come_first_and_not_all_of_them(store: Store) -> None:
    spans = [
        span(f"d{table:x}{n}", "db", f"SELECT {'x' * table}", n, n + table)
        for table in range(1, MAX_FINDINGS + 3)
        for n in range(MANY)
    ]
    found = diagnose(store, *spans)
    assert len(found) == MAX_FINDINGS
    assert found[0].subject == f"SELECT {'x' * (MAX_FINDINGS + 2)}"


@pytest.mark.parametrize(
    ("query_", "known"),
    [
        ("SELECT a1 FROM t2 WHERE x = 7", "SELECT a1 FROM t2 WHERE x = ?"),
        ("IN (1, 2,3)", "IN (?)"),
        ("IN ($1, $2)", "IN (?)"),
        ("IN (%s, %(id)s)", "IN (?)"),
        ("name = 'O''Hara'  AND\n y = 1.5", "name = ? AND y = ?"),
        ("'not closed", "'not closed"),
    ],
)
def test_queries_are_the_same_if_only_values_differ(query_: str, known: str) -> None:
    assert shape(query_) == known


def test_a_line_is_named_as_well_as_it_is_told() -> None:
    assert code_place({}) == ""
    assert code_place({"code.filepath": "a/b.py"}) == "b.py"
    assert code_place({"code.filepath": "a/b.py", "code.lineno": 7}) == "b.py:7"
    assert code_place(CODE) == "orders.py:41 in load"
    assert [milliseconds(one) for one in (0.5, 12, 1500)] == ["0.5 ms", "12 ms", "1.50 s"]


def test_the_docs_name_every_rule_with_its_threshold() -> None:
    text = DOCS.read_text()
    for rule in ("n-plus-one", "slow-query", "repeated-call", "calls-in-a-row", "loop-blocked",
                 "large-response", "gap", "rejected"):  # fmt: skip
        assert f"`{rule}`" in text
    for name in ("MANY", "SLOW_QUERY", "MANY_CALLS", "IN_A_ROW", "ROW_TIME", "GAP"):
        assert f"{getattr(module, name):g}" in text
    assert "1 MB" in text
    assert LARGE_RESPONSE == 1 << 20


def test_a_span_tells_the_first_fact_that_it_has() -> None:
    one = Span("a", "", "n", "db", "s", "", 0, 1, (("x", ""), ("y", "2")))
    assert (one.fact("x", "y"), one.fact("z")) == ("2", "")
