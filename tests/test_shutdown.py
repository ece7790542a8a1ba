"""What waits to be sent is sent before the server learns that it may end the process."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._reporting import lifespan as _lifespan
from sentry_asgi._sdk import flush as _flush

from .receiver import Receiver
from .support import SDK_VERSION, CapturingTransport, Message, Scope, Sentry, call, respond
from .test_transparency import drive

LIFESPAN: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}


class Recording(CapturingTransport):
    """Notes when it is flushed, and may be made to take its time, or to fail."""

    def __init__(self, seen: list[Any], work: Any = None) -> None:
        super().__init__()
        self.seen = seen
        self.work = work

    def flush(self, timeout: float, callback: Any = None) -> None:
        if timeout == 0:  # the fixture closes its client
            return
        self.seen.append(("flush", timeout))
        if self.work is not None:
            self.work()


async def app(scope: Scope, receive: Any, send: Any) -> None:
    """Supports lifespan, and fails at everything else."""
    if scope["type"] != "lifespan":
        await respond(send, status=500)
        raise ValueError("nope")
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def lifespan(app: Any, hear: Callable[[str], object]) -> None:
    """What a server does around its life; it hears what the app says."""
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        hear(message["type"])

    await app(dict(LIFESPAN), receive, send)


STARTED, STOPPED = "lifespan.startup.complete", "lifespan.shutdown.complete"


@pytest.mark.usefixtures("unhandled")
def test_it_is_flushed_between_the_apps_last_word_and_the_servers_hearing_it(
    sentry: Sentry,
) -> None:
    seen: list[Any] = []
    sentry.init(transport=Recording(seen), shutdown_timeout=1.5)
    asyncio.run(lifespan(SentryMiddleware(app), seen.append))
    assert seen == [STARTED, ("flush", 1.5), STOPPED]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.fixture
def unhandled() -> Iterator[None]:
    """Nobody handles SIGTERM, not even who measures the tests' coverage."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("unhandled")
def test_a_sigterm_that_nobody_handles_waits_for_the_flush(sentry: Sentry) -> None:
    seen: list[Any] = []

    def told(message: str) -> None:
        if (
            message == STARTED
        ):  # what is sent again after the flush is to be found here, and not to kill
            asyncio.get_running_loop().call_later(0.2, signal.pthread_sigmask, *BLOCKED)

    def flush() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.4)
        seen.append("flushed")

    sentry.init(transport=Recording(seen, flush))
    try:
        asyncio.run(lifespan(SentryMiddleware(app), told))
        assert seen[-1] == "flushed"
        assert signal.sigpending() == {signal.SIGTERM}
        assert signal.sigwait([signal.SIGTERM]) == signal.SIGTERM
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


BLOCKED = signal.SIG_BLOCK, [signal.SIGTERM]


def test_in_another_thread_a_sigterm_is_left_alone(sentry: Sentry) -> None:
    seen: list[Any] = []
    sentry.init(transport=Recording(seen))
    client, handler = sentry_sdk.get_client(), signal.getsignal(signal.SIGTERM)

    def serve() -> None:
        sentry_sdk.get_current_scope().set_client(client)
        asyncio.run(lifespan(SentryMiddleware(app), seen.append))

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    assert seen[1][0] == "flush"
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_sigterm_that_somebody_handles_is_theirs(sentry: Sentry) -> None:
    heard: list[Any] = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("SIGTERM"))
    try:
        handler = signal.getsignal(signal.SIGTERM)
        sentry.init(transport=Recording(heard, lambda: signal.raise_signal(signal.SIGTERM)))
        asyncio.run(lifespan(SentryMiddleware(app), heard.append))
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard.index("SIGTERM") < heard.index(STOPPED)


@pytest.mark.usefixtures("unhandled")
def test_who_handles_sigterm_by_the_end_of_the_flush_goes_on_doing_so(sentry: Sentry) -> None:
    heard: list[Any] = []

    def hear(*_: Any) -> None:
        heard.append("SIGTERM")

    def told(message: str) -> None:
        if message == STARTED:
            asyncio.get_running_loop().call_later(0.05, signal.signal, signal.SIGTERM, hear)

    sentry.init(transport=Recording([], lambda: time.sleep(0.2)))
    asyncio.run(lifespan(SentryMiddleware(app), told))
    assert signal.getsignal(signal.SIGTERM) is hear


@pytest.mark.parametrize("without", ["time", "client"])
def test_without_time_or_without_a_client_nothing_is_waited_for(
    sentry: Sentry, without: str
) -> None:
    seen: list[Any] = []
    sentry.init(transport=Recording(seen), shutdown_timeout=0 if without == "time" else 2)
    if without == "client":
        sentry_sdk.get_global_scope().set_client(None)
    asyncio.run(lifespan(SentryMiddleware(app), seen.append))
    assert seen == [STARTED, STOPPED]


def test_events_and_sessions_have_arrived_when_the_server_hears_of_the_end(
    sentry: Sentry, receiver: Receiver
) -> None:
    sentry.init(dsn=receiver.dsn, transport=None, release="app@1", auto_session_tracking=True)
    wrapped = SentryMiddleware(app)
    arrived: list[int] = []

    async def main() -> None:
        for _ in range(20):
            with pytest.raises(ValueError, match="nope"):
                await call(wrapped, {"type": "http", "method": "GET", "path": "/", "headers": []})
        await lifespan(wrapped, hear)

    def hear(kind: str) -> None:
        arrived.append(len(receiver.events) + len(receiver.items("sessions")))

    asyncio.run(main())
    assert arrived[-1] == 21
    assert receiver.items("sessions")[0]["aggregates"][0]["crashed"] == 20


def test_the_loop_stays_free_while_it_is_flushed(sentry: Sentry, receiver: Receiver) -> None:
    receiver.answer = receiver.slow(0.5)
    sentry.init(dsn=receiver.dsn, transport=None)
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.01)
            gaps.append(time.perf_counter() - began)

    async def main() -> None:
        sentry_sdk.capture_message("the last")
        ticking = asyncio.create_task(tick())
        await lifespan(SentryMiddleware(app), print)
        ticking.cancel()

    asyncio.run(main())
    assert [event["message"] for event in receiver.events] == ["the last"]
    assert len(gaps) > 10
    assert max(gaps) < 0.3


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_sentry_that_does_not_answer_is_waited_for_no_longer_than_that(
    sentry: Sentry, receiver: Receiver, stubborn: bool
) -> None:
    """Not even if the transport does not keep to the time that it is given."""
    receiver.answer = receiver.slow(10)
    over = threading.Event()
    slow = Recording([], lambda: over.wait(10))
    sentry.init(dsn=receiver.dsn, transport=slow if stubborn else None, shutdown_timeout=0.2)
    sentry_sdk.capture_message("the last")
    seen: list[Any] = []
    began = time.perf_counter()
    asyncio.run(lifespan(SentryMiddleware(app), seen.append))
    assert 0.2 <= time.perf_counter() - began < 0.2 + _flush.GRACE + 0.5
    assert seen == [STARTED, STOPPED]
    over.set()  # the loop is closed; that nobody waits any more is no error
    for thread in threading.enumerate():
        if thread.name == "sentry-asgi.flush":
            assert thread.daemon
            thread.join(5)


def test_a_flush_that_fails_is_logged_and_no_more(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    seen: list[Any] = []
    sentry.init(transport=Recording([], fail))
    asyncio.run(lifespan(SentryMiddleware(app), seen.append))
    assert seen == [STARTED, STOPPED]
    assert "flushing failed" in caplog.text


def test_a_client_that_cannot_be_asked_is_logged_and_no_more(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    client = sentry.init()
    client.options["shutdown_timeout"] = "two seconds"
    asyncio.run(lifespan(SentryMiddleware(app), seen.append))
    client.options["shutdown_timeout"] = 0
    assert seen == [STARTED, STOPPED]
    assert "flushing failed" in caplog.text


@pytest.mark.parametrize("which", ["startup", "shutdown"])
@pytest.mark.parametrize("way", ["sent", "raised", "sent and raised"])
def test_a_failure_is_reported_and_flushed_once_before_the_server_learns_of_it(
    sentry: Sentry, which: str, way: str
) -> None:
    seen: list[Any] = []

    async def failing(scope: Scope, receive: Any, send: Any) -> None:
        while (await receive())["type"] != f"lifespan.{which}":
            await send({"type": STARTED})
        if "sent" in way:
            await send({"type": f"lifespan.{which}.failed"})
        if "raised" in way:
            raise ValueError("nope")

    def flushed() -> None:
        seen[-1] = f"flush of {len(transport.items('event'))}"

    transport = Recording(seen, flushed)
    sentry.init(transport=transport)
    try:
        asyncio.run(lifespan(SentryMiddleware(failing), seen.append))
    except ValueError:
        seen.append("raised")
    started = [STARTED] if which == "shutdown" else []
    expected = {
        "sent": ["flush of 1", f"lifespan.{which}.failed"],
        "raised": ["flush of 1", "raised"],
        "sent and raised": ["flush of 1", f"lifespan.{which}.failed", "raised"],
    }
    assert seen == started + expected[way]


def test_an_app_that_returns_without_a_word_is_flushed_too(sentry: Sentry) -> None:
    seen: list[Any] = []

    async def silent(scope: Scope, receive: Any, send: Any) -> None:
        await receive()

    sentry.init(transport=Recording(seen))
    asyncio.run(lifespan(SentryMiddleware(silent), seen.append))
    assert seen == [("flush", 2)]


def test_an_app_without_lifespan_is_not_flushed(sentry: Sentry) -> None:
    seen: list[Any] = []

    async def unsupporting(scope: Scope, receive: Any, send: Any) -> None:
        raise AssertionError("no lifespan")

    sentry.init(transport=Recording(seen))
    with pytest.raises(AssertionError):
        asyncio.run(lifespan(SentryMiddleware(unsupporting), seen.append))
    assert seen == []


def test_who_is_cancelled_while_flushing_is_cancelled(sentry: Sentry) -> None:
    over = threading.Event()
    sentry.init(transport=Recording([], lambda: over.wait(5)))

    async def main() -> None:
        serving = asyncio.create_task(lifespan(SentryMiddleware(app), print))
        await asyncio.sleep(0.05)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        over.set()

    asyncio.run(main())


def test_a_lifespan_that_is_given_up_waits_for_nothing(sentry: Sentry) -> None:
    """A coroutine that is closed must not wait any more."""
    seen: list[Any] = []
    sentry.init(transport=Recording(seen))

    class Pause:
        def __await__(self) -> Any:
            yield

    async def receive() -> None:
        await Pause()

    async def send(message: Message) -> None:
        seen.append(message)

    serving: Any = SentryMiddleware(app)(dict(LIFESPAN), receive, send)
    serving.send(None)
    serving.close()
    assert seen == []


def test_on_trio_the_loop_stays_free(sentry: Sentry) -> None:
    import trio

    seen: list[Any] = []
    sentry.init(transport=Recording(seen, lambda: time.sleep(0.3)))
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await trio.sleep(0.01)
            ticks.append(0)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            await lifespan(SentryMiddleware(app), seen.append)
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert seen == [STARTED, ("flush", 2), STOPPED]
    assert len(ticks) > 5


def test_where_no_loop_is_known_it_is_waited_for_on_the_spot(sentry: Sentry) -> None:
    seen: list[Any] = []
    sentry.init(transport=Recording(seen))
    drive(lifespan(SentryMiddleware(app), seen.append))
    assert seen == [STARTED, ("flush", 2), STOPPED]


@pytest.mark.skipif(SDK_VERSION < (2, 60), reason="its transport always sends from a thread")
def test_a_transport_that_sends_on_the_loop_is_flushed_there(
    sentry: Sentry, receiver: Receiver
) -> None:
    from sentry_sdk.integrations.asyncio import AsyncioIntegration

    heard: list[Any] = []

    async def main() -> None:
        client = sentry.init(
            dsn=receiver.dsn,
            transport=None,
            integrations=[AsyncioIntegration()],
            _experiments={"transport_async": True},
        )
        assert type(client.transport).__name__ == "AsyncHttpTransport"
        sentry_sdk.capture_message("the last")
        await lifespan(SentryMiddleware(app), lambda _: heard.append(len(receiver.events)))
        await client.close_async()

    asyncio.run(main())
    assert heard[-1] == 1


def test_on_lambda_each_invocation_ends_with_everything_sent(
    sentry: Sentry, receiver: Receiver
) -> None:
    """Mangum gives each invocation a lifespan of its own, and the function is frozen right after it."""
    import mangum

    sentry.init(dsn=receiver.dsn, transport=None)

    async def invoked(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
        else:
            sentry_sdk.capture_message("invoked")
            await respond(send)

    event = {
        "version": "2.0",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {"host": "example.org"},
        "requestContext": {
            "http": {"method": "GET", "path": "/", "sourceIp": "203.0.113.7"},
            "domainName": "example.org",
        },
        "isBase64Encoded": False,
    }
    context: Any = {}
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        handler = mangum.Mangum(SentryMiddleware(invoked))
        for invocation in (1, 2, 3):
            assert handler(event, context)["statusCode"] == 200
            assert len(receiver.events) == invocation
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class Forever:
    """Is never done."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@pytest.mark.parametrize("closing", ["raises", "sends", "returns", "raises from within"])
def test_a_lifespan_that_is_closed_awaits_nothing(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, closing: str
) -> None:
    flushed: list[Any] = []

    async def flush(seconds: Any) -> None:
        flushed.append(seconds)
        await asyncio.sleep(0)

    async def wait() -> None:
        try:
            await Forever()
        finally:
            if closing == "raises from within":
                raise ValueError("cannot stop")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            await wait()
        finally:
            if closing == "raises":
                raise ValueError("cannot stop")
            if closing == "sends":
                await send({"type": "lifespan.shutdown.failed", "message": "cannot stop"})

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        pass

    monkeypatch.setattr(_lifespan, "flush", flush)
    serving = SentryMiddleware(app)({"type": "lifespan"}, receive, send)
    serving.send(None)
    raises = pytest.raises(ValueError, match="cannot stop")
    with raises if "raises" in closing else nullcontext():
        serving.close()
    assert flushed == []
    assert len(sentry.events) == (closing != "returns")
