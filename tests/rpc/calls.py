"""Calls to the applications, and what is reported of each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from tests.support import Message, Scope, Sentry, call, http_scope

HEADERS = [
    (b"host", b"localhost:8000"),
    (b"content-type", b"application/json"),
    (b"accept", b"application/json, text/event-stream"),
]


class Reported(NamedTuple):
    """An event, as far as it is of interest: the types it shows, whether handled, what it names."""

    types: tuple[str, ...]
    handled: bool
    rpc: dict[str, str]
    transaction: str


def post(path: str, said: Any, headers: Any = ()) -> tuple[Scope, list[Message]]:
    scope = http_scope(path, method="POST", headers=[*HEADERS, *headers])
    return scope, [{"type": "http.request", "body": json.dumps(said).encode()}]


async def told(sentry: Sentry, app: Any, path: str, said: Any, headers: Any = ()) -> list[Reported]:
    """What is reported of one call, which must be answered with a 200 or with the caller's mistake."""
    before = len(sentry.events)
    sent = await asyncio.wait_for(call(app, *post(path, said, headers)), 20)
    assert sent[0]["status"] in {200, 400}
    return [reported(event) for event in sentry.events[before:]]


def reported(event: Any) -> Reported:
    assert "exception" in event, event.get("logentry")
    values = event["exception"]["values"]
    return Reported(
        tuple(value["type"] for value in values),
        values[-1]["mechanism"]["handled"],
        event["contexts"].get("rpc") or {},
        event["transaction"],
    )


async def started(app: Any, use: Callable[[], Awaitable[None]]) -> None:
    """Runs `use` while the app's lifespan lasts."""
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    up = asyncio.Event()

    async def send(message: Message) -> None:
        up.set()

    await incoming.put({"type": "lifespan.startup"})
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    serving = asyncio.create_task(app(scope, incoming.get, send))
    await up.wait()
    try:
        await use()
    finally:
        await incoming.put({"type": "lifespan.shutdown"})
        await asyncio.wait_for(serving, 20)
