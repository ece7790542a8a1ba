"""What passes on a connection, as it is noted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sentry_asgi._connection.exchange import Exchange, WebSocketExchange

from .support import Message, Scope, http_scope, websocket_scope


def pass_on(
    exchange_class: type[Exchange],
    incoming: list[Message],
    outgoing: list[Message],
    fails: bool = False,
) -> Any:
    """Has an exchange pass on first what comes in, then what goes out."""
    waiting = list(incoming)

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> str:
        if fails:
            raise BrokenPipeError
        return "sent"

    async def main() -> Exchange:
        scope = http_scope() if exchange_class is Exchange else websocket_scope()
        exchange = exchange_class(scope, receive, send)
        for message in incoming:
            assert await exchange.receive() is message
        for message in outgoing:
            if fails:
                with pytest.raises(BrokenPipeError):
                    await exchange.send(message)
            else:
                assert await exchange.send(message) == "sent"
        return exchange

    return asyncio.run(main())


START: Message = {"type": "http.response.start", "status": 404, "headers": [(b"a", b"b")]}
PART: Message = {"type": "http.response.body", "body": b"part", "more_body": True}
REST: Message = {"type": "http.response.body", "body": b"rest"}


def test_a_response_is_followed_from_start_to_end() -> None:
    exchange = pass_on(Exchange, [], [])
    assert (exchange.phase, exchange.status, exchange.sent_bytes) == ("before response", None, 0)
    exchange = pass_on(Exchange, [], [START, PART])
    assert (exchange.phase, exchange.status, exchange.sent_bytes) == ("during response", 404, 4)
    assert exchange.started_at <= exchange.first_byte_at
    exchange = pass_on(Exchange, [], [START, PART, REST])
    assert (exchange.phase, exchange.status, exchange.sent_bytes) == ("after response", 404, 8)
    assert exchange.first_byte_at <= exchange.ended_at


def test_each_part_of_a_response_goes_out_before_the_app_goes_on() -> None:
    seen: list[str] = []

    async def server(message: Message) -> None:
        seen.append("sent")

    async def main() -> None:
        exchange = Exchange(http_scope(), asyncio.Event().wait, server)
        await exchange.send({"type": "http.response.start", "status": 200})
        for part in (b"<html>", b"</html>"):
            await exchange.send({"type": "http.response.body", "body": part, "more_body": True})
            seen.append("went on")

    asyncio.run(main())
    assert seen == ["sent", "sent", "went on", "sent", "went on"]


def test_the_first_start_counts() -> None:
    exchange = pass_on(Exchange, [], [START, {**START, "status": 500}])
    assert exchange.status == 404


def test_a_file_sent_by_the_server_ends_the_response() -> None:
    exchange = pass_on(Exchange, [], [START, {"type": "http.response.pathsend", "path": "/x"}])
    assert exchange.phase == "after response"


def test_the_request_body_counts_as_the_app_reads_it() -> None:
    first = {"type": "http.request", "body": b"abc", "more_body": True}
    exchange = pass_on(Exchange, [first], [])
    assert (exchange.received_bytes, exchange.received_all) == (3, False)
    exchange = pass_on(Exchange, [first, {"type": "http.request"}], [])
    assert (exchange.received_bytes, exchange.received_all) == (3, True)


def test_a_client_leaves_while_its_response_is_not_complete() -> None:
    gone: Message = {"type": "http.disconnect"}
    assert pass_on(Exchange, [gone], []).client_left
    assert pass_on(Exchange, [], [START], fails=True).client_left
    assert not pass_on(Exchange, [], [START, REST]).client_left


def test_a_disconnect_after_the_response_is_how_every_request_ends() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        pass

    async def main() -> None:
        exchange = Exchange(http_scope(), receive, send)
        await exchange.send(START)
        await exchange.send(REST)
        await exchange.receive()
        assert not exchange.client_left

    asyncio.run(main())


@pytest.mark.parametrize(
    "message",
    [
        {},
        None,
        7,
        "text",
        {"type": None},
        {"type": "http.response.start", "status": None},
        {"type": "http.response.body", "body": None},
        {"type": "http.request", "body": 7},
        {"type": "websocket.send", "text": 7},
        {"type": "websocket.close", "code": "x", "reason": 7},
        {"type": "websocket.receive", "bytes": 7},
    ],
)
@pytest.mark.parametrize("kind", [Exchange, WebSocketExchange])
def test_what_is_no_message_passes_all_the_same(kind: type[Exchange], message: Any) -> None:
    exchange = pass_on(kind, [message], [message])
    assert exchange.status in (None, 403)
    assert exchange.phase in ("before response", "during response", "after response")


ACCEPT: Message = {"type": "websocket.accept"}


def test_a_websocket_counts_messages_and_bytes_each_way() -> None:
    exchange = pass_on(
        WebSocketExchange,
        [
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": "ä"},
            {"type": "websocket.receive", "bytes": b"abc", "text": None},
        ],
        [ACCEPT, {"type": "websocket.send", "bytes": b"x"}],
    )
    assert (exchange.received_messages, exchange.received_bytes) == (2, 5)
    assert (exchange.sent_messages, exchange.sent_bytes) == (1, 1)
    assert (exchange.status, exchange.phase) == (101, "during response")
    assert exchange.close is None


def test_a_websocket_tells_who_closed_it_and_how() -> None:
    close = {"type": "websocket.close", "code": 1011, "reason": "broken"}
    exchange = pass_on(WebSocketExchange, [], [ACCEPT, close, {**close, "code": 1000}])
    assert exchange.close == ("app", 1011, "broken")
    assert exchange.phase == "after response"
    left = {"type": "websocket.disconnect", "code": 1001}
    exchange = pass_on(WebSocketExchange, [left, left], [])
    assert (exchange.close, exchange.client_left) == (("client", 1001, None), True)
    assert pass_on(WebSocketExchange, [], [ACCEPT], fails=True).client_left


def test_a_refused_handshake_has_the_status_that_the_client_saw() -> None:
    assert pass_on(WebSocketExchange, [], [{"type": "websocket.close"}]).status == 403
    denial = {"type": "websocket.http.response.start", "status": 401}
    assert pass_on(WebSocketExchange, [], [denial]).status == 401


def test_a_second_response_is_none_but_may_tell_of_a_failure() -> None:
    exchange = pass_on(Exchange, [], [START, REST, {**START, "status": 302}])
    assert (exchange.status, exchange.failure) == (404, None)
    failing: Message = {**START, "status": 500}
    exchange = pass_on(Exchange, [], [START, REST, failing, failing])
    assert exchange.status == 404
    assert exchange.failure.phase == "after response"


def held_after(
    kind: type[Exchange], scope: Scope, crossed: int, start: Message, step: str, message: Message
) -> int:
    """How many exceptions an open connection holds that crossed before it goes on with one more message."""

    async def main() -> int:
        async def receive() -> Message:
            return message

        async def send(_: Message) -> None:
            pass

        exchange = kind(scope, receive, send)
        await exchange.send(start)
        for _ in range(crossed):
            if exchange.held is None:
                exchange.held = ValueError("first")  # as `unwinding` does
            else:
                exchange.crossed(ValueError("more"))
        await (exchange.receive() if step == "receive" else exchange.send(message))
        return len(exchange.crossings)

    return asyncio.run(main())


@pytest.mark.parametrize("crossed", [0, 1, 2, 100])
def test_an_open_connection_that_goes_on_holds_one_handled_exception_at_most(crossed: int) -> None:
    received = {"type": "websocket.receive", "text": "x"}
    sent = {"type": "websocket.send", "text": "x"}
    more = {"type": "http.response.body", "body": b"x", "more_body": True}
    socket = WebSocketExchange, websocket_scope(), crossed, ACCEPT
    assert held_after(*socket, "receive", received) == 0
    assert held_after(*socket, "send", sent) == min(crossed, 1)
    assert held_after(Exchange, http_scope(), crossed, START, "send", more) == min(crossed, 1)


def test_before_the_handshake_nothing_is_let_go() -> None:
    received = {"type": "websocket.receive", "text": "x"}
    odd = {"type": "websocket.odd"}
    assert held_after(WebSocketExchange, websocket_scope(), 2, odd, "receive", received) == 2
