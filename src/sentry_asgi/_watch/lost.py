"""Tasks that nobody waits for: whose request they are of, when asyncio logs what became of them.

An exception that was never retrieved, a task that was destroyed while it was pending, a callback that failed: asyncio
tells its exception handler of each, wherever the garbage collector happens to run, which may be in another request. The
handler's logger makes the event. So that event is made in the context of the task instead.

The rules:

- No task factory, and no patched loop: what the handler was told is read from its caller's frame. uvloop's has none;
  there the exception of late work is known by its mark (`_failures.echoes`), and the rest is of whatever request it is
  logged in.
- A message without an exception is grouped by what the task runs: its text names the task, and each is another.
"""

from __future__ import annotations

import asyncio
import sys
from contextvars import Context
from typing import Any, Final, NamedTuple

import sentry_sdk

from sentry_asgi._python.tasks import context_of
from sentry_asgi._scopes.here import connection_here, connection_of
from sentry_asgi._sdk.clients import logged_events_handler

_TELLS: Final = asyncio.BaseEventLoop.call_exception_handler.__code__
_DEEP: Final = 30
"""Frames between the handler's caller and the one that asks: those of `logging`, and of an application's handler."""


class Lost(NamedTuple):
    """What was lost, and the context that it ran in."""

    message: str
    what: str
    context: Context


def is_made_elsewhere(record: Any) -> bool:
    """Whether a log record tells of what another request has lost; its event has then been made there."""
    lost = _lost_here()
    if lost is None:
        return False
    owner = connection_of(lost.context)
    if owner is None or owner is connection_here():
        return False
    handler = logged_events_handler(sentry_sdk.get_client())
    if handler is None:
        return False
    lost.context.copy().run(_make, handler, record, lost)
    return True


def _make(handler: Any, record: Any, lost: Lost) -> None:
    with sentry_sdk.new_scope() as scope:
        if not record.exc_info:
            scope.fingerprint = [lost.message, lost.what]
        handler.emit(record)


def _lost_here() -> Lost | None:
    """What an event loop tells its exception handler of, if this runs in there."""
    frame = sys._getframe(1)  # noqa: SLF001  # documented
    for _ in range(_DEEP):
        if frame.f_code is _TELLS:
            return _lost(frame.f_locals.get("context"))
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None


def _lost(told: Any) -> Lost | None:
    if not isinstance(told, dict):
        return None
    one = told.get("task") or told.get("future") or told.get("handle")
    context = getattr(one, "_context", None) if isinstance(one, asyncio.Handle) else None
    if isinstance(one, asyncio.Task):
        context = context_of(one)
    if not isinstance(context, Context):
        return None
    work = one.get_coro() if isinstance(one, asyncio.Task) else None
    what = getattr(work, "__qualname__", type(one).__name__)
    return Lost(str(told.get("message")), str(what), context)
