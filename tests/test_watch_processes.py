"""Watching, as processes see it: killed, stopped, forked, busy, without asyncio; and what it must leave as it was."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import weakref
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
import trio

from sentry_asgi import SentryMiddleware, Watch
from sentry_asgi._watch import watches
from sentry_asgi._watch.garbage import garbage

from .receiver import Receiver
from .support import Scope, Sentry, call, http_scope, respond
from .test_watch_blocks import LONG, app_of, end_watches, serve, sleeps, waits, watching

ROOT = Path(__file__).parents[1]

SERVED = """
import os, time
import sentry_sdk
from sentry_asgi import SentryMiddleware

sentry_sdk.init(dsn=os.environ["SENTRY_DSN"])

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await receive()
    if scope["path"] == "/for-ever":
        while True:
            time.sleep(1000)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

app = SentryMiddleware(app)
"""


def environment(receiver: Receiver, folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(folder), str(ROOT / "src"), str(ROOT)])
    # A worker that is killed measures nothing, and has five seconds to start.
    own = {name: one for name, one in os.environ.items() if not name.startswith("COVERAGE")}
    return {**own, "SENTRY_DSN": receiver.dsn, "PYTHONPATH": path}


def test_a_worker_that_gunicorn_kills_has_told(receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(SERVED)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = listening.fileno()
        command = [sys.executable, "-m", "gunicorn", "served:app", "--bind", f"fd://{fd}"]
        options = ["--worker-class", "uvicorn_worker.UvicornWorker", "--timeout", "5"]
        server = subprocess.Popen(
            [*command, *options, "--log-level", "critical", "--no-control-socket"],
            env=environment(receiver, tmp_path),
            pass_fds=[fd],
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/for-ever"
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url, timeout=30)
            assert receiver.wait_until(lambda one: bool(one.events), 20)
        finally:
            server.terminate()
            server.wait(20)
    (event,) = receiver.events
    assert event["request"]["url"] == url
    assert event["contexts"]["asgi"]["still_blocked"]
    assert event["fingerprint"] == ["EventLoopBlocked", "served", "app"]


STOPPED = """
import asyncio, os, sys, time
import sentry_sdk
from sentry_asgi import SentryMiddleware, Watch
from tests.support import Sentry, call, http_scope, respond

sentry = Sentry()
sentry.init()

async def app(scope, receive, send):
    print("serving", flush=True)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        await asyncio.sleep(0.01)
    await respond(send)

asyncio.run(call(SentryMiddleware(app, watch=Watch(0.2, None)), http_scope()))
print(len(sentry.events), flush=True)
"""


def test_a_process_that_was_stopped_was_not_blocked() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == "0\n"


FORKED = """
import asyncio, os, sys, time
import sentry_sdk
from sentry_asgi import SentryMiddleware, Watch
from tests.support import Sentry, call, http_scope, respond

sentry = Sentry()
sentry.init()

async def app(scope, receive, send):
    await asyncio.sleep(0.1)
    if scope["path"] == "/blocks":
        time.sleep(0.6)
    await respond(send)

async def serving(path):
    await call(wrapped, http_scope(path))
    await asyncio.sleep(0.3)

wrapped = SentryMiddleware(app, watch=Watch(0.1, None))
asyncio.run(serving("/"))
time.sleep(0.3)
child = os.fork()
asyncio.run(serving("/blocks"))
until = time.monotonic() + 20
while not sentry.events and time.monotonic() < until:
    time.sleep(0.05)  # the first event of a process takes its time
if child:
    _, status = os.waitpid(child, 0)
    os._exit(10 * len(sentry.events) + os.waitstatus_to_exitcode(status))
os._exit(len(sentry.events))
"""


def test_a_forked_process_watches_by_itself() -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKED]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 11


def test_on_trio_it_is_said_once_that_nothing_is_watched(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    watches._say_once.cache_clear()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        time.sleep(LONG)
        await respond(send)

    async def send(message: Any) -> None: ...

    wrapped = watching(app)
    with caplog.at_level(logging.DEBUG, "sentry_asgi"):
        for _ in range(2):
            wrapped._ask_again()
            trio.run(wrapped, http_scope(), trio.sleep_forever, send)
    (said,) = [one.message for one in caplog.records if "only asyncio's loops" in one.message]
    assert said.startswith("neither blocked event loops nor stuck requests are reported: ")
    assert sentry.events == []


def test_without_the_gil_nothing_is_watched(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    serve(watching(app_of(sleeps)))
    assert sentry.events == []


def test_where_threads_have_no_ids_nothing_is_watched(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in Pyodide, which starts none."""
    monkeypatch.delattr(threading, "get_native_id")
    serve(watching(app_of(sleeps)))
    assert sentry.events == []
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_without_threads_nothing_is_watched(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("sentry_asgi._watch.loop.LoopWatch.start", start)
    serve(watching(app_of(sleeps)))
    assert sentry.events == []
    assert garbage._note not in gc.callbacks  # others' may stay


def test_where_the_system_does_not_tell_who_waited_a_block_is_found_too(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("clocks", "loop"):
        monkeypatch.setattr(f"sentry_asgi._watch.{module}.turns", lambda _: None)
    serve(watching(app_of(sleeps)))
    assert len(sentry.events) == 1


def test_before_3_12_3_no_collection_runs_while_threads_are_looked_at(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentry_asgi._watch.samples._LOOKS_SAFELY", False)
    serve(watching(app_of(sleeps)))
    assert gc.isenabled()
    assert len(sentry.events) == 1


def test_what_fails_in_the_watch_is_logged_and_it_goes_on(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Any] = []
    take = __import__("sentry_asgi._watch.loop", fromlist=["take"]).take

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError
        return take(*arguments)

    monkeypatch.setattr("sentry_asgi._watch.loop.take", failing)
    serve(watching(app_of(sleeps)), http_scope("/first"), http_scope("/second"), after=1.5)
    assert [event["request"]["url"][-7:] for event in sentry.events] == ["/second"]


def test_a_failing_start_of_the_watch_is_not_the_requests(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(watches, "begin", begin)
    serve(watching(app_of(waits)))
    assert sentry.events == []


def test_neither_loop_nor_request_is_held(sentry: Sentry) -> None:
    class Held:
        pass

    kept: list[weakref.ref[Any]] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        held = scope["held"]
        time.sleep(LONG)
        kept.extend([weakref.ref(held), weakref.ref(asyncio.get_running_loop())])
        await respond(send)

    serve(watching(app), http_scope("/", held=Held()))
    assert len(sentry.events) == 1
    gc.collect()
    assert [one() for one in kept] == [None, None]


def test_the_threads_frames_are_not_held(sentry: Sentry) -> None:
    """What a function has in its variables goes when it returns, and in its own thread."""
    ended: list[str] = []

    class Told:
        def __del__(self) -> None:
            ended.append(threading.current_thread().name)

    def block() -> None:
        told = Told()
        time.sleep(LONG)
        del told

    async def blocks() -> None:
        for _ in range(3):
            block()
            ended.append("returned")

    serve(watching(app_of(blocks)))
    assert ended == ["MainThread", "returned"] * 3


def test_ten_thousand_open_websockets_are_looked_at_in_little_time(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await going.wait()

    wrapped = watching(app, watch=Watch(None, 60))
    going = asyncio.Event()

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None: ...

    async def serving() -> float:
        scopes = [http_scope(f"/{n}", type="websocket") for n in range(10_000)]
        tasks = [asyncio.create_task(wrapped(one, receive, send)) for one in scopes]
        await asyncio.sleep(1)
        (watch,) = watches.watched()
        began = time.thread_time()
        watch._look_at_requests(60)
        taken = time.thread_time() - began
        going.set()
        await asyncio.gather(*tasks)
        return taken

    assert asyncio.run(serving()) < 1
    end_watches()
    assert sentry.events == []


# The option


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"blocked_after": "1"}, TypeError, "blocked_after must be a number of seconds or None, got '1'"),
        ({"stuck_after": True}, TypeError, "stuck_after must be a number of seconds or None, got True"),
        ({"blocked_after": 0}, ValueError, "blocked_after must be at least 0.01 seconds and finite, or None, got 0"),
        ({"stuck_after": -1}, ValueError, "stuck_after must be at least 0.01 seconds and finite, or None, got -1"),
        ({"stuck_after": float("inf")}, ValueError, "got inf"),
        ({"blocked_after": float("nan")}, ValueError, "got nan"),
    ],
)  # fmt: skip
def test_a_limit_that_is_none_is_an_error_that_says_so(
    options: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as raised:
        Watch(**options)
    assert text in str(raised.value)


def test_the_option_must_be_a_watch() -> None:
    with pytest.raises(TypeError, match=r"watch must be a sentry_asgi.Watch or None, got True"):
        SentryMiddleware(waits, watch=True)  # type: ignore[arg-type]
    assert Watch() == Watch(blocked_after=1.0, stuck_after=60.0)


def test_by_default_it_is_on(sentry: Sentry) -> None:
    async def serving() -> None:
        await call(SentryMiddleware(app_of(waits)), http_scope())
        (watch,) = watches.watched()
        assert watch.watch == Watch()

    asyncio.run(serving())
    end_watches()
    sentry_sdk.flush()
