"""What rarely happens, each on its own: interrupts, bounds, SDKs that lack something, scopes within scopes."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.scope import Scope as SentryScope

from sentry_asgi import (
    SentryMiddleware,
    _exceptions,
    _failsafe,
    _isolation,
    _once,
    _sdk,
    _settings,
    _traceback,
)
from sentry_asgi._request import Connection

from .support import Scope, Sentry, call, http_scope, respond, run


def test_a_group_of_too_many_is_not_looked_into() -> None:
    many = ExceptionGroup("many", [ValueError(number) for number in range(_exceptions.BOUND + 1)])
    assert _exceptions.leaves_of(many) is None


def test_an_interrupt_while_a_failure_is_logged_is_an_interrupt() -> None:
    class Interrupting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise KeyboardInterrupt

    handler = Interrupting()
    _failsafe._last.clear()
    _failsafe.logger.addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            _failsafe.log_failure("testing an interrupt")
    finally:
        _failsafe.logger.removeHandler(handler)


def test_an_interrupt_while_statuses_are_asked_is_an_interrupt() -> None:
    class Interrupting:
        def __contains__(self, status: object) -> bool:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assert 500 in _settings.answering(Interrupting())


def test_an_interrupt_in_a_property_of_an_exception_is_an_interrupt() -> None:
    class Interrupting(Exception):
        @property
        def errno(self) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _traceback._asked(Interrupting(), "errno")


def test_without_the_sdks_variables_nothing_is_claimed(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_isolation, "_ISOLATION", None)
    monkeypatch.setattr(_isolation, "_nesting", lambda: None)
    monkeypatch.setattr(_isolation, "_chosen", lambda: _isolation.PublicScopes)
    assert _isolation.claim() is None
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
    scope: Any = object.__new__(_isolation._CurrentScope)
    scope.asgi_base, scope.asgi_connection = None, Connection(http_scope())
    assert scope._start_pending_span(SimpleNamespace(starting=True)) is None
    started = SimpleNamespace(starting=False, pending=False, span="span")
    assert scope._start_pending_span(started) == "span"


def test_the_process_sets_its_client_for_all(sentry: Sentry) -> None:
    _isolation.claim()
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
    assert _once._last_line(error, str(error)) == line


def test_what_the_sdks_middleware_cuts_off_is_told_from_what_the_app_does() -> None:
    code = "def cut():\n try:\n  raise KeyError\n except KeyError:\n  raise ValueError from None"
    for name, is_cut in ((_sdk.CUTS_OFF, True), ("app", False)):
        namespace: dict[str, Any] = {"__name__": name}
        exec(code, namespace)
        with pytest.raises(ValueError) as raised:
            namespace["cut"]()
        assert _traceback._is_cut_off(raised.value) is is_cut
