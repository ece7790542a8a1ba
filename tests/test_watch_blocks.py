"""Blocked event loops: in each situation what is reported, and what is none.

No test here asserts a time: what blocks does so for several times the limit, and what is no block lasts as long.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import hashlib
import io
import json
import pdb  # noqa: T100
import re
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jinja2
import pytest
import sentry_sdk
import uvloop
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware

from sentry_asgi import SentryMiddleware, Watch
from sentry_asgi._watch import watches
from sentry_asgi._watch.garbage import garbage

from .support import SDK_VERSION, App, Scope, Sentry, call, http_scope, respond, websocket_scope

pytestmark = pytest.mark.usefixtures("no_collection")

LIMIT = 0.1
LONG = 0.5
SAFE = 0.4
"""A limit that a busy machine does not reach by itself: for what is no block."""

LOOPS: dict[str, Any] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def watching(app: App, **options: Any) -> SentryMiddleware:
    watch = Watch(blocked_after=LIMIT, stuck_after=None)
    return SentryMiddleware(app, **{"watch": watch, "error_budget": None, **options})


def serve(
    app: App, *scopes: Scope, loop: str = "asyncio", messages: Any = (), after: float = 0.3
) -> None:
    """Serve one request after the other, on a loop that goes on for a while."""

    async def serving() -> None:
        await asyncio.sleep(0.05)
        for scope in scopes or (http_scope(),):
            with contextlib.suppress(ZeroDivisionError):
                await call(app, scope, messages)
            await asyncio.sleep(after)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(serving())
    end_watches()


def end_watches() -> None:
    """Wait until the watching threads have seen that their loops are closed."""
    gc.collect()
    until = time.monotonic() + 20
    while watches.watched() and time.monotonic() < until:
        time.sleep(0.01)
    assert not watches.watched()


def burn(seconds: float = LONG) -> None:
    """Use the processor, whatever else the machine does."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        json.dumps(list(range(1000)))


# Who blocks, each in its own way

Handler = Callable[[], Awaitable[None]]


async def sleeps() -> None:
    time.sleep(LONG)


async def computes() -> None:
    burn()


async def has_child() -> None:
    async def child() -> None:
        time.sleep(LONG)

    await asyncio.create_task(child())


async def gathers() -> None:
    async def part() -> None:
        time.sleep(LONG / 2)

    await asyncio.gather(part(), part())


async def hashes() -> None:
    data = bytes(1_000_000)
    until = time.thread_time() + LONG
    while time.thread_time() < until:
        hashlib.pbkdf2_hmac("sha256", data, b"salt", 100_000)


async def matches() -> None:
    until = time.thread_time() + LONG
    length = 20
    while time.thread_time() < until:
        length += 1
        re.match(r"(a+)+b", "a" * length)
    until = time.thread_time() + 0.05
    while time.thread_time() < until:
        """Or the watching thread, which coverage slows, may come when the handler is over."""


async def runs_process() -> None:
    subprocess.run(
        [sys.executable, "-c", f"import time; time.sleep({LONG}); print(1)"],
        capture_output=True,
        check=True,
    )


async def waits_for_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=LONG)


async def joins_thread() -> None:
    thread = threading.Thread(target=time.sleep, args=(LONG,))
    thread.start()
    thread.join()


async def queries() -> None:
    database = sqlite3.connect(":memory:")
    database.create_function("slow", 0, lambda: time.sleep(LONG))
    database.execute("SELECT slow()").fetchall()
    database.close()


async def renders() -> None:
    template = jinja2.Template("{{ price() }}")
    template.render(price=lambda: time.sleep(LONG))


async def loads_lazily() -> None:
    class Order:
        @functools.cached_property
        def items(self) -> list[int]:
            time.sleep(LONG)
            return []

    assert Order().items == []


class _Slow(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(LONG)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@contextlib.contextmanager
def slow_server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def fetches() -> None:
    with slow_server() as url, urllib.request.urlopen(url) as answer:
        answer.read()


BLOCKING: dict[Handler, str] = {
    sleeps: "sleeps",
    computes: "burn",
    has_child: "has_child.<locals>.child",
    gathers: "gathers.<locals>.part",
    hashes: "hashes",
    matches: "matches",
    runs_process: "runs_process",
    waits_for_lock: "waits_for_lock",
    joins_thread: "joins_thread",
    queries: "queries.<locals>.<lambda>",
    renders: "renders.<locals>.<lambda>",
    loads_lazily: "loads_lazily.<locals>.Order.items",
    fetches: "fetches",
}


def app_of(handler: Handler) -> App:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await handler()
        await respond(send)

    return app


def once_more(sentry: Sentry, loop: str = "asyncio") -> None:
    """A call that keeps the GIL is seen after it, if the thread comes before the request is over: a race, not won each time."""
    for _ in range(4):
        if not sentry.events:
            serve(watching(app_of(matches)), http_scope("/blocks"), loop=loop)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("handler", BLOCKING, ids=lambda one: one.__name__)
def test_what_blocks_is_told_with_its_request_and_its_place(
    sentry: Sentry, handler: Handler, loop: str
) -> None:
    serve(watching(app_of(handler)), http_scope("/blocks"), loop=loop)
    if handler is matches:
        once_more(sentry, loop)
    event = sentry.event
    (value,) = event["exception"]["values"]
    assert (value["type"], value["mechanism"]) == ("EventLoopBlocked", {"type": "ANR"})
    assert value["value"] == "Event Loop Blocked for at least 100 ms"
    assert event["level"] == "error"
    assert event["request"]["url"] == "http://example.org/blocks"
    assert event["fingerprint"] == ["EventLoopBlocked", __name__, BLOCKING[handler]]
    facts = event["contexts"]["asgi"]
    assert facts["blocked_seconds"] >= LIMIT
    assert facts["phase"] == "before response"
    assert f" in {BLOCKING[handler]}, " in facts["blocked_in"][0]
    frames = value["stacktrace"]["frames"]
    innermost = [one for one in frames if one["in_app"]][-1]
    assert BLOCKING[handler].endswith(innermost["function"])
    assert not any("vars" in frame for frame in frames)
    (thread,) = event["threads"]["values"]
    assert thread["main"]
    assert thread["current"]
    assert thread["id"] == value["thread_id"]


# Where it blocks


def fastapi_app() -> App:
    app = FastAPI()

    async def dependency() -> int:
        time.sleep(LONG)
        return 1

    async def stream() -> Any:
        yield b"begun"
        time.sleep(LONG)
        yield b"ended"

    @app.get("/depends")
    async def depends(number: int = Depends(dependency)) -> int:  # noqa: FAST002  # it is local
        return number

    @app.get("/streams")
    async def streams() -> StreamingResponse:
        return StreamingResponse(stream())

    @app.get("/quick")
    async def quick() -> int:
        return 1

    @app.get("/sync")
    def sync() -> int:
        time.sleep(LONG)
        return 1

    async def slow_middleware(request: Any, call_next: Any) -> Any:
        if request.url.path == "/quick":
            time.sleep(LONG)
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=slow_middleware)
    return app


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("/depends", "fastapi_app.<locals>.dependency"),
        ("/streams", "fastapi_app.<locals>.stream"),
        ("/quick", "fastapi_app.<locals>.slow_middleware"),
    ],
)
@pytest.mark.parametrize("loop", LOOPS)
def test_in_a_framework_too(sentry: Sentry, path: str, function: str, loop: str) -> None:
    serve(watching(fastapi_app()), http_scope(path), loop=loop)
    event = sentry.event
    assert event["fingerprint"][2] == function
    assert event["request"]["url"].endswith(path)
    assert event["contexts"]["asgi"]["phase"] == (
        "during response" if path == "/streams" else "before response"
    )
    # A middleware runs before anything is routed.
    assert event["transaction"] == (
        path if path == "/quick" else f"{__name__}.fastapi_app.<locals>{path.replace('/', '.')}"
    )


@pytest.mark.parametrize("loop", LOOPS)
def test_a_websocket(sentry: Sentry, loop: str) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        time.sleep(LONG)
        await send({"type": "websocket.close"})

    messages = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "price?"}]
    serve(watching(app), websocket_scope("/prices"), loop=loop, messages=messages)
    event = sentry.event
    assert event["request"]["url"] == "ws://example.org/prices"
    assert event["contexts"]["websocket"]["messages_received"] == 1


def test_a_callback_is_its_requests(sentry: Sentry) -> None:
    """On asyncio; uvloop's callbacks have no frame that would tell."""

    def callback() -> None:
        time.sleep(LONG)

    async def calls() -> None:
        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(0.01)

    serve(watching(app_of(calls)), http_scope("/calls"))
    assert sentry.event["request"]["url"] == "http://example.org/calls"
    assert sentry.event["fingerprint"][2].endswith("callback")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_callback_of_c(sentry: Sentry, loop: str) -> None:
    async def calls() -> None:
        asyncio.get_running_loop().call_soon(time.sleep, LONG)
        await asyncio.sleep(0.01)

    serve(watching(app_of(calls)), loop=loop)
    assert sentry.event["exception"]["values"][0]["type"] == "EventLoopBlocked"
    assert ("request" in sentry.event) == (loop == "asyncio")


@pytest.mark.parametrize("loop", LOOPS)
def test_the_lifespan(sentry: Sentry, loop: str) -> None:
    sentry_sdk.set_tag("set_by", "the process")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.3)
        time.sleep(LONG)
        await send({"type": "lifespan.startup.complete"})

    serve(watching(app), {"type": "lifespan"}, loop=loop, messages=[{"type": "lifespan.startup"}])
    event = sentry.event
    assert "request" not in event
    assert event["tags"]["set_by"] == "the process"
    assert event["fingerprint"][2] == "test_the_lifespan.<locals>.app"


def test_work_that_outlives_its_request(sentry: Sentry) -> None:
    late: set[asyncio.Task[None]] = set()

    async def later() -> None:
        await asyncio.sleep(0.1)
        time.sleep(LONG)

    async def starts() -> None:
        late.add(asyncio.create_task(later()))

    serve(watching(app_of(starts)), http_scope("/starts"), after=1.0)
    assert sentry.event["request"]["url"] == "http://example.org/starts"
    assert sentry.event["fingerprint"][2].endswith("later")


# What is nobody's


def test_many_short_callbacks_are_nobodys(sentry: Sentry) -> None:
    async def turns() -> None:
        await going.wait()
        burn(0.01)

    app = watching(app_of(turns))
    going = asyncio.Event()

    async def serving() -> None:
        requests = [asyncio.create_task(call(app, http_scope(f"/{n}"))) for n in range(200)]
        await asyncio.sleep(0.1)
        going.set()
        await asyncio.gather(*requests)

    asyncio.run(serving())
    end_watches()
    event = sentry.event
    assert "request" not in event
    facts = event["contexts"]["asgi"]
    assert facts["blocked_by"] == "many tasks or callbacks, one after the other"
    assert facts["tasks_seen"] >= 3


def test_garbage_collection_says_so(sentry: Sentry) -> None:
    kept: list[Any] = []

    async def makes() -> None:
        gc.disable()
        kept.extend([[] for _ in range(3_000_000)])
        gc.enable()
        await asyncio.sleep(2)  # making them has blocked, too, and the first event takes its time
        until = time.thread_time() + 2 * LONG
        while time.thread_time() < until:
            gc.collect()

    serve(watching(app_of(makes)))
    causes = [one["contexts"]["asgi"].get("blocked_by") or "" for one in sentry.events]
    assert any(one.startswith("a garbage collection of generation 2, ") for one in causes)
    assert garbage._note not in gc.callbacks  # others' may stay


def test_an_import_says_so(sentry: Sentry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_module.py").write_text(f"import time\ntime.sleep({LONG})\n")
    monkeypatch.syspath_prepend(tmp_path)

    async def imports() -> None:
        import heavy_module  # type: ignore[import-not-found]  # noqa: F401

    serve(watching(app_of(imports)))
    assert sentry.event["contexts"]["asgi"]["blocked_by"] == "the import of heavy_module"
    assert sentry.event["fingerprint"] == ["EventLoopBlocked", "heavy_module", "<module>"]


def test_a_call_that_keeps_the_gil_is_seen_when_it_has_returned(sentry: Sentry) -> None:
    once_more(sentry)
    facts = sentry.event["contexts"]["asgi"]
    assert sentry.event["fingerprint"][2] == "matches"
    # On a busy machine the watch cannot tell why it had to wait.
    assert "keeps the GIL" in facts.get("blocked_by", "keeps the GIL")


# What is no block


async def sleeps_in_thread() -> None:
    await asyncio.to_thread(time.sleep, LONG)


async def runs_in_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, LONG)


async def waits() -> None:
    await asyncio.sleep(LONG)


async def takes_turns() -> None:
    until = time.monotonic() + LONG
    while time.monotonic() < until:
        await asyncio.sleep(0)


async def computes_in_thread() -> None:
    await asyncio.to_thread(burn)


async def debugs() -> None:
    class Slow(io.StringIO):
        readline: Any = staticmethod(lambda: (time.sleep(LONG), "c\n")[1])  # type: ignore[func-returns-value]

    tracer = sys.gettrace()  # coverage's, which the debugger takes away
    pdb.Pdb(stdin=Slow(), stdout=io.StringIO(), nosigint=True).set_trace()
    sys.settrace(tracer)


NO_BLOCKS = [sleeps_in_thread, runs_in_executor, waits, takes_turns, computes_in_thread, debugs]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("handler", NO_BLOCKS, ids=lambda one: one.__name__)
def test_what_is_no_block_makes_no_event(sentry: Sentry, handler: Handler, loop: str) -> None:
    serve(watching(app_of(handler), watch=Watch(SAFE, None)), loop=loop)
    assert sentry.events == []


@pytest.mark.parametrize("loop", LOOPS)
def test_a_handler_in_a_thread_blocks_nothing(sentry: Sentry, loop: str) -> None:
    serve(watching(fastapi_app(), watch=Watch(SAFE, None)), http_scope("/sync"), loop=loop)
    assert sentry.events == []


def test_a_loop_that_stands_still_between_two_runs_is_not_blocked(sentry: Sentry) -> None:
    app = watching(app_of(waits), watch=Watch(SAFE, None))
    with asyncio.Runner() as runner:
        for _ in range(2):
            runner.run(call(app, http_scope()))
            time.sleep(LONG)
    end_watches()
    assert sentry.events == []


def test_what_keeps_the_gil_when_the_loop_is_over_blocks_nothing(sentry: Sentry) -> None:
    held = []
    for turn in range(6):  # the loop ends at all moments of the watching thread's turn
        app = watching(app_of(functools.partial(asyncio.sleep, LIMIT / 4 * (2 + turn / 6))))
        with asyncio.Runner() as runner:
            held.append(runner.get_loop())
            runner.run(call(app, http_scope()))
        sum(range(20_000_000))
    end_watches()
    assert sentry.events == []


def test_a_loop_that_is_closed_ends_its_watch(sentry: Sentry) -> None:
    app = watching(app_of(sleeps))
    for path in ("/one", "/two"):
        serve(app, http_scope(path))
    urls = [event["request"]["url"] for event in sentry.events]
    assert urls == ["http://example.org/one", "http://example.org/two"]
    assert not any(one.name == "sentry-asgi.watch" for one in threading.enumerate())


def test_two_loops_in_two_threads(sentry: Sentry) -> None:
    """Each serves its lifespan, and each is watched."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"] == "/blocks":
            await asyncio.sleep(0.2)
            time.sleep(LONG)
            await respond(send)
        else:
            await asyncio.sleep(1)
            await respond(send)

    wrapped = watching(app)

    async def server(path: str) -> None:
        going = asyncio.Event()
        messages = [{"type": "lifespan.startup"}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await going.wait()
            return {"type": "lifespan.shutdown"}

        async def send(message: Any) -> None: ...

        lifespan = asyncio.create_task(wrapped({"type": "lifespan"}, receive, send))
        await asyncio.sleep(0.1)
        await call(wrapped, http_scope(path))
        going.set()
        await lifespan

    paths = ["/waits", "/blocks"]
    threads = [threading.Thread(target=asyncio.run, args=(server(one),), name=one) for one in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end_watches()
    event = sentry.event
    assert event["request"]["url"] == "http://example.org/blocks"
    assert event["threads"]["values"][0]["name"] == "/blocks"


# What is done with an event


def test_a_long_block_is_told_while_it_lasts(sentry: Sentry) -> None:
    seen: list[int] = []

    async def blocks() -> None:
        time.sleep(LIMIT * 8)
        seen.append(len(sentry.events))

    serve(watching(app_of(blocks)))
    assert seen == [1]
    facts = sentry.event["contexts"]["asgi"]
    assert facts["still_blocked"]
    assert facts["requests_waiting"] == 0


def test_others_that_wait_are_counted(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.1)
        if scope["path"] == "/blocks":
            time.sleep(LONG)
        await asyncio.sleep(0.1)
        await respond(send)

    wrapped = watching(app)

    async def serving() -> None:
        await asyncio.gather(
            *(call(wrapped, http_scope(f"/{n}")) for n in range(5)),
            call(wrapped, http_scope("/blocks")),
        )

    asyncio.run(serving())
    end_watches()
    assert sentry.event["contexts"]["asgi"]["requests_waiting"] == 5


def test_one_event_a_site_and_hour_and_the_rest_is_counted(sentry: Sentry) -> None:
    serve(watching(app_of(sleeps), error_budget=100), *[http_scope()] * 3)
    assert len(sentry.events) == 1


def test_secrets_of_the_request_are_removed(sentry: Sentry) -> None:
    scope = http_scope("/blocks", query_string=b"token=s3cr3t-v4lu3&page=2")
    serve(watching(app_of(sleeps)), scope)
    assert "s3cr3t-v4lu3" not in json.dumps(sentry.event)
    assert "page=2" in sentry.event["request"]["query_string"]


def test_what_the_request_has_set_is_on_it_and_before_send_decides(sentry: Sentry) -> None:
    def before_send(event: Any, hint: Any) -> Any:
        seen.append(event["tags"])
        return None

    seen: list[Any] = []
    sentry.init(before_send=before_send)

    async def blocks() -> None:
        sentry_sdk.set_tag("order", "7")
        time.sleep(LONG)

    serve(watching(app_of(blocks)))
    assert seen == [{"order": "7"}]
    assert sentry.events == []


def test_the_session_of_the_request_is_not_touched(sentry: Sentry) -> None:
    sentry.init(release="shop@1", auto_session_tracking=True)

    async def blocks() -> None:
        sentry_sdk.set_tag("order", "7")
        time.sleep(LONG)

    serve(watching(app_of(blocks)))
    sentry_sdk.get_client().close()
    (sessions,) = sentry.transport.items("sessions")
    assert [(one.get("exited"), one.get("errored")) for one in sessions["aggregates"]] == [
        (1, None)
    ]
    assert len(sentry.events) == 1


@pytest.mark.parametrize("streams", [False, True])
def test_the_span_of_a_request_that_blocked_tells_so(sentry: Sentry, streams: bool) -> None:
    if SDK_VERSION < (3, 0) and streams:
        if SDK_VERSION < (2, 60):
            pytest.skip("this SDK streams no spans")
        sentry.init(traces_sample_rate=1.0, _experiments={"trace_lifecycle": "stream"})
    else:
        sentry.init(traces_sample_rate=1.0)
    serve(watching(app_of(sleeps)))
    if SDK_VERSION < (3, 0) and not streams:
        (transaction,) = sentry.transport.items("transaction")
        data = transaction["contexts"]["trace"]["data"]
        milliseconds, place = data["event_loop.blocked_ms"], data["event_loop.blocked_in"]
    else:
        (segment,) = sentry.segments
        attributes = segment["attributes"]
        milliseconds = attributes["event_loop.blocked_ms"]["value"]
        place = attributes["event_loop.blocked_in"]["value"]
    assert milliseconds >= LIMIT * 1000
    assert place.endswith(" in sleeps")


def test_nothing_is_watched_that_is_not_wanted(sentry: Sentry) -> None:
    for watch in (None, Watch(blocked_after=None, stuck_after=None)):
        serve(watching(app_of(sleeps), watch=watch))
    assert sentry.events == []


def test_a_request_of_a_middleware_that_watches_nothing_makes_no_event(sentry: Sentry) -> None:
    watched, unwatched = watching(app_of(waits)), watching(app_of(sleeps), watch=None)

    async def serving() -> None:
        await asyncio.gather(call(watched, http_scope()), call(unwatched, http_scope("/not")))

    asyncio.run(serving())
    end_watches()
    assert sentry.events == []


def test_an_idle_server_sleeps_and_wakes(sentry: Sentry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentry_asgi._watch.loop.ROUND", 0.1)
    app = watching(app_of(sleeps))
    signs: list[int] = []

    async def serving() -> None:
        await call(app, http_scope("/first"))
        await asyncio.sleep(1)
        (watch,) = watches.watched()
        asked = watch.last
        await asyncio.sleep(1)
        signs.append(watch.last is asked)
        await call(app, http_scope("/second"))
        await asyncio.sleep(0.5)

    asyncio.run(serving())
    end_watches()
    assert signs == [True]
    assert len(sentry.events) == 2
