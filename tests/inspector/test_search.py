"""The search box: every term finds what it says, alone, turned round and together; nothing is an error."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings, strategies as st

from sentry_asgi.inspector.lists import Wanted
from sentry_asgi.inspector.pages import _search_url
from sentry_asgi.inspector.search import MAX_TERMS, conditions, quoted
from sentry_asgi.inspector.store import Filter, Store
from sentry_asgi.inspector.texts import MAX_CHARACTERS, error_text

from .support import error, kept
from .test_groups import failure, frame
from .test_views import EVENT

TRACE = "ab" * 16


def request(method: str, path: str, status: int, took: float, **more: Any) -> dict[str, Any]:
    return {
        "request": {"method": method, "url": f"http://shop{path}", "query_string": "cups=2&kind=Earl"},
        "contexts": {"trace": {"trace_id": TRACE, "span_id": f"a{status}"}, "response": {"status_code": status}},
        "transaction": f"shop{path}", "start_timestamp": 0, "timestamp": took, **more,
    }  # fmt: skip


def log(text: str, level: str, logger: str, **attributes: Any) -> tuple[str, Any]:
    told = {name: {"value": value} for name, value in {"logger.name": logger, **attributes}.items()}
    return "log", {"items": [{"body": text, "level": level, "attributes": told}]}


@pytest.fixture
def full(store: Store) -> Store:
    deep = failure(
        frame("load_prices", "/srv/pricing/stock_keeper.py"), kind="KeyError", value="'bananas'",
        user={"email": "ann@example.org"}, tags={"plan": "gold"}, transaction="shop.price",
        breadcrumbs={"values": [{"message": "opening the till"}]}, release="shop@1",
    )  # fmt: skip
    spans = [{"description": "SELECT * FROM biscuits", "op": "db"}]
    store.add("shop", kept(("event", deep)), received=1)
    store.add(
        "shop", kept(("transaction", request("GET", "/orders", 200, 0.05, spans=spans))), received=2
    )
    store.add("till", kept(("transaction", request("POST", "/orders", 422, 0.25))), received=3)
    store.add("till", kept(("transaction", request("GET", "/tea", 503, 2))), received=4)
    store.add(
        "shop", kept(log("milk is low", "warn", "shop.stock", litres=2, shelf="north")), received=5
    )
    store.add("shop", kept(log("tea is gone", "error", "shop.stocked")), received=6)
    return store  # fmt: skip


def found(store: Store, text: str) -> set[str]:
    return {
        f"{one.summary.title} {one.status}".strip()
        for one in store.entries(Filter(text=text), limit=50)
    }


KEY, GET, POST, TEA, MILK, GONE = (
    "KeyError", "GET /orders 200", "POST /orders 422", "GET /tea 503", "milk is low", "tea is gone",
)  # fmt: skip
ALL = {KEY, GET, POST, TEA, MILK, GONE}


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ("", ALL),
        ("tea", {TEA, GONE}),
        ("TEA", {TEA, GONE}),
        ("!tea", ALL - {TEA, GONE}),
        ("tea gone", {GONE}),
        ('"is gone"', {GONE}),
        ('"gone is"', set()),
        ('!"is gone" tea', {TEA}),
        ('"never closed', set()),
        # What a row does not show.
        ("bananas", {KEY}),
        ("load_prices", {KEY}),
        ("prices", {KEY}),
        ("stock_keeper", {KEY}),
        ("error", {KEY}),
        ("ann@example.org", {KEY}),
        ("gold", {KEY}),
        ("till", {KEY}),
        ("shop@1", {KEY}),
        ("biscuits", {GET}),
        ("earl", {GET, POST, TEA}),
        ("nor", {MILK}),
        # Fields.
        ("status:200", {GET}),
        ("status:5xx", {TEA}),
        ("status:4XX", {POST}),
        ("status:>=422", {POST, TEA}),
        ("status:>4xx", {TEA}),
        ("status:<400", {GET}),
        ("status:<=422", {GET, POST}),
        ("!status:200", ALL - {GET}),
        (">200ms", {POST, TEA}),
        (">=2s", {TEA}),
        ("<0.1s", {GET}),
        ("duration:>200ms status:5xx", {TEA}),
        ("duration:1s", {TEA}),
        ("route:/orders", {GET, POST}),
        ("route:shop.price", {KEY}),
        ("service:till", {POST, TEA}),
        ("service:SHOP", {KEY, GET, MILK, GONE}),
        ("logger:shop.stock", {MILK}),
        ("logger:shop", {MILK, GONE}),
        ("level:warning", {POST, MILK}),
        ("level:>=error", {KEY, TEA, GONE}),
        ("level:>warning", {KEY, TEA, GONE}),
        ("level:<=warning", {GET, POST, MILK}),
        ("level:<warning", {GET}),
        ("method:post", {POST}),
        (f"trace:{TRACE[:8]}", {GET, POST, TEA}),
        ("!method:get route:/orders", {POST}),
        # What makes no sense is looked for as it is.
        ("status:tea", set()),
        ("status:ok", set()),
        ("level:tea", set()),
        ("level:<>warning", set()),
        (">tea", {TEA}),
        ("<", set()),
        ("http://shop", {GET, POST, TEA}),
        ("kind:x", set()),
        ("!", set()),
        ("*", set()),
        ("%", set()),
    ],
)
def test_a_search_finds_what_it_says(full: Store, text: str, titles: set[str]) -> None:
    assert found(full, text) == titles


def test_what_has_made_room_is_not_found(tmp_path: Any) -> None:
    store = Store(tmp_path / "a.sqlite3", max_envelopes=2)
    for word in ("first", "second", "third"):
        store.add("1", kept(("event", error(tags={"word": word}))), received=1)
    assert [len(store.entries(Filter(text=word), limit=9)) for word in ("first", "third")] == [0, 1]
    assert store.read("SELECT count(*) FROM texts") == [(2,)]
    store.clear()
    assert store.read("SELECT count(*) FROM texts") == [(0,)]
    store.add("1", kept(("event", error(tags={"word": "fourth"}))), received=1)
    assert len(store.entries(Filter(text="fourth"), limit=9)) == 1
    store.close()


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from('!:"<>=% *()^-'), max_size=40)
)
def test_no_search_is_an_error(text: str) -> None:
    import sqlite3

    from sentry_asgi.inspector.schema import create

    connection = sqlite3.connect(":memory:", isolation_level=None)
    create(connection)
    for condition in conditions(text):
        connection.execute(
            "SELECT entries.id FROM entries JOIN items ON items.id = entries.item"
            f" WHERE {condition.sql}",
            condition.values,
        ).fetchall()
    connection.close()
    assert len(conditions(text)) <= MAX_TERMS + 1


@settings(max_examples=60, deadline=None)
@given(EVENT)
def test_any_event_has_words(event: dict[str, Any]) -> None:
    words = error_text(event)
    words.encode()
    assert len(words) <= MAX_CHARACTERS * 4


@pytest.mark.parametrize(
    ("value", "term"),
    [
        ("/orders/{id}", "route:/orders/{id}"),
        ("tea shop", 'route:"tea shop"'),
        ('a "b"', 'route:"a  b "'),
    ],
)
def test_a_value_is_a_term_that_finds_it(value: str, term: str) -> None:
    assert quoted("route", value) == term
    query = parse_qs(urlsplit(_search_url("route", value)).query)
    assert query == {"q": [term]}


def test_a_list_has_its_address() -> None:
    wanted = Wanted.of({"show": "errors", "q": "a b", "level": "error", "each": "1", "before": "7"})
    assert wanted.url(before=5) == "/?show=errors&q=a+b&level=error&each=1&before=5"
    assert Wanted.of({}).url() == "/"
