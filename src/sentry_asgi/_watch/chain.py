"""Where a task waits: the frames of all that awaits, from its first coroutine to what it waits for in the end.

The rules:

- A coroutine tells what it awaits (`cr_await`), and so do generators of both kinds. What tells nothing (the iterator of
  a future, what an async generator is asked by) is asked through the garbage collector, which knows what it refers to.
- A future is followed to the task behind it, to the first that it gathers, or into the thread that is to resolve it.
- Called in the loop's own thread, where no coroutine runs meanwhile. A worker thread's frames do run: of these only
  code and lines are kept.
- Bounded in depth and time; a chain that is cut is still right as far as it goes.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, Final, TypeAlias

from sentry_asgi._stacktrace.source import Step

from .clocks import now
from .samples import DEEPEST, frame_of, from_middleware

DEEP: Final = 300
SECONDS: Final = 0.02
REFERENTS: Final = 20
"""What an object refers to that is looked at."""

Link: TypeAlias = FrameType | Step

_TELL: Final = (("cr_frame", "cr_await"), ("ag_frame", "ag_await"), ("gi_frame", "gi_yieldfrom"))

# In which frames, by the function's name, what is waited for stands, and under which names.
_WAITERS: Final = {
    "_wait": ("fs",),
    "wait_for": ("fut",),
    "__aexit__": ("self", "_tasks"),
    "call_next": ("task_group", "_tasks"),  # Starlette's: the app runs in a task of its own
}
RECENT: Final = 6
"""Frames, from the future outwards, in which that may be."""


def chain(task: Any) -> list[Link]:
    """The frames, the innermost last, from this package's middleware on if it is among them."""
    return from_middleware(list(_links(task, now() + SECONDS)))


def _links(awaited: Any, until: float) -> Iterator[Link]:
    seen = set[int]()
    recent: list[FrameType] = []
    while awaited is not None and len(seen) < DEEP and id(awaited) not in seen and now() < until:
        seen.add(id(awaited))
        if asyncio.isfuture(awaited):
            following = _behind(awaited, recent)
            if following is None:
                yield from _in_thread(awaited)
            awaited = following
            continue
        frame, following = _look(awaited)
        if frame is not None:
            recent = [*recent, frame][-RECENT:]
            yield frame
        awaited = following if following is not None else _referred(awaited, frame)


def _look(awaited: Any) -> tuple[FrameType | None, Any]:
    """The frame of what awaits, and what it awaits."""
    for frame, following in _TELL:
        if hasattr(awaited, frame):
            return getattr(awaited, frame), getattr(awaited, following, None)
    return None, None


def _referred(awaited: Any, frame: FrameType | None) -> Any:
    """What something refers to that is no coroutine and has no name for it."""
    if frame is not None:
        return None
    for one in gc.get_referents(awaited)[:REFERENTS]:
        if asyncio.isfuture(one) or any(hasattr(one, name) for name, _ in _TELL):
            return one
    return None


def _behind(future: Any, frames: list[FrameType]) -> Any:
    """The coroutine of a task; of any other future, the first of the tasks that it stands for."""
    if isinstance(future, asyncio.Task):
        return future.get_coro()
    for one in _gathered(future, frames):
        if asyncio.isfuture(one) and one is not future and not one.done():
            return one
    return None


def _gathered(future: Any, frames: list[FrameType]) -> Iterator[Any]:
    yield from getattr(future, "_children", None) or ()
    for frame in reversed(frames):
        names = _WAITERS.get(frame.f_code.co_name)
        if names is not None:
            held = frame.f_locals.get(names[0])
            for name in names[1:]:
                held = getattr(held, name, None)
            yield from sorted(_each(held), key=id)
    yield from _closed_over(future)


def _each(held: Any) -> Iterable[Any]:
    return list(held) if isinstance(held, (set, frozenset, list, tuple)) else [held]


def _closed_over(future: Any) -> Iterator[Any]:
    """What the callbacks of a future hold: of a shielded one that is the task, of a thread's the thread's future."""
    for callback, _ in getattr(future, "_callbacks", None) or ():
        for cell in getattr(callback, "__closure__", None) or ():
            try:
                yield cell.cell_contents
            except ValueError:  # it is empty
                continue


def _in_thread(future: Any) -> list[Step]:
    """What the worker thread does that is to resolve a future; nothing if there is none."""
    sources = [one for one in _closed_over(future) if isinstance(one, concurrent.futures.Future)]
    for thread in threading.enumerate():
        steps: list[Step] = []
        frame = frame_of(thread.ident or 0)
        while frame is not None and len(steps) < DEEPEST:
            if frame.f_code.co_name == "run" and _resolves(frame, [future, *sources]):
                return steps[::-1]
            steps.append(Step(frame.f_code, frame.f_globals, frame.f_lineno or 0))
            frame = frame.f_back
    return []


def _resolves(frame: FrameType, futures: list[Any]) -> bool:
    """Whether this is the frame of a worker at work for one of these: anyio's, or that of `concurrent.futures`."""
    own = frame.f_locals
    held = own.get("future"), getattr(own.get("self"), "future", None)
    return any(one is held[0] or one is held[1] for one in futures)
