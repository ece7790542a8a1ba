"""What waits to be sent is sent before the process goes, and the event loop stays free meanwhile.

The rules:

- The SDK's `flush` blocks its caller. It runs in a thread of its own: one of the loop's pool may never be free, and a
  pool is waited for when the loop is closed. The thread is a daemon: it keeps no process from ending.
- Whatever the flush does, the wait ends after the time given and `GRACE`.
- A SIGTERM that nobody handles waits until the flush is over: Hypercorn sends one to its other workers as soon as one
  of them is done.
- asyncio and Trio. In a coroutine that neither runs, it is waited for on the spot.
- A transport that sends on the event loop is flushed on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any, Final

from sentry_sdk import get_client

from sentry_asgi._python.in_trio import trio_task

from . import clients
from .diagnostics import log_failure

GRACE: Final = 0.5
"""Seconds that a flush may take beyond its time: to serialise sessions and logs, to tell what was dropped."""


async def flush() -> None:
    """Sends what waits, sessions included; for at most the seconds of the SDK's option `shutdown_timeout`.

    With 0 nothing is waited for. Never raises an Exception.
    """
    try:
        client = get_client()
        if not client.is_active():
            return
        timeout = float(client.options["shutdown_timeout"])
        if timeout <= 0:
            return
        with _sigterm_waits():
            if clients.sends_on_the_loop(client):
                await asyncio.wait_for(client.flush_async(timeout=timeout), timeout + GRACE)
            else:
                await _in_thread(lambda: client.flush(timeout=timeout), timeout + GRACE)
    except Exception:
        log_failure("flushing")


@contextlib.contextmanager
def _sigterm_waits() -> Iterator[None]:
    """While it lasts, a SIGTERM that would kill the process is put off."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no other may handle signals
        return
    came: list[int] = []

    def note(number: int, _frame: Any) -> None:
        came.append(number)

    killing = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if killing:
        signal.signal(signal.SIGTERM, note)
    try:
        yield
    finally:
        if killing and signal.getsignal(signal.SIGTERM) is note:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if came:
                signal.raise_signal(signal.SIGTERM)


async def _in_thread(work: Callable[[], Any], seconds: float) -> None:
    """Runs it in a thread of its own; returns when it is done or the time is over."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        await _joined(_started(work), seconds)
        return
    done: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(done.cancel)

    _started(work, tell)
    await asyncio.wait([done], timeout=seconds)


def _started(work: Callable[[], Any], tell: Callable[[], Any] = bool) -> Thread:
    def target() -> None:
        for step in (work, tell):
            try:
                step()
            except Exception:
                log_failure("flushing")

    thread = Thread(target=target, name="sentry-asgi.flush", daemon=True)
    thread.start()
    return thread


async def _joined(thread: Thread, seconds: float) -> None:
    if trio_task() is not None:
        trio: Any = sys.modules["trio"]
        await trio.to_thread.run_sync(thread.join, seconds, abandon_on_cancel=True)
    else:
        thread.join(seconds)
