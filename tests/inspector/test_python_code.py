"""What is copied as Python sends what was sent, is literals and nothing else, and fails as the request did."""

from __future__ import annotations

import ast
import html
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import httpx
from hypothesis import given, settings, strategies as st
from playwright.sync_api import Page
from starlette.applications import Starlette

from sentry_asgi.inspector.asked import request_of
from sentry_asgi.inspector.exchanges import Exchange, exchange
from sentry_asgi.inspector.python_code import Served, as_httpx, as_pytest
from sentry_asgi.inspector.recording import Recording
from sentry_asgi.inspector.server import serve_in_thread
from sentry_asgi.inspector.telling import Teller
from sentry_asgi.inspector.views import RequestView, event_view

from .support import Inspector, wait_for
from .test_again import Serving, asked, order_tea, serving
from .test_commands import free_port, of_kind, shop, started, text_at
from .test_views import EVENT

__all__ = ["serving", "shop"]

HOSTILE = [
    '"""', "'''", "\\", "'\"", "\n", "\r\n# x", "\u2028", "\x00", "\x0c", "\u202e", "{x}", "%s", "ü€", "\xff",
]  # fmt: skip
EVIL = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=5), max_size=6).map("".join)


def recorded(**record: Any) -> tuple[RequestView, Exchange]:
    told = exchange({"method": "POST", "path": "/", **record})
    view = request_of(None, told)
    assert view is not None
    return view, told


def sent(text: str) -> httpx.Request:
    """The request that the code makes, if it is one call of literals behind one import."""
    module = ast.parse(text)
    kinds = [type(one) for one in module.body]
    assert kinds == [ast.Import, ast.Assign, ast.Expr]
    assert isinstance(module.body[1], ast.Assign)
    call = module.body[1].value
    assert isinstance(call, ast.Call)
    assert ast.unparse(call.func) == "httpx.request"
    values = [ast.literal_eval(one) for one in call.args]
    named = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    return httpx.Request(*values, **named)


def code(**request: Any) -> str:
    view = event_view({"request": request}).request
    assert view is not None
    return as_httpx(view).text


def test_a_request_is_a_call_of_httpx() -> None:
    view, told = recorded(
        path="/orders/a b", query="page=1&x", request_body='{"cups":\n2}',
        request_headers=[["host", "shop:8000"], ["content-type", "application/json"], ["content-length", "11"]],
    )  # fmt: skip
    assert as_httpx(view, told).text == textwrap.dedent("""\
        import httpx

        response = httpx.request(
            "POST",
            "http://shop:8000/orders/a%20b?page=1&x",
            headers={
                "content-type": "application/json",
            },
            content=(
                '{"cups":\\n'
                "2}"
            ),
        )
        print(response.status_code, response.text)
    """)


def test_what_an_event_tells_of_a_request_is_one_too() -> None:
    plain = sent(code(url="http://shop/", query_string="a=1"))
    assert (plain.method, str(plain.url), plain.content) == ("GET", "http://shop/?a=1", b"")
    request = sent(code(
        method="PUT", url="http://shop/", cookies={"id": "7", "b": "2"}, data={"a": ["1", "2"], "b": "ü"},
        headers={"Cookie": "old", "Content-Type": "application/x-www-form-urlencoded"},
    ))  # fmt: skip
    assert request.headers["cookie"] == "id=7; b=2"
    assert request.content == b"a=1&a=2&b=%C3%BC"


def test_a_form_of_parts_is_sent_as_one() -> None:
    text = code(
        method="POST", url="http://shop/", data={"tea": "green", "photo": {"filename": "x"}},
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )  # fmt: skip
    request = sent(text)
    request.read()
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="tea"\r\n\r\ngreen\r\n' in request.content


def test_headers_that_come_twice_are_pairs() -> None:
    request = sent(code(url="http://x/", headers=[["A", "1"], ["a", "2"]]))
    assert request.headers.get_list("a") == ["1", "2"]


@settings(max_examples=150, deadline=None)
@given(EVIL, EVIL, EVIL, st.binary(max_size=8))
def test_whatever_a_request_holds_is_sent_and_nothing_else_is_done(
    path: str, name: str, body: str, value: bytes
) -> None:
    view, told = recorded(
        path=f"/{path}", method=name, request_body=body, query=path,
        request_headers=[["host", "shop"], [f"x{name}", value.decode("latin-1")]],
    )  # fmt: skip
    request = sent(as_httpx(view, told).text)
    assert request.content == (told.request_body or "").encode()
    assert value in [held for key, held in request.headers.raw if key.lower().startswith(b"x")]
    assert request.url.host == "shop"
    test = as_pytest(view, told, Served(name, wrapped=True), [name, body])
    assert [type(one) for one in ast.parse(test.text).body] == [
        ast.ImportFrom,
        ast.ImportFrom,
        ast.FunctionDef,
    ]


@settings(max_examples=60, deadline=None)
@given(EVENT)
def test_any_event_has_its_python(event: dict[str, Any]) -> None:
    request = event_view(event).request
    if request:
        compile(as_httpx(request).text, "x", "exec")
        compile(as_pytest(request, None, None, [str(event)]).text, "x", "exec")


async def heard(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        message = await receive()
        got = [scope["method"], scope["raw_path"], scope["query_string"], message["body"]]
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": repr(got).encode()})


def test_the_call_runs() -> None:
    with serve_in_thread(heard) as url:
        host = url.removeprefix("http://")
        view, told = recorded(
            path="/ä", query="ids=[1-3]", request_body="'\"\n\x00ü", request_headers=[["host", host], ["x", "ü"]]
        )  # fmt: skip
        script = as_httpx(view, told).text
        result = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=60
        )
    expected = ["POST", b"/%C3%A4", b"ids=[1-3]", "'\"\n\x00ü".encode()]
    assert result.stdout == f"418 {expected!r}\n"


APP = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from sentry_asgi import SentryMiddleware
prices = {}

@asynccontextmanager
async def lifespan(app):
    prices["tea"] = 3
    yield

async def order(request):
    data = await request.json()
    tea = dict(request.headers.raw)[b"x-tea"].decode()
    if tea != "gr\\xfcn" or data["note"] != "a\\n'\\"":
        return JSONResponse(None, 400)
    return JSONResponse({"price": prices[data["name"]]}, 201)

routes = [Route("/orders/{id}", order, methods=["POST"])]
bare = Starlette(routes=routes, lifespan=lifespan)
def make():
    return SentryMiddleware(Starlette(routes=routes, lifespan=lifespan))
app = make()
"""
BODY = '{"name": "milk",\n "note": "a\\n\'\\""}'


def run(texts: list[str], app: str, folder: Path) -> tuple[dict[str, str], str]:
    """What became of each test, by pytest itself; and all that it said."""
    (folder / "shop.py").write_text(app)
    (folder / "test_it.py").write_text("\n\n".join(texts), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-q", "-p", "no:cacheprovider", "test_it.py"],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    found = re.findall(r"^(PASSED|FAILED) test_it\.py::(\w+)", result.stdout, re.MULTILINE)
    return {name: outcome for outcome, name in found}, result.stdout


def test_the_test_fails_as_the_request_did_and_passes_once_the_app_is_mended(
    tmp_path: Path,
) -> None:
    texts = []
    for number, served in enumerate(
        [
            Served("shop:app", wrapped=True, lifespan=True),
            Served("shop:bare", lifespan=True),
            Served("shop:make", factory=True, wrapped=True, lifespan=True),
        ]
    ):
        tea = "grün".encode().decode("latin-1")
        view, told = recorded(
            path=f"/orders/{number}", status=500, request_body=BODY,
            request_headers=[["host", "shop"], ["x-tea", tea], ["content-type", "application/json"]],
        )  # fmt: skip
        test = as_pytest(view, told, served, ["KeyError 'milk'"])
        assert test.lacks == ()
        assert "(sentry_events):\n    # It was: KeyError 'milk'\n" in test.text
        texts.append(test.text)
    names = {f"test_post_orders_{number}" for number in range(3)}
    outcomes, output = run(texts, APP, tmp_path)
    assert outcomes == dict.fromkeys(names, "FAILED"), output
    assert output.count("AssertionError: assert [<KeyError 'm") >= 3
    outcomes, output = run(texts, APP.replace('prices["tea"]', 'prices["milk"]'), tmp_path)
    assert outcomes == dict.fromkeys(names, "PASSED"), output


NO_LIFESPAN = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("only HTTP")
    status = int(scope["path"][-3:])
    await send({"type": "http.response.start", "status": status, "headers": [(b"location", b"/")]})
    await send({"type": "http.response.body"})
"""


def test_an_app_without_a_lifespan_is_tested_and_its_status_is_asked_for(tmp_path: Path) -> None:
    cases = [
        (404, 404, "FAILED"), (404, 200, "PASSED"), (302, 302, "PASSED"),
        (302, 200, "FAILED"), (None, 200, "PASSED"), (None, 500, "FAILED"),
    ]  # fmt: skip
    texts, expected = [], {}
    for was, now, outcome in cases:
        view, told = recorded(method="GET", path=f"/{was}/{now}", status=was)
        test = as_pytest(view, told, Served("shop:app"), [])
        assert "with TestClient" not in test.text
        texts.append(test.text)
        expected[f"test_get_{was}_{now}".lower()] = outcome
    outcomes, output = run(texts, NO_LIFESPAN, tmp_path)
    assert outcomes == expected, output


def test_what_a_test_lacks_stands_in_it() -> None:
    view, told = recorded(request_headers=[["authorization", "[Filtered]"]], status=500)
    test = as_pytest(view, told, None, [])
    assert "# Not quite the same request: the header authorization is filtered.\n" in test.text
    assert "from main import app\n" in test.text
    assert "# Where is the app?" in test.text
    assert test.lacks == ("the header authorization is filtered",)
    view, told = recorded(request_headers=[["x-tea", "grün"]], status=500)
    assert as_pytest(view, told, None, []).lacks == ("the header x-tea was not in UTF-8",)
    assert as_httpx(view, told).lacks == ()


def test_a_page_has_them_for_the_clipboard(
    inspector: Inspector, serving: Serving, page: Page
) -> None:
    with serving() as client:
        order_tea(client)
        span_id = asked(inspector)
        about = {
            "service": "shop",
            "url": str(client.base_url),
            "token": "x",
            "target": "shop.main:app",
        }
        inspector.post("/api/local/app", json=about)
        page.goto(f"/requests/{span_id}")
        copied = []
        for name in ("Copy as httpx", "Copy as pytest"):
            page.get_by_role("button", name=name).click()
            page.locator("#toast.shown").wait_for()
            copied.append(page.evaluate("navigator.clipboard.readText()"))
        page.goto(f"/events/{inspector.errors()[0].event_id}")
        page.get_by_role("button", name="Copy as httpx").click()
        copied.append(page.evaluate("navigator.clipboard.readText()"))
    assert str(sent(copied[0]).url) == f"{client.base_url}/order?page=1"
    assert "from shop.main import app\n" in copied[1]
    assert "# It was: KeyError 'tea'" in copied[1]
    assert "SentryMiddleware(app)" in copied[1]
    assert sent(copied[2]).method == "POST"


def test_under_dev_the_copied_test_runs_as_it_is(shop: Path) -> None:
    inspector, port = free_port(), free_port()
    url, app = f"http://127.0.0.1:{inspector}", f"http://127.0.0.1:{port}"
    served = ("shop:make", "--no-reload", f"--inspector-port={inspector}", f"--port={port}")
    with started("dev", *served, cwd=shop, ready=app):
        assert httpx.get(f"{app}/order?page='1", trust_env=False).status_code == 500

        def copied() -> str:
            for one in of_kind(url, "request"):
                page = text_at(f"{url}/requests/{one['span_id']}") if one["status"] == "500" else ""
                found = re.search(r'<pre id="pytest" hidden>(.*?)</pre>', page or "", re.DOTALL)
                if found and "It was" in found[1] and "with TestClient" in found[1]:
                    return html.unescape(found[1])
            return ""

        text = wait_for(copied, bool)
    assert "from sentry_asgi import SentryMiddleware\nfrom shop import make\n" in text
    assert "with TestClient(SentryMiddleware(make())" in text
    assert "  # it was 500" in text
    source = (shop / "shop.py").read_text()
    outcomes, output = run([text], source, shop)
    assert outcomes == {"test_get_order": "FAILED"}, output
    assert "assert [<" in output


def test_who_has_a_start_up_tells_of_it() -> None:
    started_up: list[bool] = []
    recording = Recording(Starlette(), "http://127.0.0.1:1", Teller("http://127.0.0.1:1"))
    recording.on_startup = lambda: started_up.append(True)
    with serve_in_thread(recording):
        assert started_up == [True]
