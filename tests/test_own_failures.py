"""What fails in here while messages pass is said, and the messages pass; odd messages are nobody's failure."""

from __future__ import annotations

from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection import exchange
from sentry_asgi._connection.settings import FAILING, answering
from sentry_asgi._failures import dedupe, echoes

from .support import Message, Scope, Sentry, failing, http_scope, respond, run, websocket_scope


class Broken:
    """A container of the user's that does not work."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __contains__(self, status: object) -> bool:
        raise self.error


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "sentry_sdk.errors.asgi"]


async def answer(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    try:
        raise ValueError("nope")
    except ValueError:
        if scope["type"] == "http":
            await respond(send, status=503)
        else:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 1011})


@pytest.mark.parametrize("scope", [http_scope(), websocket_scope()], ids=["http", "websocket"])
@pytest.mark.parametrize("statuses", [Broken(RuntimeError), Broken(SystemExit), 5, None])
def test_statuses_of_the_users_that_raise_are_said_and_the_default_stands_in(
    sentry: Sentry, caplog: pytest.LogCaptureFixture, statuses: Any, scope: Scope
) -> None:
    sent = run(SentryMiddleware(answer, failed_request_status_codes=statuses), dict(scope))
    assert len(sent) == 2
    assert len(sentry.events) == 1
    (said,) = logged(caplog)
    assert "asking failed_request_status_codes failed" in said


@pytest.mark.parametrize("statuses", [range(400, 600), {500, 503}, (503,), [503], frozenset({503})])
def test_plain_statuses_are_asked_as_they_are(statuses: Any) -> None:
    assert answering(statuses) is statuses
    assert 503 in answering({"503": 1, 503: 2})
    assert 503 in FAILING


@pytest.mark.parametrize("scope", [http_scope(), websocket_scope()], ids=["http", "websocket"])
@pytest.mark.parametrize("name", ["failure", "with_event_id", "limit"])
def test_what_fails_in_here_is_said_and_the_messages_pass(
    sentry: Sentry,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    scope: Scope,
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("broken")

    if scope["type"] == "websocket" and name != "failure":
        pytest.skip("not done for websockets")
    monkeypatch.setattr(exchange, name, broken)
    body: Message = {"type": "http.request", "body": b"body"}
    sent = run(SentryMiddleware(answer, id_headers=True), dict(scope), [body])
    assert len(sent) == 2
    assert len(logged(caplog)) == 1


def test_a_budget_that_fails_is_said(
    sentry: Sentry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(dedupe, "raise_site", broken)
    sent = run(SentryMiddleware(answer, id_headers=True))
    assert sent[0]["status"] == 503
    assert "noting a failing response failed" in logged(caplog)[0]


def test_an_error_of_the_servers_that_cannot_be_read_is_said_and_comes_out(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(OSError):
        @property
        def filename(self) -> Any:
            raise RuntimeError

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        raise Odd

    coroutine = SentryMiddleware(answer)(http_scope(), receive, send)
    with pytest.raises(Odd):
        coroutine.send(None)
    assert "noting that the client has left failed" in logged(caplog)[0]


@pytest.mark.parametrize("message", [{}, None, 7, {"type": None}, {"type": "http.response.start"}])
def test_an_odd_message_of_the_apps_is_not_said(
    sentry: Sentry, caplog: pytest.LogCaptureFixture, message: Any
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send(message)

    sent = run(SentryMiddleware(app))
    assert sent == [message]
    assert logged(caplog) == []


def test_an_event_of_no_request_is_sent_though_nobody_finds_whose_it_is(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    SentryMiddleware(failing)  # which has the SDK ask
    monkeypatch.setattr(echoes, "late_work_of", None)
    sentry_sdk.capture_message("outside")
    assert sentry.event["message"] == "outside"
    assert "finding the request of a late error failed" in caplog.text
