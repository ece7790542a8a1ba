"""What a trace tells of itself: queries that are made again and again."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from sentry_asgi.inspector.findings import MANY, MAX_FINDINGS, repeated, shape
from sentry_asgi.inspector.store import Store

from .support import Inspector, envelope
from .test_browser import open_list, page  # noqa: F401  # a fixture
from .test_trace import TRACE, span, transaction, view


def queries(store: Store, *spans: dict[str, Any]) -> list[tuple[str, int]]:
    found = view(store, ("transaction", transaction("a1", 0, 10, spans=list(spans))))
    return [(one.query, one.count) for one in repeated(found.bars)]


def query(number: int, text: str, parent: str = "a1", op: str = "db") -> dict[str, Any]:
    return {**span(f"b{number}", parent, number, number + 0.5), "op": op, "description": text}


@pytest.mark.parametrize("op", ["db", "db.query", "db.sql.execute"])
def test_a_query_for_each_row_is_found_whatever_its_values(store: Store, op: str) -> None:
    spans = [
        query(n, f"SELECT * FROM teas WHERE id = {n} AND kind = 'x{n}'", op=op) for n in range(MANY)
    ]
    assert queries(store, *spans) == [("SELECT * FROM teas WHERE id = ? AND kind = ?", MANY)]


def test_few_of_them_other_spans_and_those_of_other_parents_are_fine(store: Store) -> None:
    few = [query(n, "SELECT 1") for n in range(MANY - 1)]
    others = [query(n + 10, "GET /teas/1", op="http.client") for n in range(9)]
    apart = [query(n + 30, "SELECT 2", parent=f"c{n}") for n in range(9)]
    assert queries(store, *few, *others, *apart) == []


def test_those_that_take_longest_come_first_and_not_all_of_them(store: Store) -> None:
    spans = [
        {**span(f"d{table:x}{n}", "a1", n, n + 0.1 * table), "description": f"SELECT {'x' * table}"}
        for table in range(1, MAX_FINDINGS + 3)
        for n in range(MANY)
    ]
    found = queries(store, *spans)
    assert len(found) == MAX_FINDINGS
    assert found[0] == (f"SELECT {'x' * (MAX_FINDINGS + 2)}", MANY)


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


def test_what_stands_out_leads_to_its_spans(page: Page, inspector: Inspector) -> None:  # noqa: F811
    spans = [query(n, f"SELECT * FROM teas WHERE id = {n}") for n in range(7)]
    assert inspector.report(
        envelope(("transaction", transaction("a1", 0, 10, spans=spans)))
    ).is_success
    open_list(page, f"/traces/{TRACE}")
    finding = page.locator(".findings li")
    expect(finding).to_contain_text("SELECT * FROM teas WHERE id = ?")
    expect(finding).to_contain_text("7 times")
    finding.get_by_role("link").click()
    expect(page.locator("#span-b0 details")).to_have_attribute("open", "")
