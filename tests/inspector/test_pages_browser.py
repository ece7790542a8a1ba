"""Errors, requests and lists in a real Chromium: what folds, what waits, what leads where."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from sentry_asgi.inspector.exchanges import exchange, keep_exchange
from sentry_asgi.inspector.starts import keep_start

from .support import ID, Inspector, envelope
from .test_app import HOSTILE
from .test_browser import failure, log, open_list, report, rows
from .test_findings import CODE, blocked, call, query, span
from .test_issues import KEY
from .test_requests import RECORD, error_at, log_at
from .test_trace import TRACE, transaction

TIMES = "\N{MULTIPLICATION SIGN}"
NARROW: ViewportSize = {"width": 390, "height": 800}


def busy(inspector: Inspector) -> None:
    """A request with an N+1, slow calls in a row, an error and logs."""
    spans = [
        *[query(n, f"SELECT * FROM teas WHERE id = {n}", 1, **CODE) for n in range(12)],
        *[call(n, f"GET http://s{n}/quote", 200 + n * 50, 245 + n * 50) for n in range(3)],
        span("f1", "middleware", "Session", 0, 390),
    ]
    report(inspector, ("transaction", transaction("a1", 0, 0.4, spans=spans)))
    report(inspector, error_at("a1", 0.39), ("log", {"items": [log_at(0.15, "half way")]}))


def test_what_is_wrong_is_told_in_the_list_and_one_click_leads_to_the_request(
    page: Page,
    inspector: Inspector,
) -> None:
    busy(inspector)
    open_list(page)
    row = page.locator(".kind-request")
    expect(row).to_contain_text(f"N+1 {TIMES}12")
    expect(row).to_contain_text("3 calls in a row")
    row.click()
    page.wait_for_url("**/requests/a1")
    expect(page.locator("h1")).to_contain_text("ta1")
    stands_out = page.locator(".findings li", has_text="N+1")
    expect(stands_out).to_contain_text("12" + TIMES + " the same query, 1.0 ms each")
    expect(stands_out).to_contain_text("from orders.py:41 in load")
    # And on to the first of the twelve, which are one row until then.
    expect(page.locator("#span-b0")).to_be_hidden()
    stands_out.get_by_role("link").click()
    expect(page.locator("#span-b0")).to_be_visible()
    expect(page.locator("#span-b0 details")).to_have_attribute("open", "")


def test_what_a_request_did_is_read_in_order_of_time(page: Page, inspector: Inspector) -> None:
    busy(inspector)
    open_list(page, "/requests/a1")
    moments = page.locator(".moments").first.locator("> li")
    told = [" ".join(text.split()) for text in moments.all_inner_texts()]
    assert told[0].startswith(f"+0.0 ms query {TIMES}12 SELECT * FROM teas WHERE id = ?")
    assert [text.split()[2] for text in told] == ["query", "info", "call", "call", "call", "error"]
    expect(moments.first.locator(".moments li")).to_have_count(12)
    expect(moments.first.locator(".moments li").first).to_be_hidden()
    moments.first.locator("summary").click()
    expect(moments.first.locator(".moments li").first).to_contain_text("id = 0")
    page.locator(".moment-error a").click()
    expect(page.locator("h1")).to_have_text("KeyError")
    page.get_by_role("link", name="Request", exact=True).click()
    page.wait_for_url("**/requests/a1")


def test_a_blocked_loop_is_named_with_its_line(page: Page, inspector: Inspector) -> None:
    blocked(inspector.store, "Event Loop Blocked for at least 200 ms")
    told = {"event_loop.blocked_ms": 812, "event_loop.blocked_in": "stock.py:45 in add"}
    asked = transaction("a1", 0, 0.9)
    asked["contexts"]["trace"]["data"] = told
    report(inspector, ("transaction", asked))
    open_list(page)
    expect(page.locator(".kind-request")).to_contain_text("loop blocked 812 ms")
    page.locator(".kind-request").click()
    finding = page.locator(".findings li")
    expect(finding).to_contain_text("The event loop was blocked for 812 ms from stock.py:45 in add")
    finding.get_by_role("link").click()
    expect(page.locator("h1")).to_have_text("EventLoopBlocked")


def test_a_422_is_explained_beside_what_was_sent(page: Page, inspector: Inspector) -> None:
    asked = transaction("a1", 0, 0.01)
    asked["contexts"]["response"] = {"status_code": 422}
    report(inspector, ("transaction", asked))
    keep_exchange(inspector.store, exchange(RECORD), 1)
    open_list(page)
    expect(page.locator(".kind-request")).to_contain_text("body.customer_id")
    page.locator(".kind-request").click()
    why = page.locator(".why")
    expect(why.locator("h2")).to_have_text("Why 422")
    expect(why).to_contain_text('Input should be a valid integergot "ann"')
    expect(page.locator("#request .body-text")).to_contain_text('customer_id"ann"')
    # Side by side, and one below the other where there is no room.
    left, right = page.locator("#request").bounding_box(), page.locator("#response").bounding_box()
    assert left
    assert right
    assert (left["y"], left["x"] < right["x"]) == (right["y"], True)
    page.set_viewport_size(NARROW)
    left, right = page.locator("#request").bounding_box(), page.locator("#response").bounding_box()
    assert left
    assert right
    assert left["y"] < right["y"]
    page.locator("#response .tree .tree summary").first.click()
    expect(page.locator("#response")).to_contain_text("int_parsing")


@pytest.mark.parametrize(
    "path", ["/", "/requests/a1", f"/events/{ID}", f"/traces/{TRACE}", "/figures"]
)
def test_no_page_is_wider_than_a_telephone(page: Page, inspector: Inspector, path: str) -> None:
    busy(inspector)
    long = {"a" * 90: json.dumps({"b" * 200: ["c" * 300] * 9})}
    event = {
        **failure(),
        "transaction": "x" * 300,
        "tags": long,
        "contexts": {"state": long, **failure()["contexts"]},
    }
    report(inspector, ("event", event), event_id=ID)
    keep_exchange(inspector.store, exchange({**RECORD, "response_body": json.dumps(long)}), 1)
    page.set_viewport_size(NARROW)
    open_list(page, path)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_three_hundred_equal_errors_are_one_row(page: Page, inspector: Inspector) -> None:
    open_list(page)
    for start in range(0, 300, 5):
        report(inspector, *[("event", {**KEY, "timestamp": start + n}) for n in range(5)])
    row = page.locator(".kind-error")
    expect(row).to_contain_text(f"{TIMES}300 since")
    expect(row).to_have_count(1)
    expect(row.locator(".histogram rect")).to_have_count(16)


def test_rows_wait_while_the_pointer_is_on_the_list(page: Page, inspector: Inspector) -> None:
    report(inspector, log("first"))
    open_list(page)
    page.locator(".row").hover()
    report(inspector, log("second"))
    report(inspector, log("third"))
    sign = page.locator("#waiting")
    expect(sign).to_have_text("2 new")
    assert [text.split()[1] for text in rows(page)] == ["first"]
    page.keyboard.press("n")
    expect(page.locator(".row")).to_have_count(3)
    expect(sign).to_be_hidden()
    page.locator(".row").first.hover()
    report(inspector, log("fourth"))
    expect(sign).to_have_text("1 new")
    sign.dispatch_event("click")
    expect(page.locator(".row")).to_have_count(4)
    page.locator(".row").first.hover()
    report(inspector, log("fifth"))
    expect(sign).to_have_text("1 new")
    page.mouse.move(5, 5)
    expect(page.locator(".row")).to_have_count(5)
    page.locator(".row").first.hover()
    report(inspector, log("sixth"))
    expect(sign).to_have_text("1 new")
    page.get_by_label("Search").fill("i")  # another list: nothing waits for it
    expect(sign).to_be_hidden()
    expect(page.locator(".row", has_text="sixth")).to_have_count(1)


def test_a_reload_is_a_line_between_what_was_before_and_after(
    page: Page, inspector: Inspector
) -> None:
    report(inspector, log("before"))
    keep_start(inspector.store, "shop", 1)
    open_list(page)
    assert inspector.report(b'{"service": "shop"}', "/api/local/start").is_success
    report(inspector, log("after"))
    page.get_by_text("after").wait_for()
    expect(page.locator("#list > li")).to_have_count(3)
    texts = [" ".join(text.split()) for text in page.locator("#list > li").all_inner_texts()]
    assert ["after" in texts[0], "shop reloaded" in texts[1], "before" in texts[2]] == [True] * 3
    report(inspector, log("later"))
    page.get_by_text("later").wait_for()
    expect(page.locator(".reload")).to_have_count(1)


def test_a_click_on_a_value_finds_what_has_it(page: Page, inspector: Inspector) -> None:
    report(inspector, ("event", {**failure(), "tags": {"plan": 'gold "plus"'}}), event_id=ID)
    report(inspector, ("event", {**failure(), "tags": {"plan": "silver"}}))
    report(inspector, log("tea", attributes={"logger.name": {"value": "shop.tea"}}), log("milk"))
    open_list(page, f"/events/{ID}")
    page.locator(".tags a").click()
    page.wait_for_url("**/?q=*")
    expect(page.locator(".row")).to_have_count(1)
    open_list(page, "/?show=logs")
    page.get_by_text("tea", exact=True).click()
    page.get_by_role("link", name="Logs of shop.tea").click()
    expect(page.get_by_label("Search")).to_have_value("logger:shop.tea")
    expect(page.locator(".row")).to_have_count(1)


def test_an_envelope_that_is_dropped_is_loaded(page: Page, inspector: Inspector) -> None:
    def drop(content: str) -> None:
        page.evaluate(
            """(content) => {
              const data = new DataTransfer();
              data.items.add(new File([content], "tea.envelope"));
              for (const type of ["dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
            }""",
            content,
        )

    open_list(page)
    drop(envelope(("log", {"items": [{"body": "poured"}]})).decode())
    page.get_by_text("tea.envelope is loaded").wait_for()
    expect(page.locator("#drop")).to_be_hidden()
    page.get_by_text("poured").wait_for()
    drop(envelope(("event", failure()), event_id=ID).decode())
    page.wait_for_url(f"**/events/{ID}")


def test_a_saved_error_is_read_without_the_inspector(
    page: Page, inspector: Inspector, tmp_path: Any
) -> None:
    report(inspector, ("event", failure()), event_id=ID)
    open_list(page, f"/events/{ID}")
    with page.expect_download() as saving:
        page.get_by_role("link", name="Save as HTML").click()
    saved = tmp_path / saving.value.suggested_filename
    saving.value.save_as(saved)
    alone = page.context.new_page()
    asked: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(saved.as_uri())
    expect(alone.locator("h1")).to_have_text("TeaError")
    expect(alone.locator(".source").filter(has_text="order()")).to_be_visible()
    assert alone.evaluate("getComputedStyle(document.querySelector('.source')).whiteSpace") == "pre"
    assert asked == [saved.as_uri()]
    alone.close()


def test_hostile_requests_run_no_script(page: Page, inspector: Inspector) -> None:
    evil = HOSTILE.replace("alert(1)", "document.title='taken'")
    spans = [
        {**query(n, evil), "op": "db", "data": {evil: evil, "code.file.path": evil}}
        for n in range(6)
    ]
    calls = [call(n, f"GET http://{evil}/{n}", n * 50, n * 50 + 49) for n in range(4)]
    one = transaction("a1", 0, 1, spans=[*spans, *calls], transaction=evil, release=f"{evil}@1")
    report(inspector, ("transaction", {**one, "request": {"method": evil, "url": evil}}))
    report(inspector, error_at("a1", 0.5, evil, transaction=evil, tags={evil: evil}))
    told = {"detail": [{"loc": [evil], "msg": evil, "input": evil}]}
    record = {
        **dict.fromkeys(RECORD, evil),
        "span_id": "a1",
        "status": 422,
        "response_body": json.dumps(told),
    }
    keep_exchange(inspector.store, exchange({**record, "response_headers": {evil: evil}}), 1)
    for at in (1, 9):
        keep_start(inspector.store, evil[:60], at)
    for path in ("/", "/requests/a1", "/figures", f"/traces/{TRACE}", "/?show=errors"):
        page.goto(path)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.title() != "taken"
        assert page.locator("script:not([src^='/static/'])").count() == 0
        assert page.locator("img:not([src^='/static/'])").count() == 0
