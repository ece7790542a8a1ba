"""Requests that send nothing: what is told of where they wait, and who is not told of."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware, Watch

from .support import App, Scope, Sentry, call, http_scope, respond, websocket_scope
from .test_watch_blocks import LOOPS, end_watches, fastapi_app

pytestmark = pytest.mark.usefixtures("no_collection")

LIMIT = 0.2
LONG = 1.0


def watching(app: App, **options: Any) -> SentryMiddleware:
    watch = Watch(blocked_after=None, stuck_after=LIMIT)
    return SentryMiddleware(app, **{"watch": watch, "error_budget": None, **options})


def serve(app: App, *scopes: Scope, loop: str = "asyncio", messages: Any = ()) -> None:
    """Serve requests at once."""

    async def serving() -> None:
        await asyncio.gather(*(call(app, one, messages) for one in scopes or (http_scope(),)))

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(serving())
    end_watches()


def app_of(handler: Callable[[], Awaitable[Any]]) -> App:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await handler()
        await respond(send)

    return app


# In what it waits


async def sleeps() -> None:
    order = 7
    await asyncio.sleep(LONG)
    del order


async def waits_for_nothing() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(LONG, future.set_result, None)
    await future


async def _part() -> None:
    await asyncio.sleep(LONG)


async def waits_for_task() -> None:
    await asyncio.create_task(_part())


async def gathers() -> None:
    await asyncio.gather(_part(), _part())


async def shields() -> None:
    await asyncio.shield(_part())


async def times_out() -> None:
    await asyncio.wait_for(_part(), 10)


async def waits_for_any() -> None:
    await asyncio.wait([asyncio.create_task(_part())])


async def groups() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_part())


async def groups_with_anyio() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_part)


async def _generated() -> AsyncIterator[int]:
    yield 1
    await asyncio.sleep(LONG)


async def iterates() -> None:
    async for _ in _generated():
        pass


def _in_thread() -> None:
    time.sleep(LONG)


async def waits_for_thread() -> None:
    await asyncio.to_thread(_in_thread)


async def waits_for_thread_of_anyio() -> None:
    await anyio.to_thread.run_sync(_in_thread)


async def fetches() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(LONG)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(url)
    server.close()


class _Lock:
    """Awaitable by a generator."""

    def __await__(self) -> Any:
        yield from asyncio.sleep(LONG).__await__()


async def waits_for_generator() -> None:
    await _Lock()


STUCK: dict[Callable[[], Awaitable[None]], tuple[str, str]] = {
    sleeps: ("asyncio.sleep", "sleeps"),
    waits_for_nothing: ("test_watch_requests.py:", "waits_for_nothing"),
    waits_for_task: ("asyncio.sleep", "_part"),
    gathers: ("asyncio.sleep", "_part"),
    shields: ("asyncio.sleep", "_part"),
    times_out: ("asyncio.sleep", "_part"),
    waits_for_any: ("asyncio.sleep", "_part"),
    groups: ("asyncio.sleep", "_part"),
    groups_with_anyio: ("asyncio.sleep", "_part"),
    iterates: ("asyncio.sleep", "_generated"),
    waits_for_thread: ("test_watch_requests.py:", "_in_thread"),
    waits_for_thread_of_anyio: ("test_watch_requests.py:", "_in_thread"),
    fetches: ("httpx.AsyncClient.get", "fetches"),
    waits_for_generator: ("asyncio.sleep", "_Lock.__await__"),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("handler", STUCK, ids=lambda one: one.__name__)
def test_a_stuck_request_tells_what_it_waits_in(
    sentry: Sentry, handler: Callable[[], Awaitable[None]], loop: str
) -> None:
    serve(watching(app_of(handler)), http_scope("/stuck"), loop=loop)
    event = sentry.event
    (value,) = event["exception"]["values"]
    waits_in, function = STUCK[handler]
    assert value["type"] == "RequestStuck"
    assert value["value"].startswith(f"no response for 0.2 s, waiting in {waits_in}")
    assert event["level"] == "warning"
    assert event["fingerprint"] == ["RequestStuck", __name__, function]
    assert event["request"]["url"] == "http://example.org/stuck"
    frames = value["stacktrace"]["frames"]
    assert frames[0]["module"] == "sentry_asgi.middleware"
    functions = [one["function"] for one in frames]
    assert handler.__name__ in functions
    assert function.rpartition(".")[2] in functions
    facts = event["contexts"]["asgi"]
    assert facts["phase"] == "before response"
    assert facts["waited_seconds"] >= LIMIT


def test_its_own_frames_show_their_variables(sentry: Sentry) -> None:
    serve(watching(app_of(sleeps)))
    frames = sentry.event["exception"]["values"][0]["stacktrace"]["frames"]
    shown = {one["function"]: one.get("vars") for one in frames}
    assert shown["sleeps"] == {"order": "7"}
    assert shown["sleep"] is None


@pytest.mark.parametrize("loop", LOOPS)
def test_a_synchronous_endpoint_is_seen_in_its_thread(sentry: Sentry, loop: str) -> None:
    serve(watching(fastapi_app(), watch=Watch(None, 0.1)), http_scope("/sync"), loop=loop)
    assert sentry.event["fingerprint"][2] == "fastapi_app.<locals>.sync"


# Who is not stuck


async def streams(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.sleep(LONG)
    await send({"type": "http.response.body"})


async def accepted(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await asyncio.sleep(LONG)
    await send({"type": "websocket.close"})


async def works_on(scope: Scope, receive: Any, send: Any) -> None:
    async def later() -> None:
        await asyncio.sleep(LONG)

    task = asyncio.create_task(later())
    await respond(send)
    await task


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("app", "scope"),
    [(streams, http_scope()), (accepted, websocket_scope()), (works_on, http_scope())],
)
def test_who_has_begun_to_answer_is_not_stuck(
    sentry: Sentry, app: App, scope: Scope, loop: str
) -> None:
    serve(watching(app), scope, loop=loop, messages=[{"type": "websocket.connect"}])
    assert sentry.events == []


def test_a_websocket_that_is_not_accepted_is(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(LONG)
        await send({"type": "websocket.close"})

    serve(watching(app), websocket_scope("/never"), messages=[{"type": "websocket.connect"}])
    assert sentry.event["request"]["url"] == "ws://example.org/never"


# What is done with an event


def test_each_request_is_told_of_once(sentry: Sentry) -> None:
    serve(watching(app_of(sleeps)), *[http_scope(f"/{n}") for n in range(3)])
    assert sorted(event["request"]["url"][-2:] for event in sentry.events) == ["/0", "/1", "/2"]


def test_one_event_a_site_and_hour(sentry: Sentry) -> None:
    serve(watching(app_of(sleeps), error_budget=100), *[http_scope()] * 3)
    assert len(sentry.events) == 1


def test_secrets_are_removed_and_the_session_is_not_touched(sentry: Sentry) -> None:
    sentry.init(release="shop@1", auto_session_tracking=True)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        told = f"it was {scope['headers'][0][1].decode()}"
        await asyncio.sleep(LONG)
        await respond(send, told.encode())

    scope = http_scope("/", headers=[(b"authorization", b"Bearer " + bytes([*range(97, 117)]))])
    serve(watching(app), scope)
    sentry_sdk.get_client().close()
    told = json.dumps(sentry.event)
    assert "it was" in told
    assert "abcdefghijklmnopqrst" not in told
    (sessions,) = sentry.transport.items("sessions")
    assert [(one.get("exited"), one.get("errored")) for one in sessions["aggregates"]] == [
        (1, None)
    ]


def test_a_middleware_that_watches_nothing_makes_no_event(sentry: Sentry) -> None:
    watched, unwatched = watching(app_of(sleeps)), watching(app_of(sleeps), watch=None)

    async def serving() -> None:
        await asyncio.gather(
            call(watched, http_scope("/watched")), call(unwatched, http_scope("/unwatched"))
        )

    asyncio.run(serving())
    end_watches()
    assert sentry.event["request"]["url"].endswith("/watched")
