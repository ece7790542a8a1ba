"""What anybody may send or ask for costs a bounded amount of memory, rows and time."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sqlite3
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.requests import Request

from sentry_asgi.inspector import intake as intake_module
from sentry_asgi.inspector.app import MAX_TOLD_BYTES, create_app
from sentry_asgi.inspector.database import StoreError
from sentry_asgi.inspector.envelope import (
    MAX_HEADER,
    MAX_JSON,
    MEBIBYTE,
    BadEnvelopeError,
    Limits,
    parse,
)
from sentry_asgi.inspector.intake import Intake, Submission
from sentry_asgi.inspector.pages import MAX_LOGS, Pages
from sentry_asgi.inspector.records import MAX_ENTRIES, records
from sentry_asgi.inspector.search import MAX_TERMS
from sentry_asgi.inspector.server import serve_in_thread
from sentry_asgi.inspector.store import Filter, Store
from sentry_asgi.inspector.tail import _between, follow
from sentry_asgi.inspector.uploads import Uploads
from tests.support import http_scope, run

from .support import ID, Inspector, envelope, error, kept, wait_for

TRACE = "ab" * 16
LARGE = MAX_JSON - 1000


@contextmanager
def at_most(megabytes: int) -> Iterator[None]:
    """The block never has more than so much at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEBIBYTE
    finally:
        tracemalloc.stop()


def large(byte: str, size: int = LARGE) -> dict[str, Any]:
    return error(byte, extra={"large": byte * (size - 200)})


# What is sent.


@pytest.mark.parametrize("kind", ["log", "span", "trace_metric"])
def test_an_envelope_tells_of_a_bounded_number_of_things_however_many_items_it_has(
    kind: str,
) -> None:
    batch: Any = {"items": [{}] * (MAX_ENTRIES // 4)}
    parsed = parse(envelope(*[(kind, batch)] * 9, ("event", error())), max_items=100)
    told = records(parsed)
    assert sum(len(item.entries) for item in told.items) == MAX_ENTRIES
    assert len(told.items) == 10


@pytest.mark.parametrize("kind", ["event", "log", "profile"])
def test_the_json_of_an_envelope_is_bounded_all_together(kind: str) -> None:
    third = {"items": [], "text": "x" * (MAX_JSON // 3)}
    assert len(records(parse(envelope(*[(kind, third)] * 2), max_items=9)).items) == 2
    with pytest.raises(BadEnvelopeError) as refused:
        records(parse(envelope(*[(kind, third)] * 3), max_items=9))
    assert refused.value.status == 413
    # What is not read may be as large as the request.
    payload = json.dumps(third).encode()
    assert len(records(parse(envelope(*[("attachment", payload)] * 5), max_items=9)).items) == 5


def test_headers_are_short() -> None:
    with pytest.raises(BadEnvelopeError, match="first line is larger"):
        parse(envelope(large="x" * MAX_HEADER), max_items=9)
    with pytest.raises(BadEnvelopeError, match="header of item 1 is larger"):
        parse(b'{}\n{"type": "a", "x": "%b"}\n' % (b"x" * MAX_HEADER), max_items=9)


def test_what_comes_together_tells_of_a_bounded_number_of_things_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "_BATCH_ENTRIES", 10)
    together: list[int] = []
    add_all = store.add_all

    def count(arrivals: Any) -> None:
        together.append(len(arrivals))
        add_all(arrivals)

    monkeypatch.setattr(store, "add_all", count)
    body = gzip.compress(envelope(("log", {"items": [{}] * 8})))

    async def send() -> None:
        intake = Intake(store, Limits(), lambda: None, idle=0.02)
        await asyncio.gather(*[intake.take(Submission("1", body, "gzip")) for _ in range(10)])

    asyncio.run(send())
    assert max(together) == 2


def request(*chunks: bytes, ends: bool = True) -> Request:
    """A request whose body comes in these chunks, and then no more."""
    waiting = list(chunks)

    async def receive() -> dict[str, Any]:
        if waiting:
            chunk = waiting.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(waiting) or not ends}
        await asyncio.Event().wait()
        raise AssertionError

    return Request(http_scope("/stream", method="POST"), receive)


def test_bodies_are_bounded_together_and_room_comes_back() -> None:
    async def take(uploads: Uploads, *chunks: bytes) -> int:
        async with uploads.body(request(*chunks)) as body:
            return len(body)

    async def scenario() -> None:
        uploads = Uploads(100, together=150)
        async with uploads.body(request(bytes(60), bytes(40))):
            assert await take(uploads, bytes(50)) == 50
            with pytest.raises(BadEnvelopeError, match="too much at once") as refused:
                await take(uploads, bytes(40), bytes(20))
            assert refused.value.status == 503
            assert await take(uploads, bytes(50)) == 50
        assert await take(uploads, bytes(100)) == 100
        with pytest.raises(BadEnvelopeError, match="larger than 100 bytes"):
            await take(uploads, bytes(60), bytes(60))
        assert await take(uploads, bytes(100)) == 100

    asyncio.run(scenario())


@pytest.mark.parametrize("closing_it", [True, False])
def test_a_body_that_is_half_sent_is_refused_in_time_and_when_the_inspector_ends(
    closing_it: bool,
) -> None:
    async def scenario() -> None:
        uploads = Uploads(100, together=100, seconds=60 if closing_it else 0.05)

        async def take() -> None:
            async with uploads.body(request(bytes(80), ends=False)):
                raise AssertionError

        taking = asyncio.ensure_future(take())
        await asyncio.sleep(0.01)
        if closing_it:
            uploads.close()
        with pytest.raises(BadEnvelopeError, match="not complete in time") as refused:
            await asyncio.wait_for(taking, 5)
        assert refused.value.status == 408
        async with uploads.body(request(bytes(100))) as body:
            assert len(body) == 100

    asyncio.run(scenario())


def test_a_half_sent_request_does_not_keep_the_inspector_from_ending(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    import socket

    app = create_app(store)
    with serve_in_thread(app, ending=app.close) as url, socket.socket() as client:
        client.connect(("127.0.0.1", httpx.URL(url).port or 0))
        client.sendall(
            b"POST /stream HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999\r\n\r\nhalf"
        )
        wait_for(lambda: len(app.uploads._deadlines), lambda count: count == 1)
        app.live.close()  # from here on it ends
    assert "timeout graceful shutdown exceeded" not in caplog.text


# What is asked for.


def test_the_page_of_a_large_envelope_shows_its_beginning_and_downloads_whole(
    inspector: Inspector,
) -> None:
    body = "é".encode() * (30 * MEBIBYTE // 2)
    deep = b"[" * 900 + b"0," * 100_000 + b"0" + b"]" * 900
    inspector.store.add("1", kept(("attachment", b'"%b"' % body), ("attachment", deep)), received=1)
    with at_most(20):
        text = Pages(inspector.store, "none").envelope("1") or ""
    assert text.count("é") > 1000
    assert "\N{REPLACEMENT CHARACTER}" not in text
    assert "31,457,282 bytes" in text or "30,720 KB" in text
    raw = inspector.get("/envelopes/1/raw")
    assert raw.content.endswith(b'"\n{"type":"attachment","length":%d}\n%b\n' % (len(deep), deep))
    assert len(raw.content) == int(raw.headers["content-length"])
    size, pieces = Pages(inspector.store, "none").raw("1") or (0, iter(()))
    with at_most(12):
        assert sum(map(len, pieces)) == size


def test_deep_json_is_not_written_out_further_than_it_is_shown(store: Store) -> None:
    deep = b"[" * 300 + b"0," * 200_000 + b"0" + b"]" * 300
    store.add("1", kept(("attachment", deep)), received=1)
    with at_most(40):
        assert Pages(store, "none").envelope("1")


def test_entries_in_full_are_bounded_by_bytes_and_nothing_is_left_out(inspector: Inspector) -> None:
    for letter in "abcd":
        inspector.store.add("1", kept(("event", large(letter, 5 * MEBIBYTE))), received=1)
    inspector.store.add("1", kept(("event", large("e")), ("log", {"items": [{}]})), received=1)
    answer = inspector.get("/entries?full=1")
    assert len(answer.content) < MAX_TOLD_BYTES + 5000
    assert [one["number"] for one in answer.json()] == [1]
    told = follow(inspector.url, last=10, full=True)
    assert [next(told)["title"] for _ in range(6)] == ["a", "b", "c", "d", "e", "(empty)"]
    with at_most(60):
        app = create_app(inspector.store)
        scope = http_scope("/entries", query_string=b"full=1", headers=[(b"host", b"localhost")])
        assert run(app, scope)[0]["status"] == 200


def test_entries_in_full_have_what_a_log_says_besides_its_text(inspector: Inspector) -> None:
    log = {
        "body": "low",
        "attributes": {"cups": {"value": 2, "type": "integer"}, "tea": {"value": "green"}},
    }
    inspector.report(envelope(("log", {"items": [{"body": "other"}, log]}), ("session", {})))
    first, second, session = inspector.get("/entries?full=1").json()
    assert "attributes" not in session
    assert (first["attributes"], second["attributes"]) == ({}, {"cups": 2, "tea": "green"})
    assert "attributes" not in inspector.get("/entries").json()[1]


def test_entries_in_full_are_many_small_ones_in_one_answer_until_there_is_no_room(
    inspector: Inspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentry_asgi.inspector import app as module

    monkeypatch.setattr(module, "MAX_TOLD_BYTES", 4000)
    inspector.store.add("1", kept(("log", {"items": [{"body": "x" * 400}] * 30})), received=1)
    assert 1 < len(inspector.get("/entries?full=1").json()) < 8
    told = follow(inspector.url, last=30, full=True)
    assert [next(told)["number"] for _ in range(30)] == list(range(1, 31))


def test_a_search_looks_for_a_bounded_number_of_words(store: Store) -> None:
    words = [f"w{number}" for number in range(MAX_TERMS + 4)]
    store.add("1", kept(("event", error(" ".join(words)))), received=1)
    queries: list[str] = []
    store._reader.set_trace_callback(queries.append)
    assert len(store.entries(Filter(text=" ".join([*words, *words])), limit=5)) == 1
    (query,) = [query for query in queries if query.startswith("SELECT entries.id")]
    assert query.count(" LIKE ") == MAX_TERMS + 1
    assert store.entries(Filter(text=" ".join([*words[:-1], "none"])), limit=5) == []


def test_each_batch_of_a_trace_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from sentry_asgi.inspector import lists, spans

    def item(number: int) -> dict[str, Any]:
        return {
            "trace_id": TRACE,
            "span_id": f"{number:x}",
            "body": f"log {number}",
            "start_timestamp": number,
        }

    batch = {"items": [item(number) for number in range(1500)]}
    store.add("1", kept(("log", batch), ("span", batch)), received=1)
    reads: list[int] = []
    for module in (lists, spans):
        original = module.items_of

        def count(batch: Any, original: Any = original) -> Any:
            reads.append(1)
            return original(batch)

        monkeypatch.setattr(module, "items_of", count)
    page = Pages(store, "none").trace(TRACE) or ""
    assert len(reads) == 2
    assert page.count("data-number") == MAX_LOGS
    assert "1000 later logs are not shown" in page


def test_a_trace_reads_a_bounded_number_of_bytes_and_says_what_it_leaves_out(store: Store) -> None:
    trace = {"trace_id": TRACE, "span_id": "a1"}
    for number in range(4):
        event = {
            **large("x", MAX_JSON // 3 - 1000),
            "contexts": {"trace": trace},
            "start_timestamp": number,
        }
        store.add("1", kept(("transaction", event)), received=1)
    with at_most(40):
        page = Pages(store, "none").trace(TRACE) or ""
    assert "3 spans" in page
    assert "At least 1 spans are not shown" in page


def test_spans_are_read_up_to_a_number(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from sentry_asgi.inspector import trace as module

    monkeypatch.setattr(module, "MAX_READ", 5)
    spans = [{"span_id": f"{n:x}", "start_timestamp": n} for n in range(9)]
    event = {"contexts": {"trace": {"trace_id": TRACE}}, "start_timestamp": 0, "spans": spans}
    store.add("1", kept(("transaction", event)), received=1)
    assert len(module.trace_view(TRACE, store.trace(TRACE, limit=9, most=9999)).bars) == 5


def test_a_trace_at_the_end_of_all_time_has_its_page(inspector: Inspector) -> None:
    for moment in (253402300799.9999, 1e300, -1e300, "9999-12-31T23:59:59.999999Z"):
        event = {
            "contexts": {"trace": {"trace_id": TRACE, "span_id": "a1"}},
            "start_timestamp": moment,
        }
        inspector.report(envelope(("transaction", event)))
    assert inspector.get(f"/traces/{TRACE}").status_code == 200
    assert inspector.get("/?show=requests").status_code == 200


def test_what_listeners_are_told_is_counted_once_for_all_of_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    newest = store.newest

    def count() -> int:
        counts.append(1)
        return newest()

    monkeypatch.setattr(store, "newest", count)
    app: Any = create_app(store)
    listening = 40

    async def scenario() -> None:
        heard: list[int] = []

        async def send(message: dict[str, Any]) -> None:
            heard.append(message.get("body", b"").count(b"data: "))

        async def receive() -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

        scope = http_scope("/live", headers=[(b"host", b"localhost")])
        async with anyio.create_task_group() as group:
            for _ in range(listening):
                group.start_soon(app, scope, receive, send)
            with anyio.fail_after(10):
                for news in range(1, 4):
                    app.live.notify()
                    while sum(heard) < news * listening:
                        await asyncio.sleep(0.01)
            app.live.close()

    asyncio.run(scenario())
    assert len(counts) < 12


@pytest.mark.parametrize(
    "path",
    ["/", "/live", "/entries?full=1", "/envelopes/1/raw", "/health", "/static/inspector.css",
     "/requests/a1", "/figures", "/profiles/1", f"/events/{ID}/export"],
)  # fmt: skip
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_page_elsewhere_asks_for_costs_nothing(
    inspector: Inspector, site: str, path: str
) -> None:
    for mode, destination in (("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe")):
        headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": destination}
        assert inspector.get(path, headers=headers).status_code == 403


def test_a_link_elsewhere_may_lead_here(inspector: Inspector) -> None:
    link = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    assert inspector.get("/", headers=link).status_code == 200
    for site in ("same-origin", "none"):
        assert inspector.get("/entries", headers={"sec-fetch-site": site}).status_code == 200


@pytest.mark.parametrize("host", [
    "evil.com\\@127.0.0.1", "127.0.0.1#.evil.com", "a@127.0.0.1", "127.0.0.1/x", "127.0.0.1?.evil.com",
    "127.0.0.1:80:80", "[::1].evil.com", "[::1", "127.0.0.1 ", "localhost:", "localhost:x", "[127.0.0.1]x",
])  # fmt: skip
def test_a_host_that_is_no_plain_name_is_nobodys(store: Store, host: str) -> None:
    app = create_app(store)
    sent = run(app, http_scope("/health", headers=[(b"host", host.encode())]))
    assert sent[0]["status"] == 403
    headers = [(b"host", b"localhost"), (b"origin", f"http://{host}".encode())]
    sent = run(app, http_scope("/stream", method="POST", headers=headers))
    assert sent[0]["status"] == 403


def test_a_tail_goes_on_where_entries_have_made_room(inspector: Inspector) -> None:
    assert list(_between(inspector.url, 0, 99, full=True)) == []


# The file.


def test_a_place_that_is_no_files_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere" / "a.sqlite3"):
        with pytest.raises(StoreError, match="cannot be used by the inspector"):
            Store(path)


def test_a_transaction_that_sqlite_ended_itself_fails_as_what_ended_it(store: Store) -> None:
    def fill() -> None:
        with store.transaction():
            store._writer.execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(sqlite3.OperationalError, match="is full"):
        fill()
    store.add("1", kept(("event", error())), received=1)


def test_a_file_that_is_kept_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(Store(tmp_path / "a.sqlite3")) as store:
            store.add("1", kept(("event", error())), received=1)
            modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {0o600}


def test_a_file_that_was_removed_takes_nothing_more_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.sqlite3"
    with closing(Store(path)) as store:
        app = create_app(store)
        with serve_in_thread(app, ending=app.close) as url, Inspector(url, store) as inspector:
            assert inspector.report(envelope(("event", error()))).status_code == 200
            path.unlink()
            for _ in range(5):
                answer = inspector.report(envelope(("event", error())))
                assert (answer.status_code, "was removed" in answer.json()["detail"]) == (503, True)
            with closing(Store(path)):  # another's
                assert inspector.report(envelope(("event", error()))).status_code == 503
    assert len([one for one in caplog.records if "Cannot store envelopes" in one.message]) == 1
    assert "Traceback" not in caplog.text


FULL_DISK = """
import resource, signal, sqlite3, sys
from pathlib import Path
from sentry_asgi.inspector.store import Store
from tests.inspector.support import error, kept

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
count = 0
try:
    while True:
        store.add("1", kept(("attachment", bytes(50_000)), ("event", error())), received=1)
        count += 1
except sqlite3.OperationalError as full:
    print(full)
newest = store.newest()
store.clear()
assert store.totals() == (0, 0), store.totals()
store.add("1", kept(("event", error("After"))), received=1)
assert store.newest() > newest >= count > 5, (store.newest(), newest, count)
"""


def test_a_full_disk_is_made_room_on_by_clearing(tmp_path: Path) -> None:
    """As where the file may grow no further: deleting rows would need room as well."""
    told = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "a.sqlite3")],
        check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60,
    )  # fmt: skip
    assert (told.returncode, told.stderr) == (0, "")


def test_a_file_that_is_locked_is_not_begun_anew(tmp_path: Path) -> None:
    with (
        closing(Store(tmp_path / "a.sqlite3", patience=0.05)) as store,
        closing(sqlite3.connect(tmp_path / "a.sqlite3")) as other,
    ):
        store.add("1", kept(("event", error())), received=1)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            store.clear()
        other.rollback()
        assert store.totals()[0] == 1


def test_what_is_not_there_is_a_page_for_people_and_json_for_programs(inspector: Inspector) -> None:
    page = inspector.get("/nowhere", headers={"accept": "text/html,*/*"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "Not Found" in page.text
    assert 'href="/"' in page.text
    assert inspector.get("/nowhere").json() == {"detail": "Not Found"}
    assert ID not in page.text
