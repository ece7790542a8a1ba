"""Each connection's scopes are its own: whatever it shares its context with, and in both ways of isolating.

Every test here runs with the lazy scopes and with the SDK's public ones.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import logging
import threading
from typing import Any

import httpx
import pytest
import sentry_sdk
from sentry_sdk.scope import Scope as SentryScope, ScopeType

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection.request import Connection
from sentry_asgi._scopes import isolation as _isolation, lazy as _lazy
from sentry_asgi._scopes.isolation import LazyScopes
from sentry_asgi._scopes.public import PublicScopes
from sentry_asgi._sdk import clients as sdk_clients, scopes as sdk_scopes, spans as sdk_spans

from .support import Scope, Sentry, call, http_scope, respond, run


@pytest.fixture(params=[LazyScopes, PublicScopes], ids=["lazy", "public"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(_isolation, "_chosen", lambda: request.param)
    return request.param


pytestmark = pytest.mark.usefixtures("way")


async def capturing(scope: Scope, receive: Any, send: Any) -> None:
    """Leaves a trace of every kind, named after the path; then reports."""
    name = scope["path"].strip("/")
    isolation = sentry_sdk.get_isolation_scope()
    isolation.set_tag(name, "isolation")
    sentry_sdk.get_current_scope().set_tag(f"{name}.current", "current")
    isolation.set_user({"id": name})
    isolation.set_context(name, {"of": name})
    isolation.set_extra(name, name)
    sentry_sdk.add_breadcrumb(message=name)
    sentry_sdk.capture_message(name)
    await respond(send)


def assert_of_one_request_alone(event: dict[str, Any]) -> None:
    name = event["message"]
    assert event.get("tags") == {name: "isolation", f"{name}.current": "current"}
    assert event["user"] == {"id": name}
    assert event["contexts"][name] == {"of": name}
    assert event["extra"].keys() - {"sys.argv"} == {name}
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == [name]
    assert event["request"]["url"].endswith("/" + name)
    assert set(event["contexts"]) <= {name, "asgi", "runtime", "trace"}


def test_two_requests_in_one_context_share_nothing(sentry: Sentry) -> None:
    app = SentryMiddleware(capturing)

    async def main() -> None:
        await call(app, http_scope("/alice"))
        await call(app, http_scope("/bob"))

    asyncio.run(main())
    assert [event["message"] for event in sentry.events] == ["alice", "bob"]
    for event in sentry.events:
        assert_of_one_request_alone(event)


def test_a_connection_can_have_a_client_of_its_own(sentry: Sentry) -> None:
    usual, own = sentry_sdk.get_client(), sentry_sdk.Client()
    isolation, connection = _isolation.isolation(), Connection(http_scope())
    isolation.enter(connection)
    isolation.use_client(own)
    assert sentry_sdk.get_client() is own
    isolation.leave(connection)
    assert sentry_sdk.get_client() is usual


def test_a_request_that_starts_in_the_context_of_another_shares_nothing(sentry: Sentry) -> None:
    """As on uvicorn, where a kept-alive connection can start its next request in the last one's context."""
    app = SentryMiddleware(capturing)

    async def alice(scope: Scope, receive: Any, send: Any) -> None:
        await capturing(scope, receive, send)
        context = contextvars.copy_context()
        await asyncio.create_task(call(app, http_scope("/bob")), context=context)

    run(SentryMiddleware(alice), http_scope("/alice"))
    assert [event["message"] for event in sentry.events] == ["alice", "bob"]
    for event in sentry.events:
        assert_of_one_request_alone(event)


def test_a_request_served_in_process_shares_nothing_with_the_one_that_made_it(
    sentry: Sentry,
) -> None:
    inner = SentryMiddleware(capturing)

    async def outer(scope: Scope, receive: Any, send: Any) -> None:
        with sentry_sdk.new_scope():  # forks of a request's scopes are the request's, too
            sentry_sdk.set_tag("outer", "yes")
            transport = httpx.ASGITransport(inner)
            async with httpx.AsyncClient(transport=transport, base_url="http://inner") as client:
                assert (await client.get("/inner")).status_code == 200
        await capturing(scope, receive, send)

    run(SentryMiddleware(outer), http_scope("/outer"))
    first, second = sentry.events
    assert_of_one_request_alone(first)
    assert first["request"]["url"] == "http://inner/inner"
    assert second["request"]["url"] == "http://example.org/outer"
    assert "inner" not in second["tags"]
    assert second["user"] == {"id": "outer"}


def test_an_in_process_request_looks_through_a_forked_isolation_scope(sentry: Sentry) -> None:
    inner = SentryMiddleware(capturing)

    async def outer(scope: Scope, receive: Any, send: Any) -> None:
        with sentry_sdk.isolation_scope() as isolation:
            isolation.set_user({"id": "alice"})
            await call(inner, http_scope("/inner"))

    run(SentryMiddleware(outer), http_scope("/outer"))
    assert_of_one_request_alone(sentry.event)


def test_concurrent_requests_share_nothing(sentry: Sentry) -> None:
    barrier = asyncio.Barrier(20)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await barrier.wait()
        await capturing(scope, receive, send)

    async def main() -> None:
        wrapped = SentryMiddleware(app)
        await asyncio.gather(*(call(wrapped, http_scope(f"/user{i}")) for i in range(20)))

    asyncio.run(main())
    assert len({event["message"] for event in sentry.events}) == 20
    for event in sentry.events:
        assert_of_one_request_alone(event)


def test_child_tasks_belong_to_their_request(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        async def child() -> None:
            sentry_sdk.set_tag("child", scope["path"])

        await asyncio.gather(child(), asyncio.create_task(child()))
        sentry_sdk.capture_message(scope["path"])

    async def main() -> None:
        wrapped = SentryMiddleware(app)
        await asyncio.gather(call(wrapped, http_scope("/a")), call(wrapped, http_scope("/b")))

    asyncio.run(main())
    for event in sentry.events:
        assert event["tags"] == {"child": event["message"]}
        assert event["request"]["url"].endswith(event["message"])


def test_work_that_outlives_its_request_reports_under_it(sentry: Sentry) -> None:
    async def main() -> None:
        release, tasks = asyncio.Event(), []

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            async def late() -> None:
                await release.wait()
                sentry_sdk.capture_message("late")

            tasks.append(asyncio.create_task(late()))

        wrapped = SentryMiddleware(app)
        await call(wrapped, http_scope("/first"))
        await call(wrapped, http_scope("/second"))
        release.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert {event["request"]["url"] for event in sentry.events} == {
        "http://example.org/first",
        "http://example.org/second",
    }


def test_a_request_leaves_nothing_behind_in_its_context(sentry: Sentry) -> None:
    before = SentryScope.get_isolation_scope(), SentryScope.get_current_scope()

    async def main() -> None:
        await call(SentryMiddleware(capturing), http_scope("/alice"))
        assert SentryScope.get_isolation_scope() is before[0]
        assert SentryScope.get_current_scope() is before[1]
        sentry_sdk.capture_message("after")

    asyncio.run(main())
    after = sentry.events[1]
    assert "request" not in after
    assert "tags" not in after
    assert "user" not in after


def test_a_request_that_ends_in_another_context_does_no_harm(sentry: Sentry) -> None:
    """An event loop drives a coroutine in one context; other drivers need not."""
    coroutine = call(SentryMiddleware(waiting), http_scope("/a"))
    contextvars.copy_context().run(coroutine.send, None)
    with pytest.raises(StopIteration):
        contextvars.copy_context().run(coroutine.send, None)


def test_a_request_abandoned_in_the_context_of_another_leaves_that_alone(
    sentry: Sentry, way: Any
) -> None:
    if way is PublicScopes:
        pytest.skip("the SDK's own means refuse this with a ValueError, and do nothing")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        mine = SentryScope.get_isolation_scope()
        abandoned.close()  # as the garbage collector does, whenever and wherever it likes
        assert SentryScope.get_isolation_scope() is mine
        await respond(send)

    abandoned = call(SentryMiddleware(waiting), http_scope("/abandoned"))
    contextvars.copy_context().run(abandoned.send, None)
    run(SentryMiddleware(app), http_scope("/a"))


async def waiting(scope: Scope, receive: Any, send: Any) -> None:
    await asyncio.sleep(0)
    await respond(send)


# What the process sets is on every event


def test_a_span_of_the_start_up_does_not_name_the_events_of_requests(sentry: Sentry) -> None:
    """SDK 3 leaves a root span's name on the scope."""
    sentry.init(traces_sample_rate=1.0)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            with sentry_sdk.start_span(name="INSERT at start-up"):
                sentry_sdk.get_isolation_scope().set_transaction_name("start-up")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        sentry_sdk.capture_message("hello")
        await respond(send)

    wrapped = SentryMiddleware(app)

    async def serve() -> None:
        incoming: asyncio.Queue[Any] = asyncio.Queue()
        up = asyncio.Event()

        async def send(message: Any) -> None:
            up.set()

        await incoming.put({"type": "lifespan.startup"})
        lifespan = asyncio.create_task(wrapped({"type": "lifespan"}, incoming.get, send))
        await up.wait()
        await asyncio.create_task(call(wrapped, http_scope("/x")))
        await incoming.put({"type": "lifespan.shutdown"})
        await lifespan

    asyncio.run(serve())
    assert sentry.event["transaction"] == "/x"


def test_what_the_process_sets_at_start_is_on_every_event(sentry: Sentry) -> None:
    sentry_sdk.set_tag("region", "eu")
    app = SentryMiddleware(capturing)
    sentry_sdk.set_tag("late", "too")
    sentry_sdk.add_breadcrumb(message="of the process")
    sentry_sdk.get_current_scope().add_breadcrumb(message="of the process")  # as SDK 2.12 does
    run(app, http_scope("/a"))
    assert sentry.event["tags"] == {
        "region": "eu", "late": "too", "a": "isolation", "a.current": "current",
    }  # fmt: skip
    assert [crumb["message"] for crumb in sentry.event["breadcrumbs"]["values"]] == ["a"]


def test_what_the_lifespan_sets_is_on_every_event(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            sentry_sdk.set_tag("started", "yes")
            return
        sentry_sdk.capture_message("hello")

    def serve() -> None:
        """As a server does: each in a task of its own, none with a scope to inherit."""
        wrapped = SentryMiddleware(app)
        messages = [{"type": "lifespan.startup"}]
        contextvars.Context().run(run, wrapped, {"type": "lifespan"}, messages)
        contextvars.Context().run(run, wrapped)

    contextvars.Context().run(serve)
    assert sentry.event["tags"] == {"started": "yes"}


def test_what_the_process_sets_reaches_threads_that_know_no_scope(sentry: Sentry, way: Any) -> None:
    if way is PublicScopes:
        pytest.skip(
            "by public means, a context without a scope cannot be told from one with an empty one"
        )
    sentry_sdk.set_tag("region", "eu")
    app = SentryMiddleware(capturing)
    thread = threading.Thread(target=contextvars.Context().run, args=(run, app, http_scope("/a")))
    thread.start()
    thread.join()
    assert sentry.event["tags"]["region"] == "eu"


def test_the_process_may_wrap_its_server_in_a_scope_of_its_own(sentry: Sentry) -> None:
    app = SentryMiddleware(capturing)
    with sentry_sdk.isolation_scope() as scope:
        scope.set_tag("worker", "7")
        run(app, http_scope("/a"))
    assert sentry.event["tags"]["worker"] == "7"


# Traces


def trace_id(event: dict[str, Any]) -> Any:
    return event["contexts"]["trace"]["trace_id"]


def test_each_request_has_a_trace_of_its_own(sentry: Sentry) -> None:
    app = SentryMiddleware(capturing)
    run(app, http_scope("/a"))
    run(app, http_scope("/b"))
    sentry_sdk.capture_message("process")
    assert len({trace_id(event) for event in sentry.events}) == 3


def test_an_incoming_trace_is_continued_by_errors(sentry: Sentry) -> None:
    incoming = "0123456789abcdef0123456789abcdef-0123456789abcdef-1"
    headers = [(b"sentry-trace", incoming.encode()), (b"baggage", b"sentry-environment=eu")]
    run(SentryMiddleware(capturing), http_scope("/a", headers=headers))
    trace = sentry.event["contexts"]["trace"]
    assert trace["trace_id"] == "0123456789abcdef0123456789abcdef"
    assert trace["parent_span_id"] == "0123456789abcdef"


@pytest.mark.parametrize(
    "header", [b"", b"-", b"0" * 100_000, b"\xff\xfe", b"zz-zz-1", b"sentry-trace_id=\x00,=,;;,%"]
)
def test_a_hostile_trace_header_is_ignored(sentry: Sentry, header: bytes) -> None:
    headers = [(b"sentry-trace", header), (b"baggage", header)]
    run(SentryMiddleware(capturing), http_scope("/a", headers=headers))
    assert len(trace_id(sentry.event)) == 32


def test_a_trace_that_cannot_be_continued_is_no_problem_of_the_apps(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    continues = SentryScope.generate_propagation_context

    def broken(scope: Any, incoming_data: Any = None) -> None:
        if incoming_data is not None:
            raise RuntimeError("broken")
        continues(scope)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.capture_message("still reported")
        await respond(send)

    wrapped = SentryMiddleware(app)
    monkeypatch.setattr(SentryScope, "generate_propagation_context", broken)
    monkeypatch.setattr(sdk_spans, "continued_trace", lambda incoming: broken(None, incoming))
    assert run(wrapped, http_scope(headers=[(b"sentry-trace", b"a-b")]))[1]["body"] == b"ok"
    assert "continuing a trace failed" in caplog.text
    assert sentry.event["contexts"]["trace"]["trace_id"]


def test_an_ambient_span_is_not_the_requests_parent(sentry: Sentry, way: Any) -> None:
    if way is PublicScopes or not hasattr(sentry_sdk, "start_transaction"):
        pytest.skip("lazy scopes and transactions")
    sentry.init(traces_sample_rate=1.0)

    with sentry_sdk.start_transaction(name="ambient") as transaction:
        run(SentryMiddleware(capturing), http_scope("/a"))
        assert trace_id(sentry.event) != transaction.trace_id


# The lazy scopes themselves


def lazy(connection: Connection | None = None) -> Any:
    scope: Any = object.__new__(_lazy.IsolationScope)
    scope.asgi_base = SentryScope(ty=ScopeType.ISOLATION)
    scope.asgi_connection = connection or Connection(http_scope())
    return scope


def filled(scope: Any) -> set[str]:
    names = set()
    for name in _lazy.SLOTS:
        try:
            getattr(SentryScope, name).__get__(scope)
        except AttributeError:
            continue
        names.add(name)
    return names


def test_a_request_that_never_touches_its_scopes_never_fills_them(sentry: Sentry, way: Any) -> None:
    if way is PublicScopes:
        pytest.skip("the public scopes are always full")
    seen: list[set[str]] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        assert sentry_sdk.get_client().is_active()
        seen.append(filled(SentryScope.get_isolation_scope()))
        seen.append(filled(SentryScope.get_current_scope()))

    run(SentryMiddleware(app))
    assert seen == [{"client"}, {"client"}]


def test_a_scope_is_filled_once_and_keeps_what_was_written_before() -> None:
    scope = lazy()
    scope._user = {"id": "written first"}
    assert scope._tags == {}
    scope._tags["a"] = "b"
    assert scope._user == {"id": "written first"}
    assert scope._tags == {"a": "b"}
    assert filled(scope) == set(_lazy.SLOTS)


def test_a_scope_filled_by_many_threads_at_once_loses_nothing() -> None:
    for _ in range(50):
        scope, barrier = lazy(), threading.Barrier(8)

        def work(index: int, scope: Any = scope, barrier: Any = barrier) -> None:
            barrier.wait()
            scope.set_tag(f"t{index}", "set")

        threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(scope._tags) == 8


def test_a_scope_has_no_attributes_but_a_scopes() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = lazy().nonsense
    assert "id=" in repr(lazy())


def test_copies_know_the_process_scope_beneath() -> None:
    scope = lazy()
    for copied in (copy.copy(scope), scope.fork()):
        assert copied.asgi_base is scope.asgi_base
        assert copied.asgi_connection is scope.asgi_connection


def test_a_scope_that_cannot_be_filled_is_an_empty_one(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(_lazy, "isolation_fork", broken)
    scope = lazy()
    scope.set_tag("a", "b")
    assert scope._tags == {"a": "b"}
    assert "filling a scope failed" in caplog.text


# Choosing


def test_the_installed_sdk_has_every_private_name_that_is_used() -> None:
    """If this fails, a new SDK has moved one: the middleware still works, by the slower way."""
    assert sdk_scopes.LAZY_SCOPES is not None
    assert {"_span", "_propagation_context", "client"} <= set(sdk_scopes.LAZY_SCOPES.slots)
    assert _isolation.lazy_scopes_work()


def test_the_lazy_way_is_taken_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    _isolation._chosen.cache_clear()
    assert isinstance(_isolation.isolation(), LazyScopes)


@pytest.mark.parametrize("name", ["_isolation_scope", "_current_scope"])
def test_an_sdk_without_these_variables_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(sentry_sdk.scope, name)
    assert sdk_scopes._scope_variables() is None


def test_an_sdk_that_lists_nothing_ahead_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sentry_sdk.utils, "_get_installed_modules")
    sdk_clients.list_installed()


def test_an_sdk_whose_scopes_have_no_trace_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(SentryScope, "_propagation_context")
    assert sdk_scopes._scope_variables() is None


def test_an_sdk_whose_scopes_have_no_slots_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(SentryScope, "__slots__")
    assert sdk_scopes._scope_variables() is None


def test_an_sdk_that_fills_its_forks_otherwise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lazy.LazyScope, "_fill", lambda self: setattr(self, "_user", 7))
    assert not _isolation.lazy_scopes_work()


def test_an_sdk_that_knows_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_isolation, "_same", lambda one, other: False)
    assert not _isolation.lazy_scopes_work()


@pytest.mark.parametrize("missing", ["variables", "behaviour"])
def test_otherwise_the_public_way_is_taken_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    monkeypatch.undo()
    _isolation._chosen.cache_clear()
    if missing == "variables":
        monkeypatch.setattr(sdk_scopes, "LAZY_SCOPES", None)
    else:
        monkeypatch.setattr(_isolation, "lazy_scopes_work", lambda: False)
    caplog.set_level(logging.INFO, "sentry_asgi")
    try:
        assert isinstance(_isolation.isolation(), PublicScopes)
        assert "its public, slower scopes are used" in caplog.text
    finally:
        _isolation._chosen.cache_clear()


def test_a_scope_that_keeps_its_name_elsewhere_is_let_be() -> None:
    class Nameless:
        __slots__ = ()

    sdk_scopes.forget_name(Nameless())


def test_the_slots_of_a_scopes_name_are_the_sdks() -> None:
    scope = SentryScope()
    scope.set_transaction_name("named", source="custom")
    sdk_scopes.forget_name(scope)
    event: Any = scope.apply_to_event({}, {})
    assert "transaction" not in event
    assert not event.get("transaction_info")
