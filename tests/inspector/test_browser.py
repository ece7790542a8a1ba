"""The pages in a real Chromium, as people use them; skipped where there is none."""

from __future__ import annotations

import time
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

from .support import ID, Inspector, envelope, error
from .test_app import HOSTILE

TRACE = "ab" * 16


def open_list(page: Page, path: str = "/") -> None:
    page.goto(path)
    page.locator("#live.on").wait_for()


def rows(page: Page) -> list[str]:
    return [" ".join(text.split()) for text in page.locator(".row").all_inner_texts()]


def report(inspector: Inspector, *items: tuple[str, Any], **headers: Any) -> None:
    assert inspector.report(envelope(*items, **headers)).status_code == 200


def log(text: str, level: str = "info", **more: Any) -> tuple[str, Any]:
    return ("log", {"items": [{"body": text, "level": level, **more}]})


def frame(function: str, *, own: bool) -> dict[str, Any]:
    return {
        "function": function, "abs_path": f"/srv/{function}.py", "lineno": 2, "in_app": own, "pre_context": ["one"],
        "context_line": f"{function}()", "post_context": ["three"], "vars": {"cups": "2"},
    }  # fmt: skip


def failure() -> dict[str, Any]:
    frames = [
        frame("serve", own=False),
        frame("route", own=False),
        frame("order", own=True),
        frame("json", own=False),
    ]
    return {
        "exception": {"values": [{"type": "TeaError", "value": "no tea", "stacktrace": {"frames": frames}}]},
        "request": {"method": "POST", "url": "http://shop/orders", "data": "{'a'}", "headers": {"X-Shop": "tea"}},
        "contexts": {"trace": {"trace_id": TRACE, "span_id": "b1"}},
    }  # fmt: skip


def test_an_error_appears_within_a_second_without_a_reload(
    page: Page, inspector: Inspector
) -> None:
    open_list(page)
    page.evaluate("window.sameDocument = true")
    expect(page.get_by_text("Nothing has happened yet")).to_be_visible()
    began = time.monotonic()
    report(inspector, ("event", error("TeaError", "no tea")))
    page.get_by_text("TeaError").wait_for()
    assert time.monotonic() - began < 1
    assert page.evaluate("window.sameDocument")
    expect(page.locator("[data-count=errors]")).to_have_text("1")
    expect(page.get_by_text("Nothing has happened yet")).to_be_hidden()


def test_what_is_there_stays_in_place_while_more_comes(page: Page, inspector: Inspector) -> None:
    report(inspector, *[log(f"old {number}") for number in range(5)])
    for _ in range(12):
        report(inspector, *[log("old") for _ in range(4)])
    open_list(page)
    page.evaluate("window.kept = document.querySelector('.row'); window.scrollTo(0, 400)")
    # As the eye sees it: where a row is on the screen, at every frame while new ones come.
    page.evaluate(
        """() => { window.places = new Set();
        const look = () => { window.places.add(Math.round(kept.getBoundingClientRect().top)); requestAnimationFrame(look); };
        look(); }"""
    )
    for number in range(4):
        report(inspector, log(f"new {number}"))
        page.get_by_text(f"new {number}").wait_for(state="attached")
    assert page.evaluate("window.kept.isConnected")
    # Screens have whole pixels, rows have not.
    assert page.evaluate("Math.max(...window.places) - Math.min(...window.places)") <= 1


def numbers(page: Page) -> list[int]:
    return [
        int(row.get_attribute("data-number") or 0) for row in page.locator("#list > .row").all()
    ]


def test_a_burst_larger_than_a_page_leaves_no_gap(page: Page, inspector: Inspector) -> None:
    report(inspector, log("first"))
    open_list(page)
    report(inspector, ("log", {"items": [{"body": f"burst {n}"} for n in range(120)]}))
    page.get_by_text("burst 119").wait_for()
    assert numbers(page) == list(range(121, 71, -1))
    page.get_by_role("link", name="Older").click()
    page.get_by_text("burst 69").wait_for()
    assert numbers(page) == list(range(71, 21, -1))


def test_what_a_search_finds_can_be_paged_through(page: Page, inspector: Inspector) -> None:
    report(inspector, ("log", {"items": [{"body": f"tea {n}."} for n in range(60)]}))
    report(inspector, log("coffee"))
    open_list(page)
    page.get_by_label("Search").fill("tea")
    page.wait_for_url("**/?q=tea")
    page.get_by_role("link", name="Older").click()
    page.get_by_text("tea 0.").wait_for()
    assert numbers(page) == list(range(10, 0, -1))
    page.get_by_label("Search").fill("coffee")
    expect(page.locator("#list > .row")).to_have_count(1)
    expect(page.get_by_role("link", name="Older")).to_have_count(0)


def test_a_list_that_grows_long_drops_its_end_and_leads_there(
    page: Page, inspector: Inspector
) -> None:
    open_list(page)
    for start in range(0, 550, 50):
        items = [{"body": f"log {start + n}."} for n in range(50)]
        report(inspector, ("log", {"items": items}))
        page.get_by_text(f"log {start + 49}.").wait_for()
    assert numbers(page) == list(range(550, 50, -1))
    page.get_by_role("link", name="Older").click()
    page.get_by_text("log 0.").wait_for()
    assert numbers(page) == list(range(50, 0, -1))


def test_a_page_that_nobody_looks_at_holds_no_connection_and_catches_up(
    page: Page, inspector: Inspector
) -> None:
    """A browser opens six to one server, and no more."""

    def look(hidden: str) -> None:
        page.evaluate(
            f"""Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}});
            document.dispatchEvent(new Event('visibilitychange'))"""
        )

    open_list(page)
    look("true")
    expect(page.locator("#live.on")).to_have_count(0)
    report(inspector, ("event", error("Meanwhile")))
    page.wait_for_timeout(300)
    expect(page.locator(".row")).to_have_count(0)
    look("false")
    page.get_by_text("Meanwhile").wait_for()


def test_the_first_page_says_how_to_begin_and_what_it_says_is_copied(
    page: Page, inspector: Inspector
) -> None:
    open_list(page)
    page.locator(".ways button").nth(1).click()
    page.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert (
        copied
        == f'sentry_sdk.init(dsn="{inspector.dsn.replace("key", "dev")}", traces_sample_rate=1.0)'
    )
    report(inspector, log("begun"))
    page.get_by_text("begun").wait_for()
    expect(page.locator(".ways")).to_be_hidden()


def test_tabs_level_and_search_narrow_the_list_and_what_comes_live(
    page: Page, inspector: Inspector
) -> None:
    report(inspector, ("event", error("TeaError")), log("tea is low", "warn"), log("coffee"))
    open_list(page)
    assert len(rows(page)) == 3
    page.keyboard.press("/")
    page.keyboard.type("tea")
    expect(page.locator(".row")).to_have_count(2)
    assert page.url.endswith("/?q=tea")
    page.get_by_label("Level").select_option("warning")
    expect(page.locator(".row")).to_have_count(1)
    report(inspector, log("tea is gone", "warn"), log("milk is gone", "warn"), log("tea", "info"))
    page.get_by_text("tea is gone").wait_for()
    expect(page.locator(".row")).to_have_count(2)
    page.get_by_role("link", name="Errors").click()
    expect(page.locator("input[type=search]")).to_have_value("tea")
    assert "show=errors" in page.url


def test_the_apps_frames_are_open_and_libraries_are_folded(
    page: Page, inspector: Inspector
) -> None:
    report(inspector, ("event", failure()), event_id=ID)
    open_list(page, f"/events/{ID}")
    source = page.locator(".source")
    expect(source.filter(has_text="order()")).to_be_visible()
    expect(source.filter(has_text="json()")).to_be_hidden()
    expect(source.filter(has_text="serve()")).to_be_hidden()
    page.get_by_text("2 library frames").click()
    page.locator(".function", has_text="serve").click()
    expect(source.filter(has_text="serve()")).to_be_visible()
    page.keyboard.press("f")
    expect(source.filter(has_text="json()")).to_be_visible()
    assert (
        page.locator(".application a.open").get_attribute("href") == "vscode://file/srv/order.py:2"
    )


def test_a_request_is_copied_as_curl_and_the_event_as_markdown(
    page: Page, inspector: Inspector
) -> None:
    report(inspector, ("event", failure()), event_id=ID)
    open_list(page, f"/events/{ID}")
    page.get_by_role("button", name="Copy as curl").click()
    page.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl \\\n  -X POST \\\n  http://shop/orders")
    assert "-H 'X-Shop: tea'" in copied
    page.keyboard.press("m")
    page.wait_for_function(
        "navigator.clipboard.readText().then((text) => text.startsWith('# TeaError'))"
    )


def test_a_trace_is_a_waterfall_with_its_errors(page: Page, inspector: Inspector) -> None:
    def span(identity: str, parent: str, start: float, end: float) -> dict[str, Any]:
        return {"span_id": identity, "parent_span_id": parent, "op": "db", "description": f"query {identity}",
                "start_timestamp": start, "timestamp": end}  # fmt: skip

    def transaction(
        identity: str, parent: str, start: float, end: float, *spans: Any
    ) -> dict[str, Any]:
        trace = {
            "trace_id": TRACE,
            "span_id": identity,
            "parent_span_id": parent,
            "op": "http.server",
        }
        return {"contexts": {"trace": trace}, "start_timestamp": start, "timestamp": end, "spans": spans,
                "transaction": f"service {identity}", "release": f"app-{identity}@1"}  # fmt: skip

    report(inspector, ("transaction", transaction("a1", "", 0, 10, span("a2", "a1", 5, 9))))
    report(inspector, ("transaction", transaction("b1", "a2", 6, 8)), ("event", failure()))
    open_list(page, "/?show=requests")
    page.get_by_role("link", name="service a1").click()
    names = page.locator(".waterfall .name").all_inner_texts()
    assert names == ["service a1", "query a2", "service b1"]
    boxes = [bar.bounding_box() for bar in page.locator("rect.bar").all()]
    first, second, third = (box for box in boxes if box)
    assert first["x"] < second["x"] < third["x"]
    assert first["width"] > second["width"] > third["width"] > 20
    assert page.locator(".services li").all_inner_texts() == ["app-a1", "app-b1"]
    page.locator(".bug").first.click()
    expect(page.locator("h1")).to_have_text("TeaError")
    # And back to the span, open.
    page.get_by_role("link", name="Trace").click()
    expect(page.locator("#span-b1 details")).to_have_attribute("open", "")


def test_light_and_dark_follow_the_system_until_chosen(page: Page, inspector: Inspector) -> None:
    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="light")
    open_list(page)
    light = ground()
    page.emulate_media(color_scheme="dark")
    dark = ground()
    assert light != dark
    page.keyboard.press("t")
    assert ground() == light
    page.reload()
    assert ground() == light


def test_the_list_is_walked_by_keys_alone(page: Page, inspector: Inspector) -> None:
    report(inspector, ("event", error("First")))
    report(inspector, ("event", error("Second")))
    open_list(page)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("First")
    page.keyboard.press("u")
    expect(page.locator(".row")).to_have_count(2)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("4")
    expect(page).to_have_url(f"{inspector.url}/?show=logs")


@pytest.mark.parametrize("item", ["event", "log", "transaction", "session"])
def test_hostile_content_runs_no_script(page: Page, inspector: Inspector, item: str) -> None:
    evil = HOSTILE.replace("alert(1)", "document.title='taken'")
    payload: dict[str, Any] = {
        "event": {**failure(), "message": evil, "tags": {evil: evil}, "level": evil, "transaction": evil, "exception": {
            "values": [{"type": evil, "value": evil, "stacktrace": {"frames": [{**frame("x", own=True), "function": evil,
                        "abs_path": f"/{evil}", "context_line": evil, "vars": {evil: evil}}]}}]},
            "breadcrumbs": [{"message": evil, "category": evil, "data": {evil: evil}}]},
        "log": {"items": [{"body": evil, "level": evil, "trace_id": TRACE, "attributes": {evil: {"value": evil}}}]},
        "transaction": {"transaction": evil, "contexts": {"trace": {"trace_id": TRACE, "op": evil, "status": evil}},
            "start_timestamp": 1, "timestamp": 2, "release": f"{evil}@1", "spans": [
                {"span_id": "b1", "description": evil, "op": evil, "data": {evil: evil}, "start_timestamp": 1}]},
        "session": {"status": evil},
    }[item]  # fmt: skip
    open_list(page, "/")
    report(inspector, (item, payload), event_id=ID)
    for path in ("/", "/?show=more", f"/events/{ID}", f"/traces/{TRACE}", "/envelopes/1"):
        page.goto(path)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.title() != "taken"
        assert page.locator("script:not([src^='/static/'])").count() == 0
        assert page.locator("img:not([src^='/static/'])").count() == 0


def test_clear_asks_and_every_open_list_is_empty_then(page: Page, inspector: Inspector) -> None:
    report(inspector, ("event", error("TeaError")))
    open_list(page)
    other = page.context.new_page()
    open_list(other)
    answers = iter([False, True])

    def decide(dialog: Dialog) -> None:
        dialog.accept() if next(answers) else dialog.dismiss()

    page.on("dialog", decide)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".row")).to_have_count(1)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".row")).to_have_count(0)
    expect(other.locator(".row")).to_have_count(0)
    assert inspector.store.totals() == (0, 0)


def test_a_web_page_elsewhere_neither_reads_posts_nor_clears(
    browser: Browser, inspector: Inspector
) -> None:
    report(inspector, ("event", error("Secret")))
    context = browser.new_context()
    page = context.new_page()
    page.route(
        "http://evil.example/",
        lambda route: route.fulfill(body="<h1>hello</h1>", content_type="text/html"),
    )
    page.goto("http://evil.example/")
    tried = page.evaluate(
        """async (url) => { const tell = async (path, how) => {
            try { const answer = await fetch(url + path, how); return answer.type + answer.status; } catch { return "failed"; } };
          return [await tell("/", {}), await tell("/entries", {}), await tell("/clear", {method: "POST"}),
            await tell("/clear", {method: "POST", mode: "no-cors"}),
            await tell("/stream", {method: "POST", body: "{}"})]; }""",
        inspector.url,
    )
    context.close()
    assert tried[:3] == ["failed"] * 3
    assert tried[4] == "failed"
    assert len(inspector.errors()) == 1


def test_a_search_that_finds_nothing_says_so(page: Page, inspector: Inspector) -> None:
    report(inspector, log("tea"))
    for path in ("/?q=coffee", "/"):
        open_list(page, path)
        page.get_by_label("Search").fill("coffee")
        expect(page.locator(".row")).to_have_count(0)
        expect(page.locator("#empty h2")).to_be_visible()
        expect(page.locator("#list")).to_be_hidden()
    # And what comes then is shown.
    report(inspector, log("coffee"))
    page.get_by_text("coffee").wait_for()
    expect(page.locator("#empty h2")).to_be_hidden()


def test_escape_in_the_search_brings_the_whole_list_back(page: Page, inspector: Inspector) -> None:
    report(inspector, log("tea"), log("coffee"))
    open_list(page)
    page.keyboard.press("/")
    page.keyboard.type("tea")
    expect(page.locator(".row")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".row")).to_have_count(2)
    expect(page.get_by_label("Search")).to_have_value("")
    page.keyboard.press("j")  # the search has no focus any more
    expect(page.locator(".row").first.locator("summary")).to_be_focused()


def test_the_way_back_leads_to_the_list_as_it_was_left(page: Page, inspector: Inspector) -> None:
    for number in range(40):
        report(inspector, ("event", {**failure(), "transaction": f"tea {number}."}), log("coffee"))
    open_list(page)
    page.get_by_label("Search").fill("tea")
    page.wait_for_url("**/?q=tea")
    expect(page.locator(".row")).to_have_count(40)
    row = page.get_by_text("tea 9.", exact=True)
    row.scroll_into_view_if_needed()
    place = page.evaluate("scrollY")
    assert place > 100
    row.click()
    page.get_by_role("link", name="Envelope").click()
    page.wait_for_url("**/envelopes/*")
    page.locator("#live.on").wait_for()
    page.keyboard.press("u")
    page.wait_for_url("**/?q=tea")
    expect(page.locator(".row")).to_have_count(40)
    page.wait_for_function(f"scrollY === {place}")
    # By the link, too.
    row.click()
    page.get_by_role("link", name="What happened").click()
    page.wait_for_url("**/?q=tea")


def test_rows_stand_in_the_order_of_what_happened(page: Page, inspector: Inspector) -> None:
    """Things arrive as they end: what began first may come last."""
    times = [34.811, 33.841, 34.647]
    report(inspector, *[log(f"log {moment}", timestamp=moment) for moment in times])
    open_list(page)
    expected = [f"log {moment}" for moment in sorted(times, reverse=True)]
    assert page.locator(".row .body").all_inner_texts() == expected
    for moment in (34.7, 33.0, 36.0):
        report(inspector, log(f"log {moment}", timestamp=moment))
        page.get_by_text(f"log {moment}", exact=True).wait_for()
    expected = [f"log {moment}" for moment in sorted([*times, 34.7, 33.0, 36.0], reverse=True)]
    assert page.locator(".row .body").all_inner_texts() == expected


def test_a_spans_name_is_seen_however_many_errors_it_has(page: Page, inspector: Inspector) -> None:
    trace = {"trace_id": TRACE, "span_id": "b1"}
    failures = [
        {**error(f"ServiceUnavailableError{n}"), "contexts": {"trace": trace}} for n in range(3)
    ]
    transaction = {
        "contexts": {"trace": trace},
        "start_timestamp": 1,
        "timestamp": 2,
        "transaction": "GET /teas",
    }
    report(inspector, ("transaction", transaction), *[("event", one) for one in failures])
    page.set_viewport_size({"width": 800, "height": 600})
    open_list(page, f"/traces/{TRACE}")
    name = page.locator(".waterfall .name")
    assert name.evaluate("(it) => it.scrollWidth <= it.clientWidth")
    expect(page.locator(".waterfall summary .bug")).to_have_count(2)
    name.click()
    for one in failures:
        expect(
            page.locator(".more", has_text=one["exception"]["values"][0]["type"])
        ).to_be_visible()


def test_what_curl_lacks_is_told_beside_it(page: Page, inspector: Inspector) -> None:
    event = failure()
    event["request"]["headers"] = {"Authorization": "[Filtered]"}
    report(inspector, ("event", event), event_id=ID)
    open_list(page, f"/events/{ID}")
    expect(page.get_by_text("not quite the same request: the header Authorization")).to_be_visible()
    page.get_by_role("button", name="Copy as curl").click()
    page.get_by_text("Copied, but the header Authorization is filtered").wait_for()


def test_a_loss_is_a_banner_as_soon_as_it_is_told(page: Page, inspector: Inspector) -> None:
    open_list(page)
    expect(page.get_by_role("alert")).to_be_hidden()
    discarded = {"quantity": 222, "category": "transaction", "reason": "queue_overflow"}
    report(inspector, ("client_report", {"discarded_events": [discarded]}))
    banner = page.get_by_role("alert")
    expect(banner).to_contain_text("222 \N{MULTIPLICATION SIGN} transaction could not be sent")
    banner.get_by_role("link").click()
    expect(page.get_by_text("222 transaction: queue_overflow")).to_be_visible()


def test_a_storm_of_equal_errors_is_one_row_that_counts(page: Page, inspector: Inspector) -> None:
    report(inspector, ("event", error("Other")))
    open_list(page)
    for count in range(1, 4):
        report(
            inspector, ("event", {**failure(), "timestamp": 60 + count}), event_id=f"{count:032}"
        )
        report(inspector, log(f"log {count}"))
        page.get_by_text(f"log {count}", exact=True).wait_for()
    expect(page.locator(".kind-error")).to_have_count(2)
    expect(page.locator(".times")).to_contain_text("\N{MULTIPLICATION SIGN}3 since")
    page.get_by_label("each error").check()
    expect(page.locator(".kind-error")).to_have_count(4)
    assert page.url.endswith("/?each=1")
    page.get_by_label("each error").uncheck()
    expect(page.locator(".kind-error")).to_have_count(2)
    page.get_by_role("link", name="TeaError").click()
    expect(page.locator(".walk")).to_contain_text("\N{MULTIPLICATION SIGN}3 since")
    page.locator("#live.on").wait_for()
    page.keyboard.press("[")
    page.wait_for_url(f"**/{2:032}")
    page.locator("#live.on").wait_for()
    page.keyboard.press("]")
    page.wait_for_url(f"**/{3:032}")
