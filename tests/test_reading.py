"""However a handler reads its request's body, it sees what it saw without the middleware; and so does the server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
import sentry_sdk
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from sentry_asgi import SentryMiddleware

from .servers import uvicorn_serving
from .support import App, Message, Scope, Sentry, http_scope, pii, respond, run

BODY = b'{"page": 1, "token": "hunter2-of-alice"}'
CHUNKS: list[Message] = [
    {"type": "http.request", "body": BODY[:9], "more_body": True},
    {"type": "http.request", "body": b"", "more_body": True},
    {"type": "http.request", "body": BODY[9:]},
    {"type": "http.disconnect"},
]
DISCONNECTED: list[Message] = [CHUNKS[0], {"type": "http.disconnect"}]


# How a handler may read. Each notes what it sees.


async def never(receive: Any, see: Callable[[Any], None]) -> None:
    see("nothing")


async def slowly(receive: Any, see: Callable[[Any], None]) -> None:
    more = True
    while more:
        await asyncio.sleep(0.002)
        message = await receive()
        see(message)
        more = message.get("more_body", False)


async def half(receive: Any, see: Callable[[Any], None]) -> None:
    see(await receive())


async def beyond_the_end(receive: Any, see: Callable[[Any], None]) -> None:
    for _ in range(4):
        see(await receive())


async def in_two_tasks(receive: Any, see: Callable[[Any], None]) -> None:
    for message in await asyncio.gather(receive(), receive()):
        see(message)


async def giving_up(receive: Any, see: Callable[[Any], None]) -> None:
    """Waits for what does not come, no longer than a moment."""
    try:
        while True:
            see(await asyncio.wait_for(receive(), 0.02))
    except TimeoutError:
        see("gave up")


READERS = [never, slowly, half, beyond_the_end, in_two_tasks, giving_up]


def seen_of(wrap: Any, reader: Any, messages: list[Message], *, fails: bool) -> list[Any]:
    """What the handler sees, and when the server is asked for it."""
    seen: list[Any] = []
    waiting = list(messages)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await reader(receive, lambda one: seen.append(("app", one)))
        sentry_sdk.capture_message("read")
        seen.append("answers")
        await respond(send)
        if fails:
            raise ValueError("nope")

    async def receive() -> Message:
        seen.append("server: asked")
        if not waiting:
            await asyncio.sleep(60)
        await asyncio.sleep(0)
        message = waiting.pop(0)
        seen.append(("server", id(message)))
        return message

    async def send(message: Message) -> None:
        seen.append(message["type"])

    try:
        asyncio.run(wrap(app)(http_scope("/", method="POST"), receive, send))
    except ValueError as raised:
        seen.append(str(raised))
    return seen


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("messages", [CHUNKS, DISCONNECTED * 2], ids=["whole", "disconnected"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_handler_sees_what_it_saw_without(
    sentry: Sentry, reader: Any, messages: list[Message], fails: bool
) -> None:
    sentry.init(traces_sample_rate=1.0, max_request_body_size="always", **pii(on=True))
    bare = seen_of(lambda app: app, reader, messages, fails=fails)
    assert seen_of(SentryMiddleware, reader, messages, fails=fails) == bare
    assert len(sentry.events) == 2 + fails  # one of them of the bare app


def test_a_message_is_handed_on_as_the_very_same_object(sentry: Sentry) -> None:
    received: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        received.append(await receive())
        await respond(send)

    message: Message = {"type": "http.request", "body": bytearray(b"x"), "odd": [1]}
    run(SentryMiddleware(app), messages=[message])
    assert received[0] is message
    assert message == {"type": "http.request", "body": bytearray(b"x"), "odd": [1]}


# The same by Starlette's means, over a real server.


def starlette(seen: list[Any]) -> App:
    async def unread(request: Request) -> Response:
        return PlainTextResponse("ok")

    async def stream(request: Request) -> Response:
        try:
            async for chunk in request.stream():
                seen.append(chunk)  # noqa: PERF401
        except ClientDisconnect:
            seen.append("gone")
            raise
        return PlainTextResponse("ok")

    async def by_hand(request: Request) -> Response:
        more = True
        while more:
            message = await request.receive()
            seen.append((message["type"], message["body"]))
            more = message["more_body"]
        return PlainTextResponse("ok")

    async def whole(request: Request) -> Response:
        seen.append(await request.body())
        return PlainTextResponse("ok")

    async def streaming(request: Request) -> Response:
        async def parts() -> Any:
            for number in range(3):
                yield f"{number}"
                seen.append(f"sent {number}")
                await asyncio.sleep(0.01)

        return StreamingResponse(parts(), media_type="text/html")

    routes = [unread, stream, by_hand, whole, streaming]
    return Starlette(
        routes=[Route(f"/{route.__name__}", route, methods=["POST"]) for route in routes]
    )


def talk(port: int, path: str, sent: bytes, length: int) -> bytes:
    """Posts some bytes of an announced body; what comes back until the server closes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.encode() + sent)
        if len(sent) < length and path != "/unread":
            return b""  # and is gone
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
        return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize(
    ("path", "sent", "length"),
    [
        ("/unread", b"", 100),  # the body never comes: who waits for it hangs
        ("/unread", BODY, len(BODY)),
        ("/stream", BODY, len(BODY)),
        ("/stream", BODY[:20], len(BODY)),
        ("/by_hand", BODY, len(BODY)),
        ("/whole", BODY, len(BODY)),
        ("/streaming", BODY, len(BODY)),
    ],
)
def test_starlette_reads_over_a_real_server_as_it_did_without(
    sentry: Sentry, http: str, path: str, sent: bytes, length: int
) -> None:
    sentry.init(traces_sample_rate=1.0, **pii(on=True))
    outcomes = []
    for wrap in (lambda app: app, SentryMiddleware):
        seen: list[Any] = []
        with uvicorn_serving(wrap(starlette(seen)), http=http, lifespan="off") as port:
            answer = talk(port, path, sent, length)
        outcomes.append(
            (answer, b"".join(one for one in seen if isinstance(one, bytes)), seen[-1:])
        )
    assert outcomes[0] == outcomes[1]
    assert sentry.events == []  # a client that leaves is nobody's failure
