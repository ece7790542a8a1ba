"""Equal errors as one: counts, times, routes, echoes, and what a reload has changed."""

from __future__ import annotations

from typing import Any

import pytest

from sentry_asgi.inspector.issues import COLUMNS, describe, issue_of, issues
from sentry_asgi.inspector.lists import Lists, Row, Wanted
from sentry_asgi.inspector.starts import MAX_STARTS, TOGETHER, keep_start, last_reload, reloads
from sentry_asgi.inspector.store import Filter, Listed, Store

from .support import Inspector, envelope, kept
from .test_groups import failure, frame, rows

TRACE = "ab" * 16
KEY = failure(frame())
OTHER = failure(frame("total"), kind="TypeError", value="no")


def add(store: Store, *events: dict[str, Any], project: str = "shop") -> None:
    for event in events:
        store.add(project, kept(("event", event)), received=1)


def newest(store: Store) -> Listed:
    return store.entries(Filter(["error"]), limit=1)[0]


def test_an_issue_tells_how_often_since_when_and_on_which_routes(store: Store) -> None:
    times = [1000, 1000, 1050, 1160]
    add(store, *({**KEY, "timestamp": at, "transaction": f"/{at}"} for at in times), OTHER)
    other, key = sorted(issues(store, limit=9), key=lambda one: one.count)
    assert (other.count, other.histogram, other.on_routes) == (1, (), 0)
    assert (key.count, key.began, key.ended, key.on_routes) == (4, 1000, 1160, 3)
    assert key.routes[0] == "/1000"
    assert (key.first.moment, key.newest.moment) == (1000, 1160)
    histogram = [0] * COLUMNS
    histogram[0], histogram[5], histogram[-1] = 2, 1, 1
    assert list(key.histogram) == histogram
    assert (key.since_reload, key.is_new, key.is_quiet) == (None, False, False)
    assert issues(store, limit=9, text="TypeError") == [other]
    assert issues(store, limit=9, after=4) == [other]


def test_the_issue_of_any_of_its_errors_is_that_of_the_newest(store: Store) -> None:
    add(store, *({**KEY, "timestamp": at} for at in (1, 2, 3)))
    oldest = store.entries(Filter(["error"]), limit=9)[-1]
    assert issue_of(store, oldest).newest.moment == 3
    assert issue_of(store, oldest) == issue_of(store, newest(store))


def test_an_issue_that_has_made_room_meanwhile_is_what_is_left_of_it(store: Store) -> None:
    add(store, KEY)
    listed = newest(store)
    store.clear()
    issue = issue_of(store, listed)
    assert (issue.count, issue.newest, issue.first) == (1, listed, listed)


def test_a_reload_tells_new_issues_from_quiet_ones(store: Store) -> None:
    add(store, KEY, KEY)
    keep_start(store, "shop", 100)
    assert last_reload(store) is None  # nothing of that service was before
    keep_start(store, "till", 110)
    assert last_reload(store) is None
    keep_start(store, "shop", 120)
    add(store, OTHER)
    by_type = {one.newest.summary.title: one for one in issues(store, limit=9)}
    assert (by_type["KeyError"].is_quiet, by_type["KeyError"].is_new) == (True, False)
    assert (by_type["TypeError"].is_quiet, by_type["TypeError"].is_new) == (False, True)
    add(store, KEY)
    issue = issue_of(store, newest(store))
    assert (issue.count, issue.since_reload, issue.is_new, issue.is_quiet) == (3, 1, False, False)


def test_workers_that_start_together_are_one_start_and_starts_are_bounded(store: Store) -> None:
    for at in (100.0, 100.5, 101.0, 100 + 2 * TOGETHER):
        keep_start(store, "shop", at)
    assert [one.at for one in reloads(store)] == [104.0]
    for number in range(MAX_STARTS + 5):
        keep_start(store, "shop", 200.0 + 10 * number)
    assert len(store.read("SELECT id FROM starts")) == MAX_STARTS


def message(text: str, at: float = 1, level: str = "error", **more: Any) -> dict[str, Any]:
    trace = {"trace": {"trace_id": TRACE, "span_id": "a1"}}
    return {"message": text, "level": level, "timestamp": at, "contexts": trace, **more}


RAISED = {**KEY, "timestamp": 1, "contexts": {"trace": {"trace_id": TRACE, "span_id": "a1"}}}


@pytest.mark.parametrize("raised_first", [True, False])
def test_a_message_beside_an_exception_is_its_echo(store: Store, raised_first: bool) -> None:
    both = [RAISED, message("no price")]
    add(store, *(both if raised_first else both[::-1]))
    (issue,) = issues(store, limit=9)
    assert issue.newest.summary.title == "KeyError"
    assert [one.summary.title for one in issue.echoes] == ["no price"]
    assert len(store.entries(Filter(["error"]), limit=9)) == 2


@pytest.mark.parametrize(
    ("event", "project"),
    [
        (message("late", at=2.5), "shop"),
        (message("mild", level="warning"), "shop"),
        (message("of another service"), "till"),
        (message("of another trace", contexts={"trace": {"trace_id": "cd" * 16}}), "shop"),
        (message("of no trace", contexts={}), "shop"),
    ],
    ids=lambda one: one["message"] if isinstance(one, dict) else one,
)
def test_other_messages_are_issues_of_their_own(
    store: Store, event: dict[str, Any], project: str
) -> None:
    add(store, RAISED)
    add(store, event, project=project)
    assert len(issues(store, limit=9)) == 2
    assert describe(store, [newest(store)]).popitem()[1].echoes == ()


def test_a_message_is_no_echo_of_a_blocked_loop(store: Store) -> None:
    block = failure(frame(), kind="EventLoopBlocked", value="for 200 ms")
    add(store, {**RAISED, **block, "timestamp": 1}, message("no price"))
    assert len(issues(store, limit=9)) == 2


def test_an_older_message_that_is_no_echo_stands_for_its_equals(store: Store) -> None:
    alone = message("no price", contexts={"trace": {"trace_id": "cd" * 16}})
    add(store, alone, RAISED, message("no price"))
    titles = [one.newest.summary.title for one in issues(store, limit=9)]
    assert sorted(titles) == ["KeyError", "no price"]


def test_a_list_tells_of_reloads_between_what_was_before_and_after(inspector: Inspector) -> None:
    store = inspector.store
    add(store, {**KEY, "timestamp": 50})
    for at in (10, 100):
        keep_start(store, "shop", at)
    add(store, {**OTHER, "timestamp": 150})
    page = inspector.get("/?show=errors").text
    assert page.index("TypeError") < page.index("shop reloaded") < page.index("KeyError")
    assert "new since the last reload" in rows(page)[0]
    assert "not since the last reload" in rows(page)[1]
    fragment = inspector.get("/?fragment=1&after=1").text
    assert "shop reloaded" in fragment
    assert "KeyError" not in fragment
    assert "reloaded" not in inspector.get("/?before=1").text
    assert "reloaded" not in inspector.get("/?q=nothing-like-this").text


def test_a_full_page_tells_of_its_own_reloads_only(store: Store) -> None:
    keep_start(store, "shop", 1)
    keep_start(store, "shop", 10)
    for number in range(60):
        add(store, {**KEY, "timestamp": 100 + number, "transaction": f"/{number}"})
    each = Wanted.of({"each": "1"})
    shown = Lists(store).listing(each)
    assert all(isinstance(one, Row) for one in shown.rows)
    older = Wanted.of({"each": "1", "before": str(shown.older)})
    assert not isinstance(Lists(store).listing(older).rows[-1], Row)


def test_a_start_is_told_by_the_app_and_by_no_page(inspector: Inspector) -> None:
    body = b'{"service": "shop"}'
    assert inspector.report(body, "/api/local/start").status_code == 200
    assert inspector.store.read("SELECT service, after FROM starts") == [("shop", 0)]
    assert inspector.report(b"nope", "/api/local/start").status_code == 400
    foreign = inspector.report(body, "/api/local/start", origin="http://localhost:3000")
    assert foreign.status_code == 403


def test_the_row_and_the_page_show_the_histogram(inspector: Inspector) -> None:
    for at in (10, 20):
        inspector.report(
            envelope(
                ("event", {**KEY, "timestamp": at, "transaction": f"/{at}"}), event_id=f"{at:032}"
            )
        )
    for path in ("/", f"/events/{10:032}"):
        page = inspector.get(path).text
        assert page.count("<rect") == 2
        assert "on 2 routes" in page
