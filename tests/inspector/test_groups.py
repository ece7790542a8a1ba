"""Equal errors are one row, whatever they say; its page leads to each of them."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from hypothesis import given, settings

from sentry_asgi.inspector.sites import site_of
from sentry_asgi.inspector.store import Filter, Store

from .support import ID, Inspector, envelope, kept
from .test_views import EVENT

TRACE = "ab" * 16
TIMES = "\N{MULTIPLICATION SIGN}"


def frame(
    function: str = "price", path: str = "/srv/stock.py", line: int = 44, **more: Any
) -> dict[str, Any]:
    return {"function": function, "abs_path": path, "lineno": line, "in_app": True, **more}


def failure(
    *frames: dict[str, Any], kind: str = "KeyError", value: str = "'bananas'", **more: Any
) -> dict[str, Any]:
    exception = {"type": kind, "value": value, "stacktrace": {"frames": list(frames)}}
    return {"exception": {"values": [{"type": "Cause"}, exception]}, "level": "error", **more}


EQUAL = failure(frame("main"), frame(), frame("get", "/lib/db.py", in_app=False))


@pytest.mark.parametrize(
    ("event", "equal"),
    [
        (failure(frame(), value="'apples'"), True),
        (failure(frame(line=50), transaction="other"), True),
        (failure(frame(), frame("other", "/lib/orm.py", in_app=False)), True),
        (failure(frame(), kind="IndexError"), False),
        (failure(frame("total")), False),
        (failure(frame(path="/srv/till.py")), False),
        (failure(), False),
    ],
)
def test_errors_are_equal_by_type_and_innermost_function_of_the_app(
    event: dict[str, Any], equal: bool
) -> None:
    assert (site_of(event).key == site_of(EQUAL).key) == equal
    assert site_of(EQUAL).place == "stock.py:44 in price"


def test_where_no_frame_is_the_apps_the_innermost_counts() -> None:
    frames = [frame("serve", in_app=False), frame("get", "/lib/db.py", None, in_app=False)]  # type: ignore[arg-type]
    assert site_of(failure(*frames)).place == "db.py in get"
    assert site_of(failure(transaction="a")).key != site_of(failure(transaction="b")).key


def test_messages_are_equal_by_their_template() -> None:
    def log(template: str, formatted: str, logger: str = "shop") -> str:
        return site_of(
            {"logentry": {"message": template, "formatted": formatted}, "logger": logger}
        ).key

    assert log("no %s", "no tea") == log("no %s", "no milk")
    assert log("no %s", "no tea") != log("no %d", "no tea")
    assert log("no %s", "no tea") != log("no %s", "no tea", "till")
    assert site_of({"message": "a"}).key == site_of({"message": {"message": "a"}}).key


def test_a_message_has_the_place_that_it_came_from() -> None:
    stack = {"frames": [frame("main"), frame(), frame("log", "/lib/logging.py", in_app=False)]}
    threads = {"values": [{"id": 1}, {"id": 2, "stacktrace": stack}]}
    for event in ({"message": "a", "threads": threads}, {"message": "a", "stacktrace": stack}):
        assert site_of(event).place == "stock.py:44 in price"
        assert site_of(event).key == site_of({"message": "a"}).key


def test_a_log_has_the_place_that_it_came_from(store: Store) -> None:
    told = {
        "code.file.path": "/srv/stock.py",
        "code.line.number": 44,
        "code.function.name": "price",
    }
    log = {"body": "no tea", "attributes": {name: {"value": value} for name, value in told.items()}}
    store.add("1", kept(("log", {"items": [log, {"body": "tea"}]})), received=1)
    assert [one.spot for one in store.entries(limit=2)] == ["", "stock.py:44 in price"]


@settings(max_examples=60, deadline=None)
@given(EVENT)
def test_any_event_has_its_site(event: dict[str, Any]) -> None:
    assert re.fullmatch("[0-9a-f]{24}", site_of(event).key)
    site_of(event).place.encode()


def rows(page: str) -> list[str]:
    found = re.findall(r'<li class="row.*?</li>', page, re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]*>", " ", row)).split()) for row in found]


def test_equal_errors_are_one_row_until_each_is_asked_for(inspector: Inspector) -> None:
    for number in range(3):
        event = {**EQUAL, "timestamp": 60 * number}
        inspector.report(envelope(("event", event), event_id=f"{number:032}"))
    inspector.report(envelope(("event", failure(frame(), kind="Other", level="fatal"))))
    (_, row) = rows(inspector.get("/?show=errors").text)
    assert f"KeyError 'bananas' stock.py:44 in price {TIMES}3 since" in row
    assert re.search(
        r'class="times" title="first 1970-01-01 [0-9:]+, last 1970-01-01 [0-9:]+"',
        inspector.get("/").text,
    )
    assert len(rows(inspector.get("/?show=errors&each=1").text)) == 4
    assert len(rows(inspector.get("/?q=bananas").text)) == 4  # a search is for single ones
    assert len(rows(inspector.get("/?level=fatal").text)) == 1
    assert TIMES not in inspector.get("/?each=1").text


def test_the_newest_of_a_level_stands_for_its_equals(store: Store) -> None:
    for level in ("warning", "error"):
        store.add("1", kept(("event", {**EQUAL, "level": level})), received=1)
    for level in ("warning", "error", ""):
        assert len(store.entries(Filter(level=level, grouped=True), limit=9)) == 1


def test_the_page_of_an_error_leads_to_its_equals(inspector: Inspector) -> None:
    for number in range(3):
        inspector.report(envelope(("event", EQUAL), event_id=f"{number:032}"))
    inspector.report(envelope(("event", failure(frame(), kind="Other")), event_id=ID))
    pages = [inspector.get(f"/events/{number:032}").text for number in range(3)]
    links = [
        re.findall(r'id="(older|newer)-equal" href="/events/0{31}(\d)"', page) for page in pages
    ]
    assert links == [[("newer", "1")], [("older", "0"), ("newer", "2")], [("older", "1")]]
    assert all(f"{TIMES}3 since" in page for page in pages)
    assert "-equal" not in inspector.get(f"/events/{ID}").text


def test_a_log_that_repeats_an_error_belongs_to_it(inspector: Inspector) -> None:
    trace = {"contexts": {"trace": {"trace_id": TRACE, "span_id": "a1"}}}
    logged = {
        "logentry": {"message": "no %s", "formatted": "no tea"},
        "level": "error",
        "logger": "shop",
        **trace,
    }

    def log(body: str, trace_id: str = TRACE) -> tuple[str, Any]:
        return "log", {"items": [{"body": body, "level": "error", "trace_id": trace_id}]}

    inspector.report(envelope(("event", {**EQUAL, **trace}), event_id=ID))
    inspector.report(envelope(("event", logged)))
    inspector.report(envelope(log("no tea"), log("no milk"), log("no tea", "cd" * 16)))
    shown = rows(inspector.get("/").text)
    assert len(shown) == 3
    assert "also logged: no tea" in shown[2]
    assert len(rows(inspector.get("/?each=1").text)) == 5
    assert len(rows(inspector.get("/?show=logs").text)) == 2
    page = inspector.get(f"/events/{ID}").text
    beside = page.partition("In the same trace")[2]
    assert beside.count("no tea") == 2  # the event that the log made, and the log
    assert "no milk" in beside
    assert "In the same trace" not in inspector.get(f"/events/{'0' * 32}").text
