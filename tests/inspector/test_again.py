"""A request is sent again, as it was, to the app that `dev` serves, and to no other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sentry_sdk
from click.testing import CliRunner
from mcp.client import Client
from playwright.sync_api import Browser
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from sentry_asgi import SentryMiddleware
from sentry_asgi.inspector import again as again_module
from sentry_asgi.inspector.again import Memory, of_request
from sentry_asgi.inspector.cli import cli
from sentry_asgi.inspector.dev_app import options
from sentry_asgi.inspector.recording import Recording
from sentry_asgi.inspector.seen import Seen
from sentry_asgi.inspector.server import serve_in_thread
from sentry_asgi.inspector.store import Filter
from sentry_asgi.inspector.telling import Teller
from sentry_asgi.inspector.unseen import unseen
from tests.support import Sentry

from .support import Inspector, envelope, wait_for

SECRET = {"authorization": "Bearer s3cr3ts3cr3t0"}
PRICES: dict[str, int] = {}
HEARD: list[dict[str, Any]] = []
Serving = Callable[[], Any]


async def order(request: Any) -> Any:
    if request.headers.get("authorization") != SECRET["authorization"]:
        return JSONResponse({"detail": "who are you?"}, 401)
    data = await request.json()
    return JSONResponse({"price": PRICES[data["name"]], "paid_by": data["password"]})


async def upload(request: Any) -> Any:
    return JSONResponse({"size": len(await request.body())})


async def echo(request: Any) -> Any:
    headers = [[one.decode("latin-1") for one in pair] for pair in request.headers.raw]
    received = {
        "method": request.method,
        "target": str(request.url.path),
        "query": request.url.query,
    }
    HEARD.append({**received, "headers": headers, "body": await request.body()})
    return JSONResponse({"heard": len(HEARD)})


@pytest.fixture
def serving(inspector: Inspector, sentry: Sentry) -> Serving:
    """Serves the app as `dev` does, each time in what would be another process."""
    client = sentry_sdk.get_client()
    sentry_sdk.init(**options(inspector.url, "shop"), auto_enabling_integrations=False)
    client.close(timeout=0)
    PRICES.clear()
    HEARD.clear()
    app = Starlette(
        routes=[
            Route("/order", order, methods=["POST"]),
            Route("/upload", upload, methods=["POST"]),
            Route("/echo/{rest:path}", echo, methods=["GET", "POST", "PUT"]),
        ]
    )

    @contextmanager
    def served() -> Iterator[httpx.Client]:
        recording = Recording(SentryMiddleware(app), inspector.url, Teller(inspector.url, unseen))
        with serve_in_thread(recording) as url, httpx.Client(base_url=url, trust_env=False) as one:
            told = {"service": "shop", "url": url, "token": recording.memory.token}
            assert inspector.post("/api/local/app", json=told).status_code == 200
            yield one

    return served


def asked(inspector: Inspector) -> str:
    """The id of the newest request, when all is told of it."""

    def look() -> str:
        for one in inspector.store.entries(Filter(["request"]), limit=1):
            told = inspector.get(f"/requests/{one.span_id}.json").json()
            return one.span_id if told["asked"] and told["asked"]["status"] else ""
        return ""

    return wait_for(look, bool)


def order_tea(client: httpx.Client) -> None:
    client.post("/order?page=1", json={"name": "tea", "password": "hunter2hunter2"}, headers=SECRET)


def test_a_request_is_sent_as_it_was_secrets_included(
    inspector: Inspector, serving: Serving, tmp_path: Path
) -> None:
    with serving() as client:
        order_tea(client)
        span_id = asked(inspector)
        PRICES["tea"] = 3
        told = inspector.post(f"/requests/{span_id}/again.json").json()
        assert (told["was"]["status"], told["now"]["status"], told["lacks"]) == (500, 200, [])
        assert '"price":3' in told["now"]["body"]
        assert told["request_id"] not in {"", span_id}
        text = inspector.post(f"/requests/{span_id}/again.md").text
        assert text.startswith("`POST /order` was answered 500, and is now answered 200")
        page = inspector.post(f"/requests/{span_id}/again")
        assert page.status_code == 303
        assert page.headers["location"].startswith("/requests/")
        newest = asked(inspector)
        wait_for(
            lambda: inspector.get(f"/requests/{newest}.json").status_code, lambda code: code == 200
        )
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"s3cr3t" not in kept
    assert b"hunter2" not in kept
    assert "hunter2" not in text
    assert "hunter2" not in str(told)


def test_after_a_reload_it_is_sent_without_secrets_and_says_so(
    inspector: Inspector, serving: Serving
) -> None:
    with serving() as client:
        order_tea(client)
        span_id = asked(inspector)
    with serving():
        text = inspector.post(f"/requests/{span_id}/again.md").text
        page = inspector.post(f"/requests/{span_id}/again", follow_redirects=True).text
    assert "It was sent without what was secret in it" in page
    assert "was answered 500, and is now answered 401" in text
    assert "(not quite the same: without the header authorization, parts of the body)" in text


def test_after_a_reload_one_without_secrets_is_answered(
    inspector: Inspector, serving: Serving
) -> None:
    with serving() as client:
        client.post(
            "/upload?token=abcabcabcabc", content=b"tea", headers={"content-type": "text/plain"}
        )
        span_id = asked(inspector)
    with serving() as client:
        told = inspector.post(f"/requests/{span_id}/again.json").json()
        assert told["now"] == {"status": 200, "body": '{"size":3}'}
        assert told["lacks"] == ["parts of the query"]
        client.post("/upload", content=b"\x00" * 20_000)
        wait_for(lambda: asked(inspector) != told["request_id"], bool)
        large = inspector.post(f"/requests/{asked(inspector)}/again.json").json()
        assert large["lacks"] == ["the body"]


def test_what_cannot_be_sent_is_told(inspector: Inspector, serving: Serving) -> None:
    assert inspector.post("/requests/ff/again.json").status_code == 404
    span = "b1" * 8
    about: dict[str, Any] = {"trace": {"trace_id": "a1" * 16, "span_id": span, "op": "http.server"}}
    inspector.report(envelope(("transaction", {"type": "transaction", "contexts": about})))
    assert inspector.post(f"/requests/{span}/again.json").status_code == 404
    assert inspector.post(f"/requests/{span}/again").status_code == 404
    with serving() as client:
        order_tea(client)
        span_id = asked(inspector)
    assert inspector.post(f"/requests/{span_id}/again").status_code == 400
    gone = inspector.post(f"/requests/{span_id}/again.json")
    assert (gone.status_code, gone.json()["detail"][:33]) == (
        400,
        "The app could not be sent this: [",
    )
    for url in (
        "http://evil.example:80",
        "http://127.0.0.1:x",
        "https://127.0.0.1:1",
        "http://127.0.0.1",
    ):
        inspector.post("/api/local/app", json={"service": "tea", "url": url, "token": "x"})
    for number in range(101):
        about = {"service": f"s{number}", "url": "http://127.0.0.1:1", "token": "x"}
        inspector.post("/api/local/app", json=about)
    unknown = inspector.post(f"/requests/{span_id}/again.json")
    assert unknown.json()["detail"].startswith("No app 'shop' is served by `sentry-asgi dev` now")
    assert inspector.post("/api/local/app", content=b"[]").status_code == 400


def test_an_app_without_the_recorder_tells_the_status_alone(
    inspector: Inspector, serving: Serving
) -> None:
    async def plain(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    with serving() as client:
        order_tea(client)
        span_id = asked(inspector)
    with serve_in_thread(plain) as url:
        inspector.post("/api/local/app", json={"service": "shop", "url": url, "token": "x"})
        told = inspector.post(f"/requests/{span_id}/again.json").json()
        text = inspector.post(f"/requests/{span_id}/again.md").text
    assert "is now answered 204" in text
    assert "/requests/" not in text
    assert (told["now"], told["request_id"]) == ({"status": 204, "body": ""}, "")


def test_no_other_page_has_anything_sent(inspector: Inspector, serving: Serving) -> None:
    with serving() as client:
        order_tea(client)
        span_id = asked(inspector)
        for headers in (
            {"origin": "http://evil.example"},
            {"origin": "http://localhost:3000"},
            {"host": "evil.example"},
        ):
            for path in (f"/requests/{span_id}/again.json", "/api/local/app"):
                assert inspector.post(path, headers=headers).status_code == 403
        assert inspector.get(f"/requests/{span_id}/again.json").status_code == 405
        own = {"x-sentry-asgi-again": f"wrong:{span_id}"}
        answer = client.post("/order", headers=own)
        assert (answer.status_code, "x-sentry-asgi-request" in answer.headers) == (401, False)


def test_agents_and_the_shell_send_again(
    inspector: Inspector, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the tests' own stays

    async def called(arguments: dict[str, str]) -> Any:
        async with Client(f"{inspector.url}/mcp") as client:
            return await client.call_tool("send_again", arguments)

    with serving() as client:
        order_tea(client)
        span_id = asked(inspector)
        PRICES["tea"] = 3
        answer = asyncio.run(called({"id": span_id}))
        assert "is now answered 200" in answer.content[0].text
        assert asyncio.run(called({})).content[0].text == "send_again needs id."
        result = CliRunner().invoke(cli, ["again", span_id, "--url", inspector.url])
        assert result.exit_code == 0, result.output
        assert "is now answered 200" in result.output
        assert CliRunner().invoke(cli, ["again", "ff", "--url", inspector.url]).exit_code == 1


def test_so_many_are_remembered_whose_body_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again_module, "MOST", 2)
    memory = Memory()
    for number in range(4):
        seen = Seen({"headers": []})
        seen.span_id = f"a{number}" if number else ""
        memory.keep(of_request({"path": f"/{number}"}), seen)
    assert list(memory._kept) == ["a2", "a3"]
    cut = Seen({})
    cut.span_id, cut.asked.size = "b1", 5
    memory.keep({}, cut)
    assert "b1" not in memory._kept


def test_what_is_sent_again_has_its_body_once() -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def read() -> tuple[dict[str, Any], list[Any], bytes]:
        restored, again, how = await memory.restored(scope, receive)
        return restored, [await again(), await again()], how

    memory, seen = Memory(), Seen({})
    seen.span_id = "a1"
    seen.asked.add(b"tea")
    memory.keep({"path": "/a"}, seen)
    scope = {"headers": [(again_module.HEADER, f"{memory.token}:a1".encode())], "path": "/b"}
    assert memory.is_again(scope)
    restored, messages, how = asyncio.run(read())
    assert (restored["path"], how) == ("/a", b"as it was")
    assert [one["type"] for one in messages] == ["http.request", "http.disconnect"]
    assert messages[0]["body"] == b"tea"


def test_a_button_sends_it_again_and_shows_the_new_request(
    inspector: Inspector, serving: Serving, browser: Browser
) -> None:
    with serving() as client:
        order_tea(client)
        span_id = asked(inspector)
        PRICES["tea"] = 3
        page = browser.new_page()
        page.goto(f"{inspector.url}/requests/{span_id}")
        page.get_by_role("button", name="Send again").click()
        page.wait_for_url(f"**/requests/*?was={span_id}")
        assert page.locator("#then .status").inner_text() == "500"
        assert page.locator("#now .status").inner_text() == "200"
        assert "price" in page.locator("#now .body-text").inner_text()
        assert "without what was secret" not in page.locator("main").inner_text()
        page.close()
