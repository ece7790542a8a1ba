"""Whatever SDKs send is taken as they send it, from as many as send at once, and nothing is lost."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import brotli
import httpx
import pytest
import zstandard

from sentry_asgi.inspector.envelope import (
    MAX_JSON,
    MOST_FRAMES,
    BadEnvelopeError,
    Limits,
    decompress,
    json_object,
)
from sentry_asgi.inspector.intake import Intake, Submission
from sentry_asgi.inspector.store import Filter, Store

from .support import ID, Inspector, envelope, error, wait_for

TRACE = "ab" * 16
EVERY_KIND: dict[str, Any] = {
    "event": error(),
    "transaction": {"contexts": {"trace": {"trace_id": TRACE}}},
    "span": {"items": [{"trace_id": TRACE, "name": "s", "is_segment": True}]},
    "log": {"items": [{"body": "hello"}]},
    "trace_metric": {"items": [{"name": "orders", "value": 1}]},
    "session": {"status": "ok"},
    "sessions": {"aggregates": [{"exited": 1}]},
    "client_report": {"discarded_events": []},
    "check_in": {"monitor_slug": "nightly"},
    "profile": {"profile": {"samples": []}},
    "profile_chunk": {"profile": {"samples": []}},
    "attachment": b"\x00\xff",
    "replay_recording": b"\x00",
    "not_yet_invented": b"?",
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_of_item_is_taken_and_listed(inspector: Inspector, kind: str) -> None:
    assert inspector.report(envelope((kind, EVERY_KIND[kind]))).status_code == 200
    (entry,) = inspector.store.entries(limit=5)
    for path in (
        "/",
        "/?show=more",
        f"/envelopes/{entry.envelope}",
        f"/envelopes/{entry.envelope}/raw",
    ):
        assert inspector.get(path).status_code == 200
    assert kind in inspector.get(f"/envelopes/{entry.envelope}").text


@pytest.mark.parametrize("kind", ["event", "log", "span", "session"])
def test_an_item_of_json_that_is_none_is_refused_with_all_of_its_envelope(
    inspector: Inspector, kind: str
) -> None:
    response = inspector.report(envelope(("event", error()), (kind, b"[]")))
    assert (response.status_code, response.json()) == (
        400,
        {"detail": f"The {kind} is not a JSON object."},
    )
    assert inspector.store.totals() == (0, 0)


PACKED = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("encoding", PACKED)
def test_each_compression_is_taken(inspector: Inspector, encoding: str) -> None:
    body = PACKED[encoding](envelope(("event", error("Packed"))))
    assert inspector.report(body, content_encoding=encoding).status_code == 200
    assert inspector.errors()[0].summary.title == "Packed"


def test_zstd_is_read_to_its_end_and_no_further_than_the_limit() -> None:
    frames = zstandard.compress(b"a" * 100) + zstandard.compress(b"b" * 100)
    assert decompress(frames, "zstd", 200) == b"a" * 100 + b"b" * 100
    bomb = zstandard.compress(bytes(10_000_000))
    for body, status in (
        (bomb, 413),
        (frames[:-3], 400),
        (b"nope", 400),
        (frames + b"x", 400),
        (b"", 400),
    ):
        with pytest.raises(BadEnvelopeError) as caught:
            decompress(body, "zstd", 1000)
        assert caught.value.status == status


def test_gzip_is_read_to_its_end_and_nothing_may_follow() -> None:
    members = gzip.compress(b"a" * 100) + gzip.compress(b"b" * 100)
    assert decompress(members, "gzip", 200) == b"a" * 100 + b"b" * 100
    bomb = gzip.compress(b"a") + gzip.compress(bytes(10_000_000))
    for body, encoding, status in (
        (members * 2, "gzip", 413),
        (bomb, "gzip", 413),
        (members[:-3], "gzip", 400),
        (gzip.compress(b"a") + b"junk", "gzip", 400),
        (zlib.compress(b"a") + b"junk", "deflate", 400),
        (brotli.compress(b"a") + b"junk", "br", 400),
    ):
        with pytest.raises(BadEnvelopeError) as caught:
            decompress(body, encoding, 250)
        assert caught.value.status == status


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_endless_empty_frames_keep_nobody_waiting(encoding: str) -> None:
    empty = PACKED[encoding](b"")
    assert decompress(empty * MOST_FRAMES, encoding, 100) == b""
    began = time.monotonic()
    with pytest.raises(BadEnvelopeError):
        decompress(empty * (2_000_000 // len(empty)), encoding, 100)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "9" * 5000])
def test_numbers_that_are_no_json_are_refused(inspector: Inspector, number: str) -> None:
    body = envelope(("event", f'{{"message": "no", "extra": {{"a": {number}}}}}'.encode()))
    assert inspector.report(body).json() == {"detail": "The event is not JSON."}
    assert inspector.store.totals() == (0, 0)


def test_json_larger_than_any_event_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadEnvelopeError) as caught:
        json_object(b"{" + b" " * MAX_JSON, "The event")
    assert (caught.value.status, "larger than 10485760 bytes" in caught.value.detail) == (413, True)


@pytest.mark.parametrize("path", ["/api/1/store/", "/api/1/store"])
def test_the_store_endpoint_takes_an_event(inspector: Inspector, path: str) -> None:
    event = json.dumps({**error("Old"), "event_id": ID}).encode()
    wrapped = base64.b64encode(zlib.compress(event))
    for body in (event, wrapped):
        assert inspector.report(body, path).json() == {"id": ID}
        assert (
            inspector.report(gzip.compress(body), path, content_encoding="gzip").status_code == 200
        )
    assert [one.summary.title for one in inspector.errors()] == ["Old"] * 4


def test_the_store_endpoint_takes_a_transaction(inspector: Inspector) -> None:
    event = {"type": "transaction", "contexts": {"trace": {"trace_id": TRACE}}}
    assert inspector.report(json.dumps(event).encode(), "/api/1/store/").status_code == 200
    assert inspector.store.counts() == {"request": 1}


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"bm9uc2Vuc2U=", base64.b64encode(zlib.compress(b"{}"))[:-8], b"[]"]
)
def test_the_store_endpoint_refuses_what_is_no_event(inspector: Inspector, body: bytes) -> None:
    assert inspector.report(body, "/api/1/store/").status_code == 400
    assert inspector.store.totals() == (0, 0)


# Browsers.

LOCAL = "http://localhost:3000"


@pytest.mark.parametrize("path", ["/api/1/envelope/", "/stream", "/api/1/store/"])
def test_pages_on_loopback_names_may_report_and_read_the_answer(
    inspector: Inspector, path: str
) -> None:
    asked = {
        "origin": LOCAL,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    preflight = inspector.options(path, headers=asked)
    assert preflight.status_code == 204
    assert "content-type" in preflight.headers["access-control-allow-headers"]
    answer = inspector.report(b"{}", path, origin=LOCAL)
    for response in (preflight, answer):
        assert response.headers["access-control-allow-origin"] == LOCAL


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "http://10.0.0.1"]
)
def test_other_pages_may_not(inspector: Inspector, origin: str) -> None:
    for response in (
        inspector.options("/stream", headers={"origin": origin}),
        inspector.report(envelope(("event", error())), origin=origin),
    ):
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers
    assert inspector.errors() == []


@pytest.mark.parametrize("path", ["/", "/live", "/entries", f"/events/{ID}", "/health"])
def test_no_page_of_another_origin_reads_what_is_here(inspector: Inspector, path: str) -> None:
    with inspector.stream("GET", path, headers={"origin": LOCAL}) as response:
        assert "access-control-allow-origin" not in response.headers
        assert response.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("origin", [LOCAL, "https://evil.example", "null"])
def test_only_the_inspectors_own_page_clears(inspector: Inspector, origin: str) -> None:
    inspector.report(envelope(("event", error())))
    assert inspector.post("/clear", headers={"origin": origin}).status_code == 403
    assert len(inspector.errors()) == 1
    assert inspector.post("/clear", headers={"origin": inspector.url}).status_code == 303
    assert inspector.store.totals() == (0, 0)


# The intake.


def test_what_is_bad_in_a_batch_is_refused_alone(store: Store) -> None:
    told: list[int] = []

    async def send() -> list[Any]:
        intake = Intake(store, Limits(), lambda: told.append(len(told)), idle=0.05)
        parcels = [
            Submission("1", envelope(("event", error(f"E{n}"))) if n % 3 else b"bad")
            for n in range(30)
        ]
        return await asyncio.gather(*map(intake.take, parcels), return_exceptions=True)

    answers = asyncio.run(send())
    assert [isinstance(answer, BadEnvelopeError) for answer in answers] == [
        n % 3 == 0 for n in range(30)
    ]
    assert len(store.errors(limit=100)) == 20
    assert told


def test_large_parcels_that_come_together_are_not_all_unpacked_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentry_asgi.inspector import intake as module

    monkeypatch.setattr(module, "_BATCH_BYTES", 2000)
    together: list[int] = []
    add_all = store.add_all

    def count(arrivals: Any) -> None:
        together.append(len(arrivals))
        add_all(arrivals)

    monkeypatch.setattr(store, "add_all", count)
    intake = Intake(store, Limits(), lambda: None, idle=0.02)
    body = gzip.compress(envelope(("attachment", bytes(1500))))

    async def send() -> None:
        taking = [intake.take(Submission("1", body, "gzip")) for _ in range(10)]
        await asyncio.gather(*taking, intake.take(Submission("1", b"{}")))

    asyncio.run(send())
    assert max(together) == 2
    assert store.totals()[0] == 11


def test_the_intakes_thread_goes_when_nothing_comes_and_comes_back(store: Store) -> None:
    def threads() -> list[str]:
        return [
            thread.name for thread in threading.enumerate() if thread.name == "inspector intake"
        ]

    intake = Intake(store, Limits(), lambda: None, idle=0.02)
    others = len(threads())
    for count in (1, 2):
        asyncio.run(intake.take(Submission("1", envelope(("event", error())))))
        wait_for(threads, lambda names: len(names) <= others)
        assert len(store.errors(limit=9)) == count


def test_what_cannot_be_kept_is_answered_with_the_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path / "a.sqlite3")
    store.close()
    intake = Intake(store, Limits(), lambda: None, idle=0.02)
    with pytest.raises(Exception, match="closed database"):
        asyncio.run(intake.take(Submission("1", envelope(("event", error())))))
    assert "Cannot store envelopes" in caplog.text


def test_a_sender_that_went_away_harms_nobody(store: Store) -> None:
    async def leave(intake: Intake) -> None:
        taking = [
            asyncio.ensure_future(intake.take(Submission("1", body))) for body in (b"{}", b"bad")
        ]
        await asyncio.sleep(0)
        for one in taking:
            one.cancel()
        await asyncio.sleep(0.1)

    intake = Intake(store, Limits(), lambda: None, idle=0.02)
    asyncio.run(leave(intake))
    # Nor one whose event loop has ended before the answer.
    with store._writing:
        loop = asyncio.new_event_loop()
        task = loop.create_task(intake.take(Submission("1", b"{}")))
        loop.run_until_complete(asyncio.sleep(0))
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
    asyncio.run(intake.take(Submission("1", b"{}")))
    assert store.totals()[0] == 3


def test_a_storm_from_many_clients_is_kept_whole(inspector: Inspector) -> None:
    count, clients = 600, 6

    def send(numbers: range) -> None:
        with httpx.Client(base_url=inspector.url, trust_env=False) as client:
            for number in numbers:
                answer = client.post(
                    "/api/1/envelope/", content=envelope(("event", error(f"E{number}.")))
                )
                assert answer.status_code == 200

    threads = [
        threading.Thread(target=send, args=(range(n, count, clients),)) for n in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {one.summary.title for one in inspector.store.errors(limit=1000)}
    assert found == {f"E{number}." for number in range(count)}


def test_a_file_that_cannot_be_used_now_is_told_and_used_again_when_it_can(
    tmp_path: Path,
) -> None:
    """Locked by somebody: whoever reports learns that nothing was kept."""
    from sentry_asgi.inspector.app import create_app
    from sentry_asgi.inspector.server import serve_in_thread

    with closing(Store(tmp_path / "a.sqlite3", patience=0.05)) as store:
        app = create_app(store)
        with (
            serve_in_thread(app, ending=app.close) as url,
            Inspector(url, store) as inspector,
            closing(sqlite3.connect(tmp_path / "a.sqlite3")) as other,
        ):
            other.execute("BEGIN IMMEDIATE")
            answer = inspector.report(envelope(("event", error("Lost"))))
            cleared = inspector.post("/clear")
            other.rollback()
            assert [one.status_code for one in (answer, cleared)] == [503, 503]
            assert "database is locked" in answer.json()["detail"]
            assert inspector.report(envelope(("event", error("Kept")))).status_code == 200
            assert [one.summary.title for one in inspector.errors()] == ["Kept"]


def test_several_processes_report_at_once_and_nothing_is_lost(inspector: Inspector) -> None:
    """As the workers of one app do, each with the SDK of its own."""
    script = """
import sys, sentry_sdk
sentry_sdk.init(dsn=sys.argv[1], default_integrations=False, auto_enabling_integrations=False)
for number in range(25):
    sentry_sdk.capture_message(f"worker {sys.argv[2]}, message {number}.")
sentry_sdk.get_client().close(timeout=20)
"""
    workers = [
        subprocess.Popen([sys.executable, "-c", script, inspector.dsn, str(number)])
        for number in range(3)
    ]
    assert [worker.wait(60) for worker in workers] == [0] * 3
    found = {one.summary.title for one in inspector.store.errors(limit=200)}
    assert found == {
        f"worker {worker}, message {number}." for worker in range(3) for number in range(25)
    }


# What the store keeps, and finds again.


def logs(count: int, word: str = "log") -> tuple[str, dict[str, Any]]:
    return (
        "log",
        {"items": [{"body": f"{word} {number}", "level": "info"} for number in range(count)]},
    )


def test_entries_are_bounded_as_envelopes_are(tmp_path: Path) -> None:
    from .support import kept

    store = Store(tmp_path / "a.sqlite3", max_entries=10)
    for number in range(4):
        store.add("1", kept(logs(4, f"batch{number}")), received=number)
    assert store.counts() == {"log": 8}
    assert store.entries(limit=99)[-1].summary.title == "batch2 0"
    store.close()


@pytest.mark.parametrize(
    ("chosen", "titles"),
    [
        (Filter(), ["low stock", "GET /tea", "TeaError", "100%_sure"]),
        (Filter(kinds=["error"]), ["TeaError", "100%_sure"]),
        (Filter(kinds=["error", "log"]), ["low stock", "TeaError", "100%_sure"]),
        (Filter(level="warning"), ["low stock"]),
        (Filter(text="TEA get"), ["GET /tea"]),
        (Filter(text="%"), ["100%_sure"]),
        (Filter(text="_"), ["100%_sure"]),
        (Filter(text="\\"), []),
        (Filter(kinds=["log"], text="tea"), []),
        (Filter(text=ID), ["TeaError"]),
    ],
)  # fmt: skip
def test_entries_are_found_by_kind_level_and_words(
    store: Store, chosen: Filter, titles: list[str]
) -> None:
    from .support import kept

    request = {"request": {"method": "GET", "url": "/tea"}}
    store.add("1", kept(("event", {"message": "100%_sure"})), received=1)
    store.add("1", kept(("event", error("TeaError")), event_id=ID), received=2)
    store.add("1", kept(("transaction", request)), received=3)
    store.add("1", kept(("log", {"items": [{"body": "low stock", "level": "warn"}]})), received=4)
    assert [one.summary.title for one in store.entries(chosen, limit=9)] == titles


def test_numbers_grow_over_a_clearing(store: Store) -> None:
    from .support import kept

    assert store.newest() == 0
    store.add("1", kept(logs(3)), received=1)
    assert store.newest() == 3
    store.clear()
    assert (store.totals(), store.counts(), store.newest()) == ((0, 0), {}, 3)
    store.add("1", kept(logs(1)), received=1)
    assert [one.number for one in store.entries(limit=9)] == [4]


# Lists and listeners.


def test_the_list_is_narrowed_by_its_query(inspector: Inspector) -> None:
    inspector.report(envelope(("event", error("TeaError")), logs(2), ("session", {"status": "ok"})))
    for query, there, not_there in (
        ("", ["TeaError", "log 1"], ["session"]),
        ("show=errors", ["TeaError"], ["log 1"]),
        ("show=more", ["session"], ["TeaError"]),
        ("q=tea", ["TeaError"], ["log 1"]),
        ("level=info", ["log 1"], ["TeaError"]),
        ("show=logs&q=nothing", ["Nothing here is like that"], ["log 1"]),
        ("show=requests", ["Nothing of this kind yet"], ["log 1"]),
        ("show=%00&level=%27&after=x", ["TeaError"], []),
    ):
        page = inspector.get(f"/?{query}").text
        assert all(text in page for text in there), query
        assert not any(text in page for text in not_there), query


def test_a_fragment_is_the_rows_after_a_number(inspector: Inspector) -> None:
    inspector.report(envelope(logs(5)))
    fragment = inspector.get("/?fragment=1&after=3").text
    assert "<html" not in fragment
    assert fragment.count("data-number") == 2


def test_listeners_hear_of_what_comes_and_of_a_clearing(inspector: Inspector) -> None:
    def news(lines: Any) -> dict[str, Any]:
        line = next(line for line in lines if line.startswith("data: "))
        return json.loads(line[6:])  # type: ignore[no-any-return]

    with inspector.stream("GET", "/live") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert news(lines)["newest"] == 0
        began = time.monotonic()
        inspector.report(envelope(("event", error())))
        heard = news(lines)
        assert time.monotonic() - began < 1
        assert (heard["newest"], heard["counts"]["errors"]) == (1, 1)
        inspector.post("/clear")
        assert news(lines)["counts"]["errors"] == 0


def test_what_programs_read_goes_on_where_they_left_off(inspector: Inspector) -> None:
    inspector.report(envelope(("event", error("TeaError")), logs(2), event_id=ID))
    told = inspector.get("/entries?after=1").json()
    assert [(one["number"], one["kind"], one["title"]) for one in told] == [
        (2, "log", "log 0"),
        (3, "log", "log 1"),
    ]
    (full, *_) = inspector.get("/entries?full=1").json()
    assert full["event"]["exception"]["values"][0]["type"] == "TeaError"
    assert full["path"] == f"/events/{ID}"


def test_an_event_is_there_as_markdown_and_as_it_came(inspector: Inspector) -> None:
    body = envelope(("event", error("TeaError")), ("attachment", b"\x00\xfe"), event_id=ID)
    inspector.report(body)
    markdown = inspector.get(f"/events/{ID}/markdown")
    assert markdown.headers["content-type"].startswith("text/plain")
    assert "# TeaError" in markdown.text
    raw = inspector.get("/envelopes/1/raw")
    assert raw.headers["content-disposition"] == 'attachment; filename="1.envelope"'
    assert [json.loads(line) for line in raw.content.split(b"\n")[:2]] == [
        json.loads(line) for line in body.split(b"\n")[:2]
    ]
    page = inspector.get("/envelopes/1").text
    assert "TeaError" in page
    assert "2 bytes that are no text" in page


@pytest.mark.parametrize(
    "path",
    [
        f"/events/{ID}/markdown",
        "/envelopes/7/raw",
        "/envelopes/7",
        "/envelopes/x",
        f"/traces/{TRACE}",
        "/traces/x",
    ],
)
def test_what_never_came_is_not_found(inspector: Inspector, path: str) -> None:
    assert inspector.get(path).status_code == 404


def test_a_trace_has_its_page_with_its_logs(inspector: Inspector) -> None:
    log = {"body": "poured", "trace_id": TRACE, "attributes": {"cups": {"value": 2}}}
    span = {
        "span_id": "b1",
        "parent_span_id": "a1",
        "description": "SELECT tea",
        "op": "db",
        "start_timestamp": 1,
        "timestamp": 2,
    }
    transaction = {
        "contexts": {"trace": {"trace_id": TRACE, "span_id": "a1"}}, "start_timestamp": 0, "timestamp": 4,
        "transaction": "tea.pour", "spans": [span], "release": "shop@1",
    }  # fmt: skip
    late = {**error("TeaError"), "contexts": {"trace": {"trace_id": TRACE, "span_id": "b1"}}}
    lost = {**error("LostError"), "contexts": {"trace": {"trace_id": TRACE, "span_id": "ff"}}}
    inspector.report(envelope(("transaction", transaction)))
    for item in (("event", late), ("event", lost), ("log", {"items": [log]})):
        inspector.report(envelope(item))
    page = inspector.get(f"/traces/{TRACE}").text
    for text in (
        "SELECT tea",
        "tea.pour",
        "TeaError",
        "LostError",
        "poured",
        "cups",
        "shop",
        'x="25.000%" width="25.000%"',
    ):
        assert text in page
    assert 'href="/requests/a1"' in inspector.get("/").text


def test_a_listener_has_a_sign_of_life_when_nothing_comes(store: Store) -> None:
    from sentry_asgi.inspector.app import create_app
    from sentry_asgi.inspector.server import serve_in_thread

    app = create_app(store, beat=0.05)
    with (
        serve_in_thread(app, ending=app.close) as url,
        httpx.stream("GET", f"{url}/live", trust_env=False) as answer,
    ):
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(3)][2] == ": still here"
        began = time.monotonic()
        app.live.close()
        assert [line for line in lines if line.startswith("data")][1:] == []
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_the_ends_of_all_time_are_shown_in_any_zone(
    inspector: Inspector, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for moment in ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"):
            inspector.report(envelope(("event", {**error(), "timestamp": moment})))
        page = inspector.get("/?each=1").text
    finally:
        monkeypatch.undo()
        time.tzset()
    assert page.count("data-number") == 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.0001, "0.1 ms"), (0.25, "250 ms"), (2.5, "2.50 s"), (1234.5, "1,234 s")],
)  # fmt: skip
def test_durations_are_for_people(seconds: float | None, text: str) -> None:
    from sentry_asgi.inspector.pages import took

    assert took(seconds) == text


def test_a_payload_that_is_gone_leaves_its_row(
    inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector.report(envelope(logs(2)))
    monkeypatch.setattr(Store, "payloads", lambda self, items, most: dict.fromkeys(items, b""))
    assert "log 0" in inspector.get("/").text


def test_a_text_that_is_no_json_is_shown_as_it_is(inspector: Inspector) -> None:
    inspector.report(envelope(("attachment", b"plain <text>")))
    assert "plain &lt;text&gt;" in inspector.get("/envelopes/1").text
