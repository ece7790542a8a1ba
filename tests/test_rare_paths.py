"""What rarely happens, each on its own: interrupts, bounds, SDKs that lack something, scopes within scopes."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.scope import Scope as SentryScope

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection import settings
from sentry_asgi._connection.request import Connection
from sentry_asgi._events import segment as _segment
from sentry_asgi._failures import records
from sentry_asgi._frameworks import routes as _routes
from sentry_asgi._python import exceptions
from sentry_asgi._redaction import redact
from sentry_asgi._redaction.names import FILTERED
from sentry_asgi._scopes import detached, forks, isolation, lazy, nesting, process, public
from sentry_asgi._sdk import clients as sdk_clients, diagnostics, integrations
from sentry_asgi._stacktrace import traceback

from .support import (
    SDK_VERSION,
    Scope,
    Sentry,
    call,
    exchange_here,
    http_scope,
    respond,
    run,
    websocket_scope,
)


def test_a_group_of_too_many_is_not_looked_into() -> None:
    many = ExceptionGroup("many", [ValueError(number) for number in range(exceptions.BOUND + 1)])
    assert exceptions.leaves_of(many) is None


def test_an_interrupt_while_a_failure_is_logged_is_an_interrupt() -> None:
    class Interrupting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise KeyboardInterrupt

    handler = Interrupting()
    diagnostics._last.clear()
    diagnostics.logger.addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            diagnostics.log_failure("testing an interrupt")
    finally:
        diagnostics.logger.removeHandler(handler)


def test_an_interrupt_while_statuses_are_asked_is_an_interrupt() -> None:
    class Interrupting:
        def __contains__(self, status: object) -> bool:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assert 500 in settings.answering(Interrupting())


def test_an_interrupt_in_a_property_of_an_exception_is_an_interrupt() -> None:
    class Interrupting(Exception):
        @property
        def errno(self) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exceptions.attribute_of(Interrupting(), "errno")


def test_without_the_sdks_variables_nothing_is_claimed(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (process, forks, detached):
        monkeypatch.setattr(module, "ISOLATION", None)
    for module in (nesting, public):
        monkeypatch.setattr(module, "nestings", lambda: (None, None))
    monkeypatch.setattr(isolation, "_chosen", lambda: public.PublicScopes)
    assert process.claim() is None
    app = SentryMiddleware(starts)
    run(app, {"type": "lifespan"}, [{"type": "lifespan.startup"}])
    run(app, http_scope("/a"))
    assert sentry.event["request"]["url"] == "http://example.org/a"


async def starts(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        return
    sentry_sdk.capture_message("hello")
    await respond(send)


def test_a_lifespan_within_a_request_starts_from_the_process(sentry: Sentry) -> None:
    inner = SentryMiddleware(starts)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await call(inner, {"type": "lifespan"}, [{"type": "lifespan.startup"}])
        mine = SentryScope.get_isolation_scope()
        assert mine.asgi_connection.scope is scope  # type: ignore[attr-defined]
        await respond(send)

    assert run(SentryMiddleware(app))[1]["body"] == b"ok"


def test_a_lifespan_whose_scopes_cannot_be_entered_is_served(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    app = SentryMiddleware(starts)

    def broken() -> Any:
        raise RuntimeError("broken")

    app._isolation = SimpleNamespace(process=broken, prepare=app._isolation.prepare)
    (sent,) = run(app, {"type": "lifespan"}, [{"type": "lifespan.startup"}])
    assert sent == {"type": "lifespan.startup.complete"}
    assert "isolating the lifespan failed" in caplog.text


def test_a_span_that_is_being_started_or_is_started_is_not_started_again() -> None:
    scope: Any = object.__new__(lazy.CurrentScope)
    scope.asgi_base, scope.asgi_connection = None, Connection(http_scope())
    assert scope._start_pending_span(SimpleNamespace(starting=True)) is None
    started = SimpleNamespace(starting=False, pending=False, span="span")
    assert scope._start_pending_span(started) == "span"


def test_the_process_sets_its_client_for_all(sentry: Sentry) -> None:
    process.claim()
    client = sentry_sdk.Client()
    sentry_sdk.get_isolation_scope().set_client(client)
    assert sentry_sdk.get_isolation_scope().client is client

    async def other_task() -> None:
        assert sentry_sdk.get_isolation_scope().client is client

    asyncio.run(other_task())


class Own(Exception):
    pass


def noted(error: Exception) -> Exception:
    error.add_note("one\ntwo")
    return error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (noted(ValueError("nope")), "two"),
        (Own("nope"), f"{__name__}.Own: nope"),
        (SyntaxError("odd"), "SyntaxError: odd"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_traceback_ends_as_python_has_it(error: Exception, line: str) -> None:
    assert records._last_line(error, str(error)) == line


def test_what_the_sdks_middleware_cuts_off_is_told_from_what_the_app_does() -> None:
    code = "def cut():\n try:\n  raise KeyError\n except KeyError:\n  raise ValueError from None"
    for name, is_cut in ((sdk_clients.CUTS_OFF, True), ("app", False)):
        namespace: dict[str, Any] = {"__name__": name}
        exec(code, namespace)
        with pytest.raises(ValueError) as raised:
            namespace["cut"]()
        assert traceback._is_cut_off(raised.value) is is_cut


def streaming(sentry: Sentry) -> None:
    if SDK_VERSION < (2, 75):
        pytest.skip("streamed spans are younger")
    way = {"trace_lifecycle": "stream"} if SDK_VERSION < (3, 0) else {}
    sentry.init(traces_sample_rate=1.0, **way)


@pytest.mark.parametrize("body", [b"", b'{"a": 1}'], ids=["no body", "body"])
def test_a_request_that_cannot_be_looked_at_is_not_told_by_a_segment(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    def hide(event: Any, secrets: Any, rules: Any, **options: Any) -> None:
        for part in event:
            event[part] = FILTERED

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await respond(send)

    monkeypatch.setattr(redact, "redact", hide)
    streaming(sentry)
    messages = [{"type": "http.request", "body": body}]
    run(SentryMiddleware(app), http_scope("/a/password=hunter2"), messages)
    (segment,) = sentry.segments
    assert segment["name"] == FILTERED
    assert "hunter2" not in repr(segment)
    assert not [
        name for name in segment.get("attributes", ()) if name.startswith("http.request.header.")
    ]


def test_attributes_that_cannot_be_made_are_logged(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.set_tag("fills", "the scope")
        await respond(send)

    def broken(connection: Any) -> Any:
        raise RuntimeError("broken")

    streaming(sentry)
    monkeypatch.setattr(_segment, "shared_attributes", broken)
    run(SentryMiddleware(app), http_scope("/a"))
    assert "describing streamed spans failed" in caplog.text


def test_a_segment_that_is_set_on_a_scope_is_the_one(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        current: Any = sentry_sdk.get_current_scope()
        own = current._server_segment_span
        assert own is not None
        current._server_segment_span = other
        assert current._server_segment_span is other
        await respond(send)

    streaming(sentry)
    other = SimpleNamespace()
    run(SentryMiddleware(app), http_scope("/a"))
    assert sentry.segments[0]["name"] == "/a"


async def respond_ok(scope: Scope, receive: Any, send: Any) -> None:
    await respond(send)


def test_a_long_message_of_a_websocket_is_not_kept(sentry: Sentry) -> None:
    kept: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(2):
            await receive()
            kept.append(exchange_here().message)

    messages = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "short"},
        {"type": "websocket.receive", "text": "x" * 20_000},
    ]
    run(SentryMiddleware(app), websocket_scope(), messages)
    assert kept == ["short", None]


def test_a_router_of_another_library_is_not_asked() -> None:
    class Router:
        @property
        def routes(self) -> Any:
            raise AssertionError

    connection: Any = SimpleNamespace(
        scope={"router": Router()},
        settings=SimpleNamespace(app=None, transaction_style="route"),
        path="/",
        root_path="",
    )
    assert _routes.named(connection) is _routes.NOTHING


def test_a_thread_that_cannot_be_named_is_logged(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(integrations, "active_thread_is_here", broken)
    integrations._tell_thread()
    assert "naming the thread of an endpoint failed" in caplog.text
