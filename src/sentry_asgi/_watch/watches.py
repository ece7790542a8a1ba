"""The watches of a process: for each loop that serves one, begun by the first middleware that serves on it.

The limits are those of the first; a request of another middleware that watches nothing makes no event. A forked child
begins anew: no thread of its parent's is in it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

from sentry_sdk.scope import Scope

from sentry_asgi._connection.exchange import Exchange
from sentry_asgi._connection.settings import Settings
from sentry_asgi._failures.budget import Budget
from sentry_asgi._python.locks import Lock
from sentry_asgi._stacktrace.source import Step

from . import reports
from .garbage import garbage
from .loop import LoopWatch
from .options import Watch
from .samples import DEEPEST

HOUR: Final = 3600.0
"""Seconds in which one event of a site is sent."""

logger: Final = logging.getLogger("sentry_asgi")

_NO_THREADS: Final = "no thread can be started here"

_watches: Final[dict[int, LoopWatch]] = {}
_lock: Final = Lock()


def begin(
    settings: Settings, ask_again: Callable[[], None], home: Callable[[], Scope | None]
) -> None:
    """There is a request, or a lifespan, on the loop that runs here.

    `ask_again`, a method of the middleware that serves it, has that call this again for its next request; `home` gives
    the process's scope.
    """
    watch: Watch = settings.watch
    if watch.blocked_after is None and watch.stuck_after is None:
        return
    loop = _loop()
    if loop is None:
        return
    found = _watches.get(id(loop))
    if found is None or found.is_over or found.loop() is not loop:
        budget = None if settings.budget is None else Budget(1, HOUR)
        found = _started(LoopWatch(loop, watch, budget, home, _ended))
        if found is None:
            return
    found.users.setdefault(id(settings), weakref.WeakMethod(ask_again))
    found.stir()


def end(settings: Settings) -> None:
    """A middleware serves no longer; with the last one's of a loop its watch ends."""
    with _lock:
        for watch in list(_watches.values()):
            if watch.users.pop(id(settings), None) is not None and not watch.users:
                watch.end()


def cancelled(exchange: Exchange, limit: float, traceback: Any) -> None:
    """A request that has sent nothing for long was cancelled, there where the traceback ends."""
    watch = _watches.get(id(asyncio.get_running_loop()))
    if watch is None or watch.has_told(exchange):
        return
    links: list[Step] = []
    while traceback is not None and len(links) < DEEPEST:
        frame = traceback.tb_frame
        links.append(Step(frame.f_code, frame.f_globals, traceback.tb_lineno))
        traceback = traceback.tb_next
    reports.stuck(watch, exchange, links, limit, cancelled=True)


def watched() -> list[LoopWatch]:
    """Those that run."""
    return list(_watches.values())


def _loop() -> Any:
    """The loop that runs here and can be watched; None if none can."""
    if not getattr(sys, "_is_gil_enabled", _always)():
        _say_once("without the GIL, the stack of a running thread cannot be read")
        return None
    if not hasattr(threading, "get_native_id"):  # as in Pyodide
        _say_once(_NO_THREADS)
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        _say_once("only asyncio's loops, and those that are compatible, are watched")
        return None


def _started(watch: LoopWatch) -> LoopWatch | None:
    _renew_in_children()
    with _lock:
        _watches[id(watch.loop())] = watch
        garbage.begin()
    try:
        watch.start()
    except RuntimeError:
        _say_once(_NO_THREADS)
        _ended(watch)
        return None
    return watch


def _ended(watch: LoopWatch) -> None:
    with _lock:
        for key, one in list(_watches.items()):
            if one is watch:
                del _watches[key]
        if not _watches:
            garbage.end()


@functools.cache
def _say_once(why: str) -> None:
    logger.debug("neither blocked event loops nor stuck requests are reported: %s", why)


@functools.cache
def _renew_in_children() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)


def _in_child() -> None:
    for watch in list(_watches.values()):
        watch.ask_again()
    _watches.clear()


def _always() -> bool:
    return True
