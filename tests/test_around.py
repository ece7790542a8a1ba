"""What stands around the middleware: code further out that writes to scopes, the SDK's own middlewares, clients.

A request's reports carry what was set anywhere in that request, and nothing that was set in another.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sentry_sdk
import trio
from fastapi import FastAPI
from litestar import Litestar, get
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.litestar import LitestarIntegration
from sentry_sdk.integrations.starlette import StarletteIntegration
from sentry_sdk.scope import Scope as SentryScope
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Route

from sentry_asgi import SentryMiddleware
from sentry_asgi._scopes import isolation as _isolation, process as _process
from sentry_asgi._scopes.isolation import LazyScopes
from sentry_asgi._scopes.nesting import nestings
from sentry_asgi._scopes.public import PublicScopes
from sentry_asgi.testing import capture_events

from . import apps
from .support import (
    SDK_VERSION,
    CapturingTransport,
    Message,
    Scope,
    Sentry,
    call,
    http_scope,
    respond,
    run,
)

USERS = [f"user{i}" for i in range(8)]


@pytest.fixture(autouse=True)
def own_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's integrations put a `__call__` around the class's own; no other test is to see it."""
    monkeypatch.setattr(SentryMiddleware, "__call__", SentryMiddleware.__call__)


# Code further out

Write = Callable[[str], None]


def on_isolation(user: str) -> None:
    sentry_sdk.set_user({"id": user})
    sentry_sdk.set_tag("of", user)


def on_current(user: str) -> None:
    scope = sentry_sdk.get_current_scope()
    scope.set_user({"id": user})
    scope.set_tag("of", user)


def on_a_scope_that_was_kept(user: str) -> None:
    KEPT.set_user({"id": user})
    KEPT.set_tag("of", user)


KEPT: Any = None


class Outer:
    """A pure ASGI middleware that sets the user, waits for all others to have done so, and goes on."""

    def __init__(self, app: Any, write: Write) -> None:
        self.app = app
        self.write = write

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self.write(scope["path"].strip("/"))
        await asyncio.sleep(0.005)
        await self.app(scope, receive, send)


async def reports(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        sentry_sdk.set_tag("lifespan", "yes")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    sentry_sdk.capture_message(scope["path"].strip("/"))
    await respond(send)


async def endpoint(request: Any) -> Any:
    from starlette.responses import PlainTextResponse

    sentry_sdk.capture_message(request.url.path.strip("/"))
    return PlainTextResponse("ok")


def base_http(write: Write) -> Any:
    async def dispatch(request: Any, call_next: Any) -> Any:
        write(request.url.path.strip("/"))
        await asyncio.sleep(0.005)
        return await call_next(request)

    return Middleware(BaseHTTPMiddleware, dispatch=dispatch)


def wrapped(write: Write) -> Any:
    return Outer(SentryMiddleware(reports), write)


def twice(write: Write) -> Any:
    """Two of them, in tasks of their own."""
    inner = Starlette(
        routes=[Route("/{user}", endpoint)],
        middleware=[
            base_http(lambda user: None),
            base_http(write),
            base_http(lambda user: None),
            Middleware(SentryMiddleware),
        ],
    )
    return Outer(inner, lambda user: sentry_sdk.set_tag("outermost", user))


def added(write: Write) -> Any:
    app = Starlette(routes=[Route("/{user}", endpoint)])
    app.add_middleware(SentryMiddleware)
    app.user_middleware.insert(0, base_http(write))
    return app


async def lifespan(app: Any) -> None:
    messages: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    await call(app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, messages)


@pytest.mark.parametrize("integrations", [False, True], ids=["plain", "auto"])
@pytest.mark.parametrize("started", [False, True], ids=["no lifespan", "lifespan"])
@pytest.mark.parametrize("write", [on_isolation, on_current, on_a_scope_that_was_kept])
@pytest.mark.parametrize("make", [wrapped, twice, added])
def test_what_is_set_further_out_is_on_its_own_requests_reports_alone(
    sentry: Sentry, make: Any, write: Write, started: bool, integrations: bool
) -> None:
    if write is on_a_scope_that_was_kept and integrations and not started and make is not wrapped:
        pytest.skip("the first requests have the SDK's own middleware around them, and its scopes")
    _process.claim()  # as the import of the middleware does, in the server's context
    sentry.init(auto_enabling_integrations=integrations, traces_sample_rate=1.0)
    sentry_sdk.set_tag("region", "eu")
    sentry_sdk.get_current_scope().set_tag("current", "eu")
    app = make(write)
    global KEPT  # noqa: PLW0603
    KEPT = sentry_sdk.get_isolation_scope()

    async def main() -> None:
        if started:
            await asyncio.create_task(lifespan(app))
        await asyncio.gather(*(call(app, http_scope(f"/{user}")) for user in USERS))
        # One that sets nothing gets nothing.
        await asyncio.create_task(call(SentryMiddleware(reports), http_scope("/nobody")))

    asyncio.run(main())
    found = sentry.events + sentry.transport.items("transaction")
    assert len(found) == (2 if SDK_VERSION < (3, 0) else 1) * (len(USERS) + 1)
    for report in found:
        user = report["request"]["url"].rpartition("/")[2]
        tags = report["tags"]
        assert tags["region"] == tags["current"] == "eu"
        assert tags.get("of") == (None if user == "nobody" else user), report
        assert tags.get("outermost", user) == user
        if user == "nobody":
            assert "user" not in report
        else:
            assert report["user"]["id"] == user
        if started and make is wrapped:
            assert tags["lifespan"] == "yes"


def test_a_request_that_starts_in_the_context_of_another_has_nothing_that_was_set_around_that(
    sentry: Sentry,
) -> None:
    """As pipelined requests do on uvicorn."""
    app = Outer(SentryMiddleware(reports), lambda user: None)

    async def alice(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.capture_message("alice")
        await asyncio.create_task(call(app, http_scope("/bob")))

    outer = Outer(SentryMiddleware(alice), on_isolation)
    run(outer, http_scope("/alice"))
    first, second = sentry.events
    assert first["user"] == {"id": "alice"}
    assert "user" not in second
    assert "tags" not in second


def test_breadcrumbs_from_further_out_are_on_the_report(sentry: Sentry) -> None:
    sentry_sdk.add_breadcrumb(message="of the process")

    def write(user: str) -> None:
        sentry_sdk.add_breadcrumb(message=user)

    run(Outer(SentryMiddleware(reports), write), http_scope("/alice"))
    assert [one["message"] for one in sentry.event["breadcrumbs"]["values"]] == ["alice"]


def test_what_an_outer_middleware_reports_afterwards_carries_what_it_has_set(
    sentry: Sentry,
) -> None:
    inner = SentryMiddleware(reports)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        on_isolation("alice")
        await inner(scope, receive, send)
        sentry_sdk.set_tag("status", "200")
        sentry_sdk.capture_message("afterwards")

    async def main() -> None:
        await asyncio.gather(call(app, http_scope("/alice")), call(inner, http_scope("/bob")))

    asyncio.run(main())
    (after,) = (event for event in sentry.events if event["message"] == "afterwards")
    assert after["user"] == {"id": "alice"}
    assert after["tags"] == {"of": "alice", "status": "200"}


@pytest.mark.parametrize("on_trio", [False, True], ids=["asyncio", "trio"])
def test_what_a_task_has_set_is_on_its_own_requests_and_on_one_of_its_childrens(
    sentry: Sentry, on_trio: bool
) -> None:
    async def reports(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.capture_message(scope["path"])
        await respond(send)

    app = SentryMiddleware(reports)

    async def serve(path: str) -> None:
        await app(http_scope(path), trio.sleep_forever, ignored)

    async def ignored(message: Any) -> None:
        """What the app sends."""

    async def main() -> None:
        sentry_sdk.set_tag("set", "by the task")
        for path in ("/child", "/another"):
            if on_trio:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(serve, path)
            else:
                await asyncio.create_task(serve(path))
        await serve("/own")

    if on_trio:
        trio.run(main)
    else:
        asyncio.run(main())
    told = {one["message"]: one.get("tags") for one in sentry.events}
    assert told == {"/child": {"set": "by the task"}, "/another": None, "/own": told["/child"]}


def test_on_trio_too(sentry: Sentry) -> None:
    app = SentryMiddleware(reports)

    async def request(user: str) -> None:
        on_isolation(user)
        await trio.sleep(0.01)
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        await app(http_scope(f"/{user}"), trio.sleep_forever, send)

    async def main() -> None:
        sentry_sdk.set_tag("main", "yes")
        async with trio.open_nursery() as nursery:
            for user in USERS:
                nursery.start_soon(request, user)

    trio.run(main)
    assert len(sentry.events) == len(USERS)
    for event in sentry.events:
        assert event["user"]["id"] == event["message"]
        assert event["tags"]["of"] == event["message"]


def test_threads_with_a_requests_context_write_to_a_copy(sentry: Sentry) -> None:
    app = SentryMiddleware(reports)

    async def outer(scope: Scope, receive: Any, send: Any) -> None:
        on_isolation("alice")
        await asyncio.to_thread(sentry_sdk.set_tag, "thread", "yes")
        await app(scope, receive, send)

    run(outer, http_scope("/alice"))
    assert sentry.event["tags"] == {"of": "alice"}
    sentry_sdk.capture_message("process")
    assert "tags" not in sentry.events[1]


def test_what_the_process_sets_when_it_serves_is_on_later_requests_of_its_context(
    sentry: Sentry,
) -> None:
    app = SentryMiddleware(reports)

    async def main() -> None:
        await asyncio.create_task(call(app, http_scope("/before")))
        sentry_sdk.set_tag("by", "main")
        await asyncio.create_task(call(app, http_scope("/after")))

    asyncio.run(main())
    before, after = sentry.events
    assert "tags" not in before
    assert after["tags"] == {"by": "main"}


def test_tasks_that_a_lifespan_has_started_write_to_no_request(sentry: Sentry) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def polling() -> None:
        await go_on.wait()
        sentry_sdk.set_tag("poller", "yes")
        sentry_sdk.capture_message("poller")
        started.set()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await asyncio.gather(setting(), setting())
            task = asyncio.create_task(polling())
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await task
            sentry_sdk.capture_message("end")
        else:
            go_on.set()
            await started.wait()
            sentry_sdk.capture_message("request")

    async def setting() -> None:
        sentry_sdk.set_tag("lifespan", "yes")

    wrapped = SentryMiddleware(app)

    async def main() -> None:
        life = asyncio.create_task(lifespan(wrapped))
        await asyncio.sleep(0.01)
        await asyncio.create_task(call(wrapped, http_scope()))
        await life

    # The lifespan's second message has to wait for the request.
    asyncio.run(main())
    tags = {event["message"]: event["tags"] for event in sentry.events}
    assert tags["request"] == {"lifespan": "yes"}
    assert tags["poller"] == {"lifespan": "yes", "poller": "yes"}
    assert tags["end"] == {"lifespan": "yes"}


def test_a_thread_without_a_context_starts_from_the_process(sentry: Sentry) -> None:
    sentry_sdk.set_tag("region", "eu")
    app = Outer(SentryMiddleware(reports), on_isolation)
    for user in "alice", "bob":
        thread = threading.Thread(
            target=contextvars.Context().run, args=(run, app, http_scope(f"/{user}"))
        )
        thread.start()
        thread.join()
    # There, what is set further out is on a scope of the SDK's own making.
    assert [event["user"]["id"] for event in sentry.events] == ["alice", "bob"]


def test_a_view_that_cannot_be_copied_is_the_process_itself(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run(SentryMiddleware(reports), http_scope("/a"))

    def broken(scope: Any) -> Any:
        raise RuntimeError("no copies today")

    monkeypatch.setattr(_process, "_fork", broken)

    async def main() -> None:
        sentry_sdk.set_tag("a", "b")

    asyncio.run(main())
    assert "copying a scope failed" in caplog.text


# The SDK's own middlewares, beneath and around


def django() -> Any:
    return SentryMiddleware(apps.django())


def litestar() -> Any:
    @get("/failing")
    async def failing() -> None:
        raise ValueError("nope")

    return SentryMiddleware(Litestar([failing], openapi_config=None))


def litestars_list() -> Any:
    @get("/failing")
    async def failing() -> None:
        raise ValueError("nope")

    return Litestar([failing], middleware=[SentryMiddleware], openapi_config=None)


async def failing(request: Any) -> None:
    raise ValueError("nope")


def starlette() -> Any:
    return SentryMiddleware(Starlette(routes=[Route("/failing", failing)]))


def starlette_added() -> Any:
    app = Starlette(routes=[Route("/failing", failing)])
    app.add_middleware(SentryMiddleware)
    return app


def fastapi() -> Any:
    app = FastAPI()
    app.add_api_route("/failing", failing_without)
    return SentryMiddleware(app)


async def failing_without() -> None:
    raise ValueError("nope")


def by_hand_beneath() -> Any:
    return SentryMiddleware(SentryAsgiMiddleware(Starlette(routes=[Route("/failing", failing)])))


def by_hand_around() -> Any:
    return SentryAsgiMiddleware(SentryMiddleware(Starlette(routes=[Route("/failing", failing)])))


def by_hand_around_both() -> Any:
    inner = SentryMiddleware(SentryAsgiMiddleware(Starlette(routes=[Route("/failing", failing)])))
    return SentryAsgiMiddleware(inner)


STREAMED: dict[str, Any] = {"_experiments": {"trace_lifecycle": "stream"}}


@pytest.mark.parametrize("scopes", [LazyScopes, PublicScopes])
@pytest.mark.parametrize("streamed", [False, True], ids=["transactions", "streamed"])
@pytest.mark.parametrize(
    ("make", "integrations"),
    [
        (django, [DjangoIntegration()]),
        (litestar, [LitestarIntegration()]),
        (litestars_list, [LitestarIntegration()]),
        (starlette, [StarletteIntegration()]),
        (starlette_added, [StarletteIntegration()]),
        (starlette, None),
        (starlette_added, None),
        (fastapi, None),
        (by_hand_beneath, []),
        (by_hand_around, []),
        (by_hand_around_both, []),
    ],
)
def test_a_request_is_one_trace_one_span_and_one_session(
    sentry: Sentry,
    monkeypatch: pytest.MonkeyPatch,
    make: Any,
    integrations: Any,
    streamed: bool,
    scopes: Any,
) -> None:
    monkeypatch.setattr(_isolation, "_chosen", lambda: scopes)
    if SDK_VERSION < (2, 50) and streamed:
        pytest.skip("this SDK streams no spans")
    auto = integrations is None
    sentry.init(
        integrations=integrations or [],
        auto_enabling_integrations=auto,
        traces_sample_rate=1.0,
        release="r@1",
        auto_session_tracking=True,
        **(STREAMED if streamed and SDK_VERSION < (3, 0) else {}),
    )
    app = make()

    async def request() -> None:
        try:
            await call(app, http_scope("/failing"))
        except ValueError:
            pass

    async def main() -> None:
        if make is not django:  # which has none
            await asyncio.create_task(lifespan(app))
        await asyncio.gather(*(asyncio.create_task(request()) for _ in range(3)))

    asyncio.run(main())
    sentry_sdk.get_client().flush()
    transport, sentry.transport = (
        sentry.transport,
        CapturingTransport(),
    )  # integrations add what Sentry drops
    assert len(transport.items("event")) == 3
    traces = [event["contexts"]["trace"]["trace_id"] for event in transport.items("event")]
    assert len(set(traces)) == 3
    assert sorted(roots(transport)) == sorted(traces)
    if SDK_VERSION >= (2, 50):
        assert sum(counted(transport).values()) == 3, counted(transport)


def roots(transport: CapturingTransport) -> list[str]:
    """The traces of all transactions and segments of requests."""
    segments = [
        span["trace_id"]
        for batch in transport.items("span")
        for span in batch["items"]
        if span.get("is_segment")
    ]
    transactions = transport.items("transaction")
    return [one["contexts"]["trace"]["trace_id"] for one in transactions] + segments


def counted(transport: CapturingTransport) -> dict[str, int]:
    total: dict[str, int] = {}
    for batch in transport.items("sessions"):
        for aggregate in batch["aggregates"]:
            for name in "exited", "errored", "crashed":
                total[name] = total.get(name, 0) + aggregate.get(name, 0)
    return total


def test_a_client_that_is_made_in_the_lifespan_is_there_for_the_first_request(
    sentry: Sentry,
) -> None:
    sentry_sdk.get_global_scope().set_client(None)

    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def starting(app: Any) -> Any:
        sentry.init(auto_enabling_integrations=True, traces_sample_rate=1.0)
        sentry_sdk.set_tag("lifespan", "yes")
        yield

    app = Starlette(routes=[Route("/{user}", endpoint)], lifespan=starting)
    app.add_middleware(SentryMiddleware)

    async def main() -> None:
        await asyncio.create_task(lifespan(app))
        for user in USERS:
            await asyncio.create_task(call(app, http_scope(f"/{user}")))

    asyncio.run(main())
    assert len(sentry.events) == len(USERS)
    if SDK_VERSION < (3, 0):
        assert len(sentry.transport.items("transaction")) == len(USERS)
    assert all(event["tags"] == {"lifespan": "yes"} for event in sentry.events)


def test_the_integrations_stay_off_as_long_as_one_middleware_lives(sentry: Sentry) -> None:
    sentry.init(auto_enabling_integrations=True)
    integrations = sentry_sdk.get_client().integrations
    one, other = starlette_added(), starlette_added()
    for app in one, other, other:
        asyncio.run(lifespan(app))
    assert "starlette" not in integrations
    del one, app
    gc.collect()
    assert "starlette" not in integrations
    del other
    gc.collect()
    assert "starlette" in integrations


def test_a_subclass_keeps_its_own_call_with_add_middleware(sentry: Sentry) -> None:
    called: list[str] = []

    class Mine(SentryMiddleware):
        async def __call__(self, scope: Scope, receive: Any, send: Any) -> Any:
            called.append(scope["type"])
            return await super().__call__(scope, receive, send)

    class Plain(SentryMiddleware):
        pass

    sentry.init(auto_enabling_integrations=True)
    for kind in Mine, Plain:
        app = Starlette(routes=[Route("/{user}", endpoint)])
        app.add_middleware(kind)
        asyncio.run(lifespan(app))
        run(app, http_scope("/alice"))
    assert called == ["lifespan", "http"]
    assert len(sentry.events) == 2


# Clients


def another() -> tuple[Any, CapturingTransport]:
    transport = CapturingTransport()
    client = sentry_sdk.Client(
        dsn="https://other@sentry.invalid/2",
        transport=transport,
        auto_enabling_integrations=False,
        traces_sample_rate=1.0,
        release="r@2",
    )
    return client, transport


def on_the_isolation_scope(client: Any) -> None:
    sentry_sdk.get_isolation_scope().set_client(client)


def on_the_current_scope(client: Any) -> None:
    sentry_sdk.get_current_scope().set_client(client)


PLACES = [on_the_isolation_scope, on_the_current_scope]


@pytest.mark.parametrize("auto", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_a_client_that_a_handler_sets_gets_its_reports(
    sentry: Sentry, place: Any, auto: bool
) -> None:
    sentry.init(auto_enabling_integrations=auto)
    client, transport = another()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["path"] == "/other":
            place(client)
        sentry_sdk.capture_message(scope["path"])
        raise ValueError(scope["path"])

    wrapped = SentryMiddleware(app)

    async def request(path: str) -> None:
        with pytest.raises(ValueError, match=path):
            await call(wrapped, http_scope(path))

    async def main() -> None:
        await asyncio.gather(request("/main"), request("/other"), request("/main"))

    asyncio.run(main())
    assert {event["request"]["url"] for event in transport.items("event")} == {
        "http://example.org/other"
    }
    assert len(transport.items("event")) == 2
    assert {event["request"]["url"] for event in sentry.events} == {"http://example.org/main"}
    assert len(sentry.events) == 4


@pytest.mark.parametrize("auto", [False, True])
def test_a_client_in_an_isolation_scope_of_a_handlers_own_gets_its_reports(
    sentry: Sentry, auto: bool
) -> None:
    sentry.init(auto_enabling_integrations=auto)
    client, transport = another()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with sentry_sdk.isolation_scope() as isolation:
            isolation.set_client(client)
            sentry_sdk.capture_message("other")
        sentry_sdk.capture_message("main")

    run(SentryMiddleware(app))
    assert [event["message"] for event in transport.items("event")] == ["other"]
    assert [event["message"] for event in sentry.events] == ["main"]


@pytest.mark.parametrize("auto", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_each_request_reports_to_the_client_that_was_set_further_out(
    sentry: Sentry, place: Any, auto: bool
) -> None:
    sentry.init(
        auto_enabling_integrations=auto,
        traces_sample_rate=1.0,
        release="r@1",
        auto_session_tracking=True,
    )
    client, transport = another()
    middleware = SentryMiddleware(reports)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["path"] == "/other":
            place(client)
        await asyncio.sleep(0.005)
        await middleware(scope, receive, send)

    async def main() -> None:
        paths = ["/main", "/other", "/main", "/other", "/main"]
        await asyncio.gather(*(call(app, http_scope(path)) for path in paths))

    asyncio.run(main())
    sentry_sdk.get_client().flush()
    client.flush()
    for found, name, count in (sentry.transport, "main", 3), (transport, "other", 2):
        assert [event["message"] for event in found.items("event")] == [name] * count
        assert len(roots(found)) == count
        if SDK_VERSION >= (2, 50):
            assert sum(counted(found).values()) == count
    client.close(timeout=0)


@pytest.mark.parametrize("fails_at", ["_choose", "double", "sessions_of", "_tracer"])
def test_a_client_that_could_not_be_adopted_at_once_is_adopted_later(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    from sentry_asgi import middleware

    sentry.init(auto_enabling_integrations=True)
    app = SentryMiddleware(reports)
    run(app, http_scope("/one"))
    sentry.transport = transport = CapturingTransport()
    sentry.init(auto_enabling_integrations=True)

    def broken(*_: Any) -> Any:
        raise RuntimeError("once")

    with monkeypatch.context() as patch:
        patch.setattr(SentryMiddleware if fails_at == "_choose" else middleware, fails_at, broken)
        run(app, http_scope("/two"))
    run(app, http_scope("/three"))
    events = transport.items("event")
    assert [event["message"] for event in events] == ["two", "three"]
    assert events[1]["request"]["url"] == "http://example.org/three"


# Tests


def test_captured_events_carry_what_the_process_has_set(sentry: Sentry) -> None:
    sentry_sdk.set_tag("region", "eu")
    sentry_sdk.get_current_scope().set_tag("current", "eu")
    sentry_sdk.add_breadcrumb(message="of the process")
    app = SentryMiddleware(reports)
    with capture_events() as events:
        sentry_sdk.set_tag("test", "yes")
        run(app, http_scope("/alice"))
    assert events[0]["tags"] == {"region": "eu", "current": "eu", "test": "yes"}
    assert not events[0].get("breadcrumbs", {}).get("values")
    with capture_events() as events:
        run(app, http_scope("/bob"))
    assert events[0]["tags"] == {"region": "eu", "current": "eu"}


# What it stands on


def test_a_view_reads_and_writes_what_a_scope_has(sentry: Sentry) -> None:
    sentry_sdk.set_tag("region", "eu")
    process = _process.claim()
    view = sentry_sdk.get_isolation_scope()
    assert process is not None
    assert type(view) is not SentryScope
    assert view._tags is process.scope._tags
    assert type(view.fork()) is SentryScope
    view.set_level("error")
    assert process.scope._level == "error"
    assert _process.claim() is process


def test_a_requests_scope_is_not_claimed(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        assert _process.claim() is None
        # A middleware that is made in a request starts from the process, too.
        on_isolation("alice")
        await asyncio.create_task(call(SentryMiddleware(reports), http_scope("/bob")))

    run(SentryMiddleware(app), http_scope("/alice"))
    assert "user" not in sentry.event


def test_where_the_sdk_has_loaded_no_wsgi_there_is_nothing_to_step_aside(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    nesting, _ = nestings()
    monkeypatch.setattr(_isolation, "nestings", lambda: (nesting, None))
    run(SentryAsgiMiddleware(SentryMiddleware(reports)))
    assert len(sentry.events) == 1


@pytest.mark.parametrize("around", [lambda app: app, SentryAsgiMiddleware])
def test_a_wsgi_app_beneath_is_of_the_same_request(sentry: Sentry, around: Any) -> None:
    """Flask's integration puts the SDK's middleware around each app; a bridge runs it in a thread, with the context."""
    from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        sentry_sdk.set_tag("wsgi", "within")
        sentry_sdk.capture_message("from within")
        start_response("200 OK", [])
        return [b"ok"]

    inner = SentryWsgiMiddleware(wsgi)

    async def bridge(scope: Scope, receive: Any, send: Any) -> None:
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "SERVER_NAME": "x",
            "SERVER_PORT": "80",
        }
        await asyncio.to_thread(lambda: list(inner(environ, lambda *_: None)))
        sentry_sdk.capture_message("from without")
        await respond(send)

    sentry.init(traces_sample_rate=1.0, release="r@1")
    for _ in range(2):
        run(around(SentryMiddleware(bridge)))
    within, without = sentry.events[:2]
    assert within["contexts"]["trace"]["trace_id"] == without["contexts"]["trace"]["trace_id"]
    assert without["tags"]["wsgi"] == "within"
    reports = [*sentry.transport.items("transaction"), *sentry.segments]
    assert len(reports) == 2

    # Alone, it is its own.
    list(inner({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None))
    sentry_sdk.flush()
    assert len([*sentry.transport.items("transaction"), *sentry.segments]) == 3
