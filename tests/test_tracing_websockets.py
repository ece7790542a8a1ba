"""Traces of websockets: the handshake, the messages, what an open connection holds, and how it ended."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Callable
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._scopes import isolation as _isolation
from sentry_asgi._scopes.lazy import set_slots
from sentry_asgi._scopes.public import PublicScopes
from sentry_asgi._sdk import events as sdk_events
from sentry_asgi._tracing import sampling

from .support import SDK_VERSION, Message, Scope, Sentry, exchange_here, run, websocket_scope
from .test_tracing import PARENT, TRACE, WAYS, Traced, lost

CONNECT = {"type": "websocket.connect"}


@pytest.fixture(params=WAYS)
def traced(request: pytest.FixtureRequest, sentry: Sentry) -> Traced:
    return Traced(sentry, request.param)


def text(value: str) -> Message:
    return {"type": "websocket.receive", "text": value}


def gone(code: int = 1000) -> Message:
    return {"type": "websocket.disconnect", "code": code, "reason": ""}


async def echo(scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def talk(app: Any, incoming: list[Message], **options: Any) -> None:
    headers = options.pop("headers", [(b"host", b"example.org")])
    wrapped = SentryMiddleware(app, **options)
    run(wrapped, websocket_scope("/ws", headers=headers), incoming)


MESSAGES = [CONNECT, text("one"), text("zwei \N{SNOWMAN}"), gone()]


def test_messages_have_no_spans_unless_they_are_wanted(traced: Traced) -> None:
    traced.init()
    talk(echo, list(MESSAGES))
    assert len(traced.spans) == 1


def test_each_message_has_a_span_of_its_own_in_the_connections_trace(traced: Traced) -> None:
    traced.init()
    headers = [
        (b"host", b"example.org"),
        (b"sentry-trace", f"{TRACE}-{PARENT}-1".encode()),
        (b"baggage", b"sentry-sample_rand=0.5,sentry-trace_id=" + TRACE.encode()),
    ]
    talk(echo, list(MESSAGES), websocket_message_spans=True, headers=headers)
    handshake, *messages = traced.requests
    assert handshake["parent"] == PARENT
    assert [message["parent"] for message in messages] == [handshake["id"]] * 2
    assert {span["trace"] for span in traced.requests} == {TRACE}
    assert {span["op"] for span in traced.requests} == {"websocket.server"}
    assert {span["name"] for span in traced.requests} == {"/ws"}
    sizes = [message["data"].get("messaging.message.body.size") for message in messages]
    assert sizes == [3, len("zwei \N{SNOWMAN}".encode())]
    assert "http.response.status_code" not in messages[0]["data"]
    assert [message["status"] for message in messages] == ["ok", "ok"]


def test_a_messages_span_lasts_until_the_next_is_asked_for(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        assert exchange_here().trace.span is not None
        with traced.start_span("work"):
            await asyncio.sleep(0.03)
        await receive()
        assert exchange_here().trace is None
        await asyncio.sleep(0.05)

    talk(app, [CONNECT, text("x"), gone()], websocket_message_spans=True)
    _, message = traced.requests
    work = next(span for span in traced.spans if span["name"] == "work")
    assert 0.03 <= message["seconds"] < 0.06
    assert work["parent"] == message["id"]


def test_a_message_that_fails_is_an_error_and_the_event_is_of_its_span(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        raise ValueError("nope")

    with pytest.raises(ValueError, match="nope"):
        talk(app, [CONNECT, text("x")], websocket_message_spans=True)
    _, message = traced.requests
    assert message["status"] == ("error" if traced.way == "stream" else "internal_error")
    assert traced.sentry.event["contexts"]["trace"]["span_id"] == message["id"]


@pytest.mark.parametrize("asked", [False, True])
def test_messages_of_a_connection_that_is_not_sampled_are_not_and_are_counted(
    traced: Traced, asked: bool
) -> None:
    traced.init(traces_sample_rate=0.0)
    counted = lost(traced)
    headers: list[Any] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            assert exchange_here().trace.span is None
            if asked:
                headers.append(sentry_sdk.get_traceparent())

    talk(app, list(MESSAGES), websocket_message_spans=True)
    assert traced.spans == []
    category = "span" if traced.way == "stream" else "transaction"
    assert [one for one in counted if one[1] == category] == [("sample_rate", category)] * 3
    assert all(header.endswith("-0") for header in headers)
    assert len({header[:32] for header in headers}) == asked


def test_a_sampler_is_asked_once_for_a_connection(traced: Traced) -> None:
    asked: list[Any] = []

    def sampler(context: Any) -> float:
        asked.append(context)
        return 1.0

    traced.init(traces_sampler=sampler)
    talk(echo, list(MESSAGES), websocket_message_spans=True)
    assert len(asked) == 1
    assert len(traced.requests) == 3


@pytest.mark.parametrize("answer", ["raises", "invalid"])
def test_where_a_sampler_fails_messages_are_not_sampled_either(traced: Traced, answer: str) -> None:
    def sampler(context: Any) -> Any:
        if answer == "raises":
            raise RuntimeError("broken")
        return "often"

    traced.init(traces_sampler=sampler)
    talk(echo, list(MESSAGES), websocket_message_spans=True)
    assert traced.spans == []


def test_backpressure_lowers_the_rate_of_messages_too(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "FACTOR_HOLDS", 0.0)  # and not a second
    client = traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        client.monitor._downsample_factor = 30
        await receive()

    talk(app, [CONNECT, text("x"), text("y")], websocket_message_spans=True)
    assert len(traced.requests) == 2


def test_a_refused_websocket_has_no_messages(traced: Traced) -> None:
    traced.init()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close"})
        assert exchange_here().messages is None

    talk(app, [], websocket_message_spans=True)
    assert len(traced.spans) == 1


def test_a_message_that_is_received_elsewhere_has_no_span(traced: Traced) -> None:
    """As in a thread or task without the connection's context, where there is no scope to put it on."""
    traced.init()
    elsewhere = contextvars.Context()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.create_task(receive(), context=elsewhere)

    talk(app, [CONNECT, text("x")], websocket_message_spans=True)
    assert len(traced.requests) == 1


def test_the_public_scopes_have_messages_too(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_isolation, "_chosen", lambda: PublicScopes)
    traced.init()
    talk(echo, list(MESSAGES), websocket_message_spans=True)
    assert len(traced.requests) == 3
    traced.init(traces_sample_rate=0.0)
    talk(echo, list(MESSAGES), websocket_message_spans=True)
    assert len(traced.requests) == 3


def test_a_message_whose_span_cannot_be_started_is_passed_on(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    traced.init()
    seen: list[Message] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        exchange = exchange_here()
        monkeypatch.setattr(type(exchange.messages.way), "message", None)
        seen.append(await receive())

    talk(app, [CONNECT, text("x")], websocket_message_spans=True)
    assert seen == [text("x")]
    assert "starting a span failed" in caplog.text


# What an open connection holds


async def opened(app_touches: Callable[[], object] | None = None) -> tuple[Any, Any, Any]:
    """A websocket that was accepted and waits: its task, its exchange, its context."""
    held: dict[str, Any] = {}
    accepted = asyncio.Event()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if app_touches is not None:
            app_touches()
        await send({"type": "websocket.accept"})
        held["exchange"], held["context"] = exchange_here(), contextvars.copy_context()
        accepted.set()
        await asyncio.Event().wait()

    async def nothing(*_: Any) -> Any: ...

    task = asyncio.create_task(SentryMiddleware(app)(websocket_scope("/ws"), nothing, nothing))
    await accepted.wait()
    return task, held["exchange"], held["context"]


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_an_open_websocket_holds_neither_span_nor_filled_scopes(
    traced: Traced, rate: float
) -> None:
    traced.init(traces_sample_rate=rate)

    async def main() -> None:
        (await opened())[
            0
        ].cancel()  # the first of a client has it start threads, which copy the scopes
        task, exchange, context = await opened()
        scopes = context.run(
            lambda: (sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_scope())
        )
        assert exchange.trace is None
        assert not hasattr(exchange, "_headers")
        assert [set_slots(scope)[1] for scope in scopes] == [False, False]
        task.cancel()

    asyncio.run(main())
    assert len(traced.requests) == 2 * int(rate)


def touch_tag() -> None:
    sentry_sdk.set_tag("set", "before")


def touch_user() -> None:
    sentry_sdk.set_user({"id": "7"})


def touch_current() -> None:
    sentry_sdk.get_current_scope().set_user({"id": "7"})


def touch_breadcrumb() -> None:
    sentry_sdk.add_breadcrumb(message="set before")


def touch_extra() -> None:
    sentry_sdk.get_current_scope().set_extra("set", "before")


@pytest.mark.parametrize(
    "touch", [touch_tag, touch_user, touch_current, touch_breadcrumb, touch_extra]
)
def test_what_the_app_has_set_before_the_handshake_is_there_after_it(
    traced: Traced, touch: Callable[[], None]
) -> None:
    traced.init()

    async def main() -> None:
        task, _, context = await opened(touch)
        context.run(lambda: sentry_sdk.capture_message("later"))
        task.cancel()

    asyncio.run(main())
    event = traced.sentry.event
    crumbs = [crumb.get("message") for crumb in event["breadcrumbs"]["values"]]
    assert (
        event.get("tags") == {"set": "before"}
        or (event.get("user") or {}).get("id") == "7"
        or "set before" in crumbs
        or event.get("extra", {}).get("set") == "before"
    )
    assert event["contexts"]["trace"]["trace_id"] == traced.request["trace"]


@pytest.mark.skipif(SDK_VERSION < (2, 75), reason="how much that is depends on the SDK")
def test_an_open_websocket_takes_little_more_when_traced(traced: Traced) -> None:
    import tracemalloc

    traced.init()

    async def main() -> float:
        first = [await opened() for _ in range(20)]
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        tasks = [await opened() for _ in range(100)]
        sentry_sdk.flush()
        traced.sentry.transport.envelopes.clear()
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        for task, *_ in tasks + first:
            task.cancel()
        return taken / 100

    def least() -> float:
        """What other threads of the process take meanwhile is counted, too, but not each time."""
        return min(asyncio.run(main()) for _ in range(3))

    # Filled scopes are five kilobytes; threads, and what measures coverage, make it vary by one or two.
    traced_bytes = least()
    traced.init(traces_sample_rate=None)
    assert traced_bytes - least() < 3072


# How it ended


def ended(app: Any, incoming: list[Message], sentry: Sentry) -> tuple[Any, Any]:
    """The websocket context of the event of a failing connection, and its last breadcrumb."""
    try:
        talk(app, incoming)
    except ValueError:
        pass
    crumbs = sentry.event["breadcrumbs"]["values"]
    return sentry.event["contexts"].get("websocket"), crumbs[-1] if crumbs else None


def test_a_websocket_that_failed_tells_how_it_ended(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.send", "bytes": b"12345"})
        await receive()
        await asyncio.sleep(0.01)
        raise ValueError("nope")

    context, crumb = ended(app, [CONNECT, text("one"), gone(1006)], sentry)
    assert 0 <= context.pop("seconds") < 5
    assert context == {
        "messages_received": 1,
        "bytes_received": 3,
        "messages_sent": 1,
        "bytes_sent": 5,
        "close_code": 1006,
        "closed_by": "client",
    }
    assert crumb["category"] == "websocket"
    assert crumb["message"] == "closed by the client"
    assert crumb["data"]["close_code"] == 1006


def test_a_websocket_that_the_app_closed_for_a_failure_tells_so(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            raise ValueError("nope")
        except ValueError:
            await send({"type": "websocket.close", "code": 1011, "reason": "sorry"})

    context, crumb = ended(app, [CONNECT], sentry)
    assert (context["close_code"], context["close_reason"], context["closed_by"]) == (
        1011,
        "sorry",
        "app",
    )
    assert crumb["message"] == "closed by the app"


def test_a_websocket_that_nobody_closed_tells_so(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        raise ValueError("nope")

    context, crumb = ended(app, [], sentry)
    assert "close_code" not in context
    assert crumb["message"] == "ended without a close"


def test_an_event_in_between_tells_what_has_passed_so_far(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        sentry_sdk.capture_message("in between")

    context, crumb = ended(app, [CONNECT, text("one")], sentry)
    assert context["messages_received"] == 1
    assert crumb is None


def test_a_refused_websocket_has_no_summary(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close"})
        raise ValueError("nope")

    assert ended(app, [], sentry) == (None, None)


def test_breadcrumbs_of_an_unusual_kind_are_left_alone(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        def processor(event: Any, hint: Any) -> Any:
            event["breadcrumbs"] = sdk_events.annotated({"values": []}, {"len": 7})
            return event

        isolation: Any = sentry_sdk.get_isolation_scope()
        isolation._event_processors.insert(0, processor)
        await send({"type": "websocket.accept"})
        raise ValueError("nope")

    with pytest.raises(ValueError, match="nope"):
        talk(app, [])
    assert sentry.event["breadcrumbs"]["values"] == []


@pytest.mark.parametrize("rate", [1.0, 0.0])
@pytest.mark.parametrize("tasks", [1, 4])
def test_of_several_tasks_that_await_messages_each_messages_span_is_counted(
    traced: Traced, tasks: int, rate: float
) -> None:
    async def main() -> None:
        messages: asyncio.Queue[Message] = asyncio.Queue()

        async def work(receive: Any) -> None:
            while (await receive())["type"] == "websocket.receive":
                await asyncio.sleep(0)

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            async with asyncio.TaskGroup() as group:
                for _ in range(tasks):
                    group.create_task(work(receive))

        async def send(_: Message) -> None:
            pass

        async def feed() -> None:
            messages.put_nowait(CONNECT)
            for _ in range(20 // tasks):
                await asyncio.sleep(0.01)  # until all tasks wait again
                for number in range(tasks):
                    messages.put_nowait(text(str(number)))
            await asyncio.sleep(0.01)
            for _ in range(tasks):
                messages.put_nowait(gone())

        wrapped = SentryMiddleware(app, websocket_message_spans=True)
        scope = websocket_scope("/ws")
        await asyncio.gather(feed(), wrapped(scope, messages.get, send))

    traced.init(traces_sample_rate=rate)
    counted = lost(traced)
    asyncio.run(main())
    assert len(traced.requests) == (21 if rate else 0)
    assert rate or len(counted) >= 21
