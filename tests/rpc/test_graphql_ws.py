"""`graphql-transport-ws`, as Strawberry and Ariadne speak it: one event for each message that tells of a failure."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sentry_asgi import SentryMiddleware
from tests.rpc.calls import Reported, reported
from tests.rpc.graphql_apps import Broken, ariadne, strawberry
from tests.support import Message, Sentry, websocket_scope

pytest.importorskip("graphql", reason="nox -s rpc")

pytestmark = pytest.mark.filterwarnings("ignore")
PROTOCOL = "graphql-transport-ws"


@pytest.fixture(params=[strawberry, ariadne])
def app(request: pytest.FixtureRequest) -> Any:
    return SentryMiddleware(request.param())


async def ask(
    sentry: Sentry, app: Any, *operations: str, at_once: bool = False
) -> list[list[Reported]]:
    """Ask on one connection, one operation after the other or all at once; return what was reported of each."""
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    outgoing: asyncio.Queue[Message] = asyncio.Queue()

    async def say(**message: Any) -> None:
        await incoming.put({"type": "websocket.receive", "text": json.dumps(message)})

    async def heard(*types: str) -> None:
        while True:
            message = await asyncio.wait_for(outgoing.get(), 20)
            assert message["type"] != "websocket.close", message
            if message["type"] == "websocket.send":
                said = json.loads(message["text"])
                if said["type"] in types:
                    return

    scope = websocket_scope("/graphql", subprotocols=[PROTOCOL])
    scope["headers"] = [*scope["headers"], (b"sec-websocket-protocol", PROTOCOL.encode())]
    serving = asyncio.create_task(app(scope, incoming.get, outgoing.put))
    await incoming.put({"type": "websocket.connect"})
    await say(type="connection_init")
    await heard("connection_ack")
    found = []
    for number, operation in enumerate(operations):
        before = len(sentry.events)
        await say(type="subscribe", id=str(number), payload={"query": operation})
        if not at_once:
            await heard("complete", "error")
        found.append([reported(event) for event in sentry.events[before:]])
    for _ in operations if at_once else ():
        await heard("complete", "error")
    await incoming.put({"type": "websocket.disconnect", "code": 1000})
    await asyncio.wait_for(serving, 20)
    return found


def test_each_failing_message_is_one_event_that_names_its_operation(
    sentry: Sentry, app: Any, integrated: bool
) -> None:
    sentry.init(auto_enabling_integrations=integrated)
    later, fine, again = asyncio.run(
        ask(sentry, app, "query Later { later }", "{ fine }", "query Again { later }")
    )
    assert fine == []
    for (one,), operation in ((later, "Later"), (again, "Again")):
        assert one.types[0] == "Broken"
        assert one.handled
        assert one.rpc == {"system": "graphql", "operation": operation, "field": "later"}


def test_a_subscription_that_fails_is_one_event(sentry: Sentry, app: Any, integrated: bool) -> None:
    sentry.init(auto_enabling_integrations=integrated)
    ticks, fine = asyncio.run(ask(sentry, app, "subscription Ticks { ticks }", "{ fine }"))
    assert [one.types[0] for one in ticks] == ["Broken"]
    assert fine == []


def test_what_the_caller_does_wrong_is_no_failure(
    sentry: Sentry, app: Any, integrated: bool
) -> None:
    sentry.init(auto_enabling_integrations=integrated)
    assert asyncio.run(ask(sentry, app, "{ unknown }", "{ fine { x } }")) == [[], []]


def test_ignoring_errors_means_what_the_resolver_raised(
    sentry: Sentry, app: Any, integrated: bool
) -> None:
    sentry.init(ignore_errors=[Broken], auto_enabling_integrations=integrated)
    assert asyncio.run(ask(sentry, app, "{ later }")) == [[]]


def test_operations_under_way_at_the_same_time_are_told_apart(
    sentry: Sentry, app: Any, integrated: bool
) -> None:
    sentry.init(auto_enabling_integrations=integrated)
    operations = [
        f'query Q{n} {{ slow(after: {(7 * n) % 4}, secret: "hunter{n}") }}' for n in range(4)
    ]
    asyncio.run(ask(sentry, app, *operations, at_once=True))
    names = [event["contexts"]["rpc"]["operation"] for event in sentry.events]
    assert sorted(names) == ["Q0", "Q1", "Q2", "Q3"]
    for name, event in zip(names, sentry.events, strict=True):
        assert event["exception"]["values"][0]["value"].startswith(f"slow of {name[1:]}")
