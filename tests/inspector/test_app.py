"""What the inspector answers, over HTTP from a real uvicorn: to SDKs, to browsers, to intruders."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
import sentry_sdk
from hypothesis import given, reject, settings
from sentry_sdk.scope import Scope, ScopeType, use_isolation_scope, use_scope

from sentry_asgi.inspector.app import create_app
from sentry_asgi.inspector.lists import PAGE_SIZE
from sentry_asgi.inspector.store import Store
from tests.support import call, http_scope, run

from .support import ID, Inspector, envelope, error
from .test_views import EVENT

# What SDKs say; some platforms' SDKs say nothing at all, and are taken too.
CONTENT_TYPE = "application/x-sentry-envelope"


@contextmanager
def sdk(**options: Any) -> Iterator[None]:
    """The real SDK, reporting in this block only, and flushed at its end."""
    client = sentry_sdk.Client(default_integrations=False, **options)
    current = Scope(ty=ScopeType.CURRENT, client=client)
    with use_isolation_scope(Scope(ty=ScopeType.ISOLATION)), use_scope(current):
        yield
    client.close(timeout=5)


def fail(order: dict[str, int]) -> None:
    try:
        order["tea<pot>"]
    except KeyError as cause:
        raise RuntimeError("no <b>teapot</b>") from cause


class Page(HTMLParser):
    """A page as a browser would see it: its tags, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_error_of_the_real_sdk_is_listed_and_shown_with_its_source(inspector: Inspector) -> None:
    with sdk(dsn=inspector.dsn, release="shop@1"):
        sentry_sdk.set_tag("shop", "tea")
        try:
            fail({})
        except RuntimeError:
            sentry_sdk.capture_exception()
    (listed,) = inspector.wait_for(1)
    first = Page(inspector.get("/").text)
    assert "RuntimeError no <b>teapot</b>" in " ".join(first.text.split())
    assert ("href", f"/events/{listed.event_id}") in first.attributes
    page = Page(inspector.get(f"/events/{listed.event_id}").text)
    assert 'raise RuntimeError("no <b>teapot</b>") from cause' in page.text
    assert page.text.index("RuntimeError") < page.text.index("KeyError")
    for text in ("caused by", "shop@1", "KeyError", "tea<pot>"):
        assert text in page.text


def test_the_message_of_an_sdk_that_speaks_spotlight_arrives(inspector: Inspector) -> None:
    with sdk(dsn="http://key@127.0.0.1:1/1", spotlight=f"{inspector.url}/stream"):
        sentry_sdk.capture_message("seen by Spotlight")
    (listed,) = inspector.wait_for(1)
    assert (listed.summary.title, listed.project) == ("seen by Spotlight", "spotlight")


def test_an_envelope_is_answered_with_the_events_id(inspector: Inspector) -> None:
    response = inspector.report(envelope(("event", error()), event_id=ID))
    assert (response.status_code, response.json()) == (200, {"id": ID})
    assert inspector.report(envelope(("attachment", b""))).json() == {}


def test_a_compressed_envelope_is_taken(inspector: Inspector) -> None:
    body = gzip.compress(envelope(("event", error("Packed"))))
    assert inspector.report(body, content_encoding="gzip").status_code == 200
    assert inspector.errors()[0].summary.title == "Packed"


BAD = {
    "no envelope": (b"nope", {}, 400),
    "a damaged event": (envelope(("attachment", b""), ("event", b"{")), {}, 400),
    "no gzip": (envelope(("event", error())), {"content_encoding": "gzip"}, 400),
    "an unknown encoding": (b"{}", {"content_encoding": "zip"}, 415),
    "a large body": (envelope(("attachment", bytes(150_000))), {}, 413),
    "a bomb": (
        gzip.compress(envelope(("attachment", bytes(300_000)))),
        {"content_encoding": "gzip"},
        413,
    ),
    "many items": (envelope(*[("attachment", b"")] * 6), {}, 413),
    "a page of another site": (
        envelope(("event", error())),
        {"origin": "https://evil.example"},
        403,
    ),
    "a page without a site": (envelope(("event", error())), {"origin": "null"}, 403),
    "a nonsensical origin": (envelope(("event", error())), {"origin": "http://["}, 403),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("path", ["/api/1/envelope/", "/stream"])
def test_what_is_bad_is_refused_with_a_reason_and_changes_nothing(
    inspector: Inspector, name: str, path: str
) -> None:
    inspector.report(envelope(("event", error("Before"))))
    before = inspector.errors(), inspector.store.totals()
    body, headers, status = BAD[name]
    response = inspector.report(body, path, **headers)
    assert response.status_code == status
    assert len(response.json()["detail"]) > 10
    assert (inspector.errors(), inspector.store.totals()) == before


def test_a_request_cut_short_changes_nothing(store: Store) -> None:
    scope = http_scope("/api/1/envelope/", method="POST", headers=[(b"host", b"localhost")])
    half = {"type": "http.request", "body": envelope(("event", error())), "more_body": True}
    sent = run(create_app(store), scope, [half, {"type": "http.disconnect"}])
    assert sent[0]["status"] == 400
    assert store.totals() == (0, 0)


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:80"]
)
def test_pages_on_loopback_names_may_report(inspector: Inspector, origin: str) -> None:
    assert inspector.report(envelope(("event", error())), origin=origin).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:80", "127.0.0.1:1234", "[::1]:8969", "[::1]", "192.168.1.5:8969"],
)
def test_loopback_names_are_answered(inspector: Inspector, host: str) -> None:
    assert inspector.get("/health", headers={"host": host}).json()["status"] == "ok"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "["]
)
@pytest.mark.parametrize("path", ["/", "/health", "/static/inspector.css", f"/events/{ID}"])
def test_other_names_read_nothing(store: Store, host: str, path: str) -> None:
    sent = run(create_app(store), http_scope(path, headers=[(b"host", host.encode())]))
    assert sent[0]["status"] == 403


def test_other_names_are_answered_where_configured(store: Store) -> None:
    app = create_app(store, hosts={"dev.example"})
    assert (
        run(app, http_scope("/health", headers=[(b"host", b"dev.example:1")]))[0]["status"] == 200
    )
    assert run(app, http_scope("/health", headers=[(b"host", b"localhost")]))[0]["status"] == 403


def test_health_tells_how_much_is_kept(inspector: Inspector) -> None:
    inspector.report(envelope(("attachment", b"12345")))
    health = inspector.get("/health").json()
    assert (health["status"], health["envelopes"], health["bytes"]) == ("ok", 1, 5)


def test_an_empty_inspector_says_how_to_fill_it(inspector: Inspector) -> None:
    dsn = inspector.url.replace("://", "://dev@") + "/1"
    text = Page(inspector.get("/").text).text
    for way in (
        "sentry-asgi dev module:app",
        f'sentry_sdk.init(dsn="{dsn}", traces_sample_rate=1.0)',
        f'spotlight="{inspector.url}/stream"',
        f'Sentry.init({{ dsn: "{dsn}", tracesSampleRate: 1.0 }})',
    ):
        assert way in text


def test_long_lists_have_pages(inspector: Inspector) -> None:
    for number in range(PAGE_SIZE + 1):
        inspector.report(envelope(("event", error(f"E{number}."))))
    first = Page(inspector.get("/").text)
    assert f"E{PAGE_SIZE}." in first.text
    assert "E0." not in first.text
    (older,) = (value for name, value in first.attributes if value and "before=" in value)
    second = Page(inspector.get(older or "").text)
    assert "E0." in second.text
    assert "E1." not in second.text
    assert "Nothing here is like that" in inspector.get("/?before=1").text


@pytest.mark.parametrize("before", ["", "-1", "x", "9" * 40, "٣"])
def test_a_page_that_is_none_is_the_first(inspector: Inspector, before: str) -> None:
    inspector.report(envelope(("event", error("Newest"))))
    assert "Newest" in inspector.get("/", params={"before": before}).text


def test_an_event_that_is_not_there_has_a_page_that_says_so(inspector: Inspector) -> None:
    response = inspector.get(f"/events/{ID}")
    assert response.status_code == 404
    assert "It never arrived, or it has made room for newer ones." in response.text


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nope", 404), ("DELETE", "/", 405)]
)
def test_what_is_not_there_is_refused_with_a_reason(
    inspector: Inspector, method: str, path: str, status: int
) -> None:
    response = inspector.request(method, path)
    assert (response.status_code, set(response.json())) == (status, {"detail"})


def test_an_event_is_found_by_its_id_in_any_form(inspector: Inspector) -> None:
    inspector.report(envelope(("event", error("Found")), event_id=ID))
    dashed = f"{ID[:8]}-{ID[8:12]}-{ID[12:16]}-{ID[16:20]}-{ID[20:]}".upper()
    assert "Found" in inspector.get(f"/events/{dashed}").text


def test_the_whole_of_an_event_is_on_its_page(inspector: Inspector) -> None:
    frame = {
        "function": "brew",
        "lineno": 3,
        "context_line": "boil()",
        "vars": {"cups": 2},
        "in_app": True,
    }
    library = {"function": "serve", "module": "http", "in_app": False}
    exception = {
        "type": "E", "value": "v", "mechanism": {"type": "asgi", "handled": False},
        "stacktrace": {"frames": [library, frame, {**frame, "filename": "tea.py"}]},
    }  # fmt: skip
    event = {
        "exception": {"values": [exception, {**exception, "mechanism": {"handled": True}}]},
        "message": "Tea is late", "level": "fatal", "transaction": "tea.brew", "timestamp": 0,
        "request": {
            "method": "POST", "url": "http://tea/pot", "query_string": "milk=no", "data": "2 cups",
            "headers": {"User-Agent": "kettle"},
        },
        "tags": {"room": "kitchen"}, "server_name": "stove",
    }  # fmt: skip
    inspector.report(envelope(("event", event), event_id=ID))
    html = inspector.get(f"/events/{ID}").text
    text = Page(html).text
    for shown in (
        "tea.brew", "1970-01-01 00:00:00 UTC", "Tea is late", "unhandled", "handled", "asgi", "boil()",
        "tea.py:3", "cups", "POST", "http://tea/pot", "milk", "2 cups", "kettle", "kitchen", "stove",
        "No source lines were sent", "fatal",
    ):  # fmt: skip
        assert shown in text
    assert html.count('<details class="frame" open>') == 4
    assert html.count('<details class="frame">') == 2


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}'


@pytest.mark.parametrize(
    ("more", "headings"),
    [
        ({}, []),
        ({"environment": "development"}, ["About"]),
        ({"tags": {"shop": "7"}}, ["About", "Tags"]),
    ],
)
def test_a_page_has_no_heading_with_nothing_beneath(
    inspector: Inspector, more: dict[str, Any], headings: list[str]
) -> None:
    inspector.report(envelope(("event", error(event_id=ID, **more))))
    page = inspector.get(f"/events/{ID}").text
    assert [
        name for name in ("About", "Tags", "") if re.search(f"<h[23]>{name}</h", page)
    ] == headings


def test_hostile_texts_are_shown_as_texts(inspector: Inspector) -> None:
    frame = dict.fromkeys(("function", "filename", "module", "context_line"), HOSTILE)
    stack = {"frames": [{**frame, "vars": {HOSTILE: HOSTILE}, "pre_context": [HOSTILE]}]}
    exception = {
        "type": HOSTILE,
        "value": HOSTILE,
        "mechanism": {"type": HOSTILE},
        "stacktrace": stack,
    }
    event = {
        **dict.fromkeys(("level", "transaction", "message", "release", "server_name"), HOSTILE),
        "exception": {"values": [exception]},
        "tags": {HOSTILE: HOSTILE},
        "request": {
            **dict.fromkeys(("method", "url", "query_string", "data"), HOSTILE),
            "headers": {HOSTILE: HOSTILE},
        },
    }
    inspector.report(envelope(("event", event), event_id=ID))
    for path in ("/", f"/events/{ID}"):
        page = Page(inspector.get(path).text)
        assert HOSTILE in page.text
        assert page.tags.count("script") == 2
        assert {name for name, _ in page.attributes}.isdisjoint({"onerror", "style"})
        assert page.tags.count("img") == 1


def test_pages_run_no_script_but_the_inspectors_and_are_framed_by_nobody(
    inspector: Inspector,
) -> None:
    for path in ("/", f"/events/{ID}", "/nope", "/static/inspector.css"):
        headers = inspector.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_pages_need_nothing_from_elsewhere(inspector: Inspector) -> None:
    page = Page(inspector.get("/").text)
    linked = {value for name, value in page.attributes if name in {"href", "src"} and value}
    assert {path for path in linked if "/static/" in path} == {
        "/static/icon.svg", "/static/inspector.css", "/static/inspector.js", "/static/theme.js",
    }  # fmt: skip
    assert all(path.startswith("/") and not path.startswith("//") for path in linked)
    for path in linked:
        assert inspector.get(path).status_code == 200


@settings(max_examples=25, deadline=None)
@given(event=EVENT)
def test_any_event_has_a_page(event: dict[str, Any]) -> None:
    import asyncio
    import tempfile
    from pathlib import Path

    try:
        json.dumps(event, allow_nan=False)
    except ValueError:
        reject()  # no JSON, and refused

    async def report_and_look(store: Store) -> None:
        app = create_app(store)
        headers = [(b"host", b"localhost")]
        body = {"type": "http.request", "body": envelope(("event", event), event_id=ID)}
        scope = http_scope("/stream", method="POST", headers=headers)
        assert (await call(app, scope, [body]))[0]["status"] == 200
        for path in ("/", f"/events/{ID}"):
            assert (await call(app, http_scope(path, headers=headers)))[0]["status"] == 200

    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "events.sqlite3")
        try:
            asyncio.run(report_and_look(store))
        finally:
            store.close()


def test_many_clients_may_report_at_once(inspector: Inspector) -> None:
    import asyncio

    async def report_all() -> list[int]:
        async with httpx.AsyncClient(base_url=inspector.url, trust_env=False) as client:
            posts = [
                client.post("/api/1/envelope/", content=envelope(("event", error(f"E{number}"))))
                for number in range(100)
            ]
            return [response.status_code for response in await asyncio.gather(*posts)]

    assert asyncio.run(report_all()) == [200] * 100
    assert len(inspector.errors()) == 100
    assert json.loads(inspector.get("/health").text)["envelopes"] == 100
