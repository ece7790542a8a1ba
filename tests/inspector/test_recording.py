"""Under `dev` each request is told with its response, without secrets; and an error is shown where it is."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import sentry_sdk
from fastapi import FastAPI
from litestar import Litestar, get
from playwright.sync_api import Browser
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from sentry_asgi import SentryMiddleware
from sentry_asgi.inspector import error_page, recording, telling
from sentry_asgi.inspector.dev_app import _note_what_is_sent, options
from sentry_asgi.inspector.error_page import prefers_html
from sentry_asgi.inspector.exchanges import Exchange, find_exchange
from sentry_asgi.inspector.recording import Recording, is_bare
from sentry_asgi.inspector.seen import MAX_BODY
from sentry_asgi.inspector.server import serve_in_thread
from sentry_asgi.inspector.short_traceback import ShortTraceback, install, short
from sentry_asgi.inspector.store import Filter, Listed
from sentry_asgi.inspector.telling import Teller
from sentry_asgi.inspector.unseen import unseen
from tests.apps import configure_django
from tests.support import Sentry

from .support import Inspector, wait_for

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PRICES: dict[str, str] = {}
Client = Callable[[Any], Any]


@pytest.fixture
def served(inspector: Inspector, sentry: Sentry) -> Client:
    """Serves an app as `dev` does."""
    given = options(inspector.url, "shop")
    client = sentry_sdk.get_client()
    sentry_sdk.init(**given, auto_enabling_integrations=False)
    _note_what_is_sent(sentry_sdk.get_client().transport)
    client.close(timeout=0)

    @contextmanager
    def serving(app: Any) -> Iterator[httpx.Client]:
        wrapped = Recording(SentryMiddleware(app), inspector.url, Teller(inspector.url, unseen))
        with (
            serve_in_thread(wrapped) as url,
            httpx.Client(base_url=url, trust_env=False, timeout=30) as client,
        ):
            yield client

    return serving


def told(inspector: Inspector) -> tuple[Listed, Exchange]:
    """The newest request, with what was told of it."""

    def look() -> tuple[Listed, Exchange] | None:
        for one in inspector.store.entries(Filter(["request"]), limit=1):
            found = find_exchange(inspector.store, span_id=one.span_id)
            return None if found is None else (one, found)
        return None

    found = wait_for(look, lambda pair: pair is not None)
    assert found is not None
    return found


async def echo(request: Any) -> Any:
    body = await request.body()
    return JSONResponse({"got": body.decode(), "token": "t0kent0kent0ken"}, 201, {"x-a": "1"})


async def fail(request: Any) -> Any:
    await request.body()
    return PlainTextResponse(PRICES["bananas"])


def failing(response: Any) -> Any:
    """An app that has caught its failure, and answers by itself."""

    async def answer(_request: Any, _error: Exception) -> Any:
        return response

    return Starlette(routes=[Route("/", fail)], exception_handlers={KeyError: answer})


def test_a_request_is_told_with_its_response_and_without_secrets(
    inspector: Inspector, served: Client, tmp_path: Path
) -> None:
    sent = {"password": "hunter2hunter2", "note": "bearer0123456789"}
    headers = {
        "authorization": "Bearer bearer0123456789",
        "cookie": "session=c00kiec00kiec00kie; theme=dark",
    }
    with served(Starlette(routes=[Route("/echo", echo, methods=["POST"])])) as client:
        answer = client.post("/echo?page=1&api_key=k3yk3yk3yk3y", json=sent, headers=headers)
        assert answer.status_code == 201
        listed, exchange = told(inspector)
    assert (listed.trace_id, listed.span_id) == (exchange.trace_id, exchange.span_id)
    assert (exchange.method, exchange.path, exchange.status) == ("POST", "/echo", 201)
    assert exchange.query == "page=1&api_key=[Filtered]"
    assert exchange.header("x-a") == "1"
    assert (exchange.request_body_size, exchange.response_body_size) == (
        len(answer.request.content),
        len(answer.content),
    )
    assert '"note"' in (exchange.request_body or "")
    assert '"got"' in (exchange.response_body or "")
    assert exchange.duration is not None
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (b"hunter2", b"bearer01", b"c00kie", b"k3yk3y", b"t0ken"):
        assert secret not in kept, secret


def test_of_a_large_body_the_beginning_is_told_and_of_no_text_the_size(
    inspector: Inspector, served: Client
) -> None:
    async def stream(request: Any) -> Any:
        await request.body()

        async def pieces() -> Any:
            for _ in range(200):
                yield b"0123456789" * 100

        return StreamingResponse(pieces(), media_type="text/plain")

    with served(Starlette(routes=[Route("/", stream, methods=["POST"])])) as client:
        client.post("/", files={"photo": ("a.png", b"\x89PNG" * 5000)})
        _, exchange = told(inspector)
    assert exchange.request_body is None
    assert (exchange.request_body_size or 0) > 20_000
    assert (len(exchange.response_body or ""), exchange.response_body_size) == (MAX_BODY, 200_000)


@contextmanager
def app_of(framework: str) -> Iterator[Any]:
    """An app whose `/` fails, in this framework."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("bananas")

    if framework == "django":
        from django.test import override_settings

        app = django_app()
        with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"]):
            yield app
        return
    fastapi = FastAPI()
    fastapi.add_api_route("/", fail_plainly)
    yield {
        "asgi": bare,
        "starlette": Starlette(routes=[Route("/", fail)]),
        "fastapi": fastapi,
        "litestar": Litestar([litestar_fails]),
    }[framework]


async def fail_plainly() -> str:
    return PRICES["bananas"]


@get("/")
async def litestar_fails() -> str:
    return PRICES["bananas"]


def django_app() -> Any:
    from django.core.asgi import get_asgi_application
    from django.urls import path

    configure_django()
    globals()["urlpatterns"] = [path("", lambda _request: PRICES["bananas"])]
    return get_asgi_application()


@pytest.mark.parametrize("framework", ["asgi", "starlette", "fastapi", "litestar", "django"])
def test_a_browser_gets_the_errors_page_and_others_its_address(
    inspector: Inspector, served: Client, framework: str
) -> None:
    with ExitStack() as stack:
        app = stack.enter_context(app_of(framework))
        client = stack.enter_context(served(app))
        other = client.get("/", headers={"accept": "application/json"})
        (event_id,) = [one.event_id for one in inspector.wait_for(1)]
        assert other.status_code == 500
        assert other.headers["link"] == f'<{inspector.url}/events/{event_id}>; rel="describedby"'
        assert "bananas" not in other.text
        page = client.get("/", headers=BROWSER)
        newest = inspector.wait_for(2)[0].event_id
    assert page.status_code == 500
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert int(page.headers["content-length"]) == len(page.content)
    assert f'href="{inspector.url}/events/{newest}"' in page.text
    assert "KeyError" in page.text
    assert "test_recording.py" in page.text


@pytest.mark.parametrize(
    "response",
    [
        HTMLResponse("<h1>Our teapot is broken</h1>", 500),
        JSONResponse({"error": "out of bananas"}, 500),
        PlainTextResponse("x" * 40_000, 500),
    ],
)
def test_an_apps_own_error_page_stays(inspector: Inspector, served: Client, response: Any) -> None:
    with served(failing(response)) as client:
        answer = client.get("/", headers=BROWSER)
    assert answer.content == response.body
    inspector.wait_for(1)
    assert ("link" in answer.headers) is (len(response.body) < 40_000)


def test_a_response_that_tells_of_no_error_is_as_it_was(served: Client) -> None:
    async def unwell(_request: Any) -> Any:
        return PlainTextResponse("Internal Server Error", 503)

    with served(Starlette(routes=[Route("/", unwell)])) as client:
        answer = client.get("/", headers=BROWSER)
    assert (answer.status_code, answer.text) == (503, "Internal Server Error")
    assert "link" not in answer.headers


def test_nothing_is_held_for_long(served: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "PATIENCE", 0.1)
    ended: list[float] = []

    async def work() -> None:
        await asyncio.sleep(1.5)
        ended.append(time.monotonic())

    response = PlainTextResponse("Internal Server Error", 500, background=BackgroundTask(work))
    with served(failing(response)) as client:
        answer = client.get("/", headers=BROWSER)
        assert not ended
        assert answer.text == "Internal Server Error"
        wait_for(lambda: ended, bool)


def test_without_an_inspector_the_app_answers_as_it_did(
    served: Client, sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(error_page, "_PATIENCE", 0.2)
    app = Starlette(routes=[Route("/", fail), Route("/fine", echo)])
    gone = "http://127.0.0.1:9"
    teller = Teller(gone, unseen)
    for _ in range(telling._MOST + 10):
        teller.tell("/x", lambda: 1 / 0)
    wrapped = Recording(SentryMiddleware(app), gone, teller)
    with serve_in_thread(wrapped) as url, httpx.Client(base_url=url, trust_env=False) as client:
        failed = client.get("/", headers=BROWSER)
        assert (failed.status_code, failed.text) == (500, "Internal Server Error")
        assert client.get("/fine").status_code == 201


def test_an_app_that_fails_after_its_response_has_begun_fails_as_it_did(served: Client) -> None:
    async def half(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise KeyError("bananas")

    with served(half) as client, pytest.raises(httpx.RemoteProtocolError):
        client.get("/", headers=BROWSER)


def test_websockets_and_lifespan_pass(served: Client) -> None:
    from websockets.sync.client import connect

    async def talk(websocket: Any) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    with (
        served(Starlette(routes=[WebSocketRoute("/", talk)])) as client,
        connect(str(client.base_url).replace("http", "ws"), proxy=None) as socket,
    ):
        assert socket.recv() == "hello"


def test_odd_messages_are_the_servers_business(inspector: Inspector, sentry: Sentry) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 500})
        await send({"type": "http.response.trailers", "headers": []})
        await send({"type": "http.response.body", "body": "no bytes"})

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    wrapped = Recording(app, inspector.url, Teller(inspector.url, unseen))
    asyncio.run(wrapped({"type": "http", "method": "GET", "path": "/"}, receive, send))
    assert sent == ["http.response.start", "http.response.trailers", "http.response.body"]


def test_an_app_that_raises_what_is_not_reported_raises_it(inspector: Inspector) -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("bananas")

    async def send(message: Any) -> None:
        sent.append(message)

    wrapped = Recording(app, inspector.url, Teller(inspector.url, unseen))
    with pytest.raises(KeyError):
        asyncio.run(wrapped({"type": "http"}, send, send))
    assert sent == []


def test_a_page_that_cannot_be_made_changes_nothing(
    served: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "fetch_page", lambda *_: 1 / 0)
    with served(Starlette(routes=[Route("/", fail)])) as client:
        assert client.get("/", headers=BROWSER).text == "Internal Server Error"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (BROWSER["accept"], True),
        ("text/html", True),
        ("*/*", False),
        ("", False),
        ("application/json, text/html;q=0.9", False),
        ("application/json;q=0.5, text/html;q=0.9", True),
        ("text/html;q=1.2.3, application/json", False),
    ],
)
def test_who_wants_a_page(accept: str, wanted: bool) -> None:
    assert prefers_html([("accept", accept), ("x", "text/html")]) is wanted


@pytest.mark.parametrize(
    ("body", "bare"),
    [
        (b"", True),
        (b"Internal Server Error", True),
        (b'{"status_code":500,"detail":"Internal Server Error"}', True),
        (
            b"<!doctype html><title>500 Internal Server Error</title><h1>Internal Server Error</h1>",
            True,
        ),
        (b"<html><body>Out of bananas</body></html>", False),
        (b"\xff\xfe", False),
    ],
)
def test_what_only_says_that_something_failed(body: bytes, bare: bool) -> None:
    assert is_bare(body) is bare


# In the terminal.


def raised(act: Callable[[], Any]) -> BaseException:
    try:
        act()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_the_terminal_shows_own_frames_and_where_the_page_is() -> None:
    error = raised(lambda: json.loads("{"))
    setattr(error, recording.URL, "http://127.0.0.1:8969/events/1")
    text = short(error)
    assert 'test_recording.py", line' in text
    assert "json/decoder.py" not in text
    assert "frames of libraries are left out; --traceback shows them)" in text
    assert text.endswith("\N{RIGHTWARDS ARROW} http://127.0.0.1:8969/events/1")


def test_causes_and_groups_are_shown_and_what_has_no_own_frame_has_its_innermost() -> None:
    def chain() -> None:
        try:
            json.loads("{")
        except ValueError as error:
            raise ExceptionGroup("several", [error, KeyError("a")]) from error

    text = short(raised(chain))
    assert "several" in text
    assert "KeyError" in text
    assert "direct cause" in text
    assert text.count("test_recording.py") >= 3
    error = raised(lambda: json.loads("{"))
    assert error.__traceback__ is not None
    inner = error.__traceback__.tb_next
    assert "decoder.py" in short(error.with_traceback(inner and inner.tb_next))
    assert "left out" not in short(KeyError("never raised"))


def test_a_log_with_an_exception_is_printed_so(caplog: pytest.LogCaptureFixture) -> None:
    import logging

    logger = logging.getLogger("uvicorn.error")
    before = list(logger.filters)
    install()
    try:
        record = logger.makeRecord("uvicorn.error", 40, "", 1, "failed", (), None)
        one = ShortTraceback()
        assert one.filter(record)
        assert not record.exc_text
        error = raised(lambda: json.loads("{"))
        record.exc_info = (type(error), error, error.__traceback__)
        assert one.filter(record)
        assert "left out" in str(record.exc_text)
        assert "left out" in logging.Formatter().format(record)
        record.exc_text = None
        record.exc_info = (type(error), cast("Any", object()), None)
        assert one.filter(record)
        assert record.exc_text is None
    finally:
        logger.filters[:] = before


# In the browser's own window.


def test_the_page_in_the_browsers_window_leads_to_the_inspector(
    inspector: Inspector, served: Client, browser: Browser
) -> None:
    with served(Starlette(routes=[Route("/", fail)])) as client:
        page = browser.new_page()
        refused: list[str] = []
        page.on(
            "console",
            lambda message: refused.append(message.text) if "Policy" in message.text else None,
        )
        answer = page.goto(str(client.base_url))
        assert answer is not None
        assert answer.status == 500
        assert page.locator("h1").inner_text() == "KeyError"
        assert "bananas" in page.locator(".message").inner_text()
        page.get_by_role("link", name="In the inspector").click()
        page.wait_for_url(f"{inspector.url}/events/*")
        assert refused == []
        page.close()
