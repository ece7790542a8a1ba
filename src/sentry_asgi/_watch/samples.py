"""What a loop's thread is doing at a moment: its stack, as code and lines, and whose work it is.

The rules:

- The frames of a running thread change under one's eyes, and whoever holds one keeps its variables alive. So a stack is
  walked at once, and what is kept of a frame is its code, its line and its module's globals (`Step`).
- What stands outside of the loop (the server's `run`, the program) is left out: what runs is beneath the frame that
  runs the loop's callbacks, and what belongs to a request is within the middleware.
- The work is that of the task that runs, or else of the callback: each has the context of the request it belongs to.
- asyncio's loop is idle where nothing stands beneath `_run_once`. uvloop shows no frame of its own.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterable, Iterator
from contextvars import Context
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

from sentry_asgi._connection.exchange import Exchange, Phase
from sentry_asgi._python.in_app import FOLDER, application
from sentry_asgi._python.tasks import context_of
from sentry_asgi._scopes.here import connection_of
from sentry_asgi._stacktrace.source import Step

DEEPEST: Final = 1_000
"""Frames of a stack that are looked at."""

_RUNS_CALLBACK: Final = asyncio.Handle._run.__code__  # noqa: SLF001
_RUNS_LOOP: Final = asyncio.BaseEventLoop._run_once.__code__  # type: ignore[attr-defined]  # noqa: SLF001
_IMPORTS: Final = "<frozen importlib._bootstrap"
_MIDDLEWARE: Final = f"{FOLDER}middleware.py"
_DEBUGGERS: Final = frozenset(
    {"bdb", "pdb", "debugpy", "ipdb", "pudb", "pydevd", "_pydevd_bundle", "remote_pdb", "rpdb"}
)

# Before, a collection while it looks at all threads can lock CPython up (gh-106883).
_LOOKS_SAFELY: Final = sys.version_info >= (3, 12, 3)


class Sample(NamedTuple):
    steps: list[Step]  # the innermost last
    worker: (
        Any  # what tells the work from other work: the id of its request, of its task, or its place
    )
    context: Context | None
    exchange: Exchange | None
    phase: Phase | None  # how far its response had come
    idle: bool
    imports: str | None  # the module that is being imported
    debugged: bool

    @property
    def site(self) -> Step | None:
        """The innermost step of the application's; the innermost of all, if there is none."""
        own = list(applications(self.steps)) or self.steps
        return own[-1] if own else None


def applications(steps: Iterable[Any]) -> Iterator[Any]:
    """Those steps, or frames, that are the application's."""
    return (one for one in steps if application[one.f_code.co_filename])


def from_middleware(links: list[Any]) -> list[Any]:
    """Steps, or frames, from this package's middleware on, as in an error's traceback; all, where it is not in it."""
    outermost = (n for n, one in enumerate(links) if is_middleware(one))
    return links[next(outermost, 0) :]


def is_middleware(link: Any) -> bool:
    code = link.f_code
    return bool(code.co_name == "__call__" and code.co_filename == _MIDDLEWARE)


def take(loop: Any, thread_id: int, runner: CodeType | None) -> Sample | None:
    """Look at a thread; None if it is gone. `runner` is the code whose frame runs the loop's callbacks."""
    task = asyncio.current_task(loop)
    walked = _walk(thread_id, runner)
    if walked is None:
        return None
    steps, context, idle = walked
    if asyncio.current_task(loop) is not task:  # meanwhile the loop has gone on
        idle = True
    if task is not None:
        context = context_of(task)
    if context is not None:
        context = context.copy()  # the request may leave its scopes before it is told of
    connection = None if context is None else connection_of(context)
    exchange = connection if isinstance(connection, Exchange) else None
    return Sample(
        steps,
        _worker(exchange, task, steps),
        context,
        exchange,
        None if exchange is None else exchange.phase,
        idle,
        _imported(steps),
        any(_top(one) in _DEBUGGERS for one in steps),
    )


def _worker(exchange: Exchange | None, task: Any, steps: list[Step]) -> Any:
    if exchange is not None:
        return "request", id(exchange)
    if task is not None:
        return "task", id(task)
    return "callback", steps[0].f_code if steps else None


def frame_of(thread_id: int) -> FrameType | None:
    """The innermost frame of a thread."""
    if _LOOKS_SAFELY or not gc.isenabled():
        return sys._current_frames().get(thread_id)  # noqa: SLF001  # documented
    gc.disable()
    try:
        return sys._current_frames().get(thread_id)  # noqa: SLF001
    finally:
        gc.enable()


def _walk(
    thread_id: int, runner: CodeType | None
) -> tuple[list[Step], Context | None, bool] | None:
    frame, context, idle = frame_of(thread_id), None, False
    if frame is None:
        return None
    steps: list[Step] = []
    while frame is not None and len(steps) < DEEPEST:
        code = frame.f_code
        if code is _RUNS_LOOP:
            idle = True
            break
        if code is _RUNS_CALLBACK:
            context = _context_of_callback(frame)
            break
        if code is runner:
            break
        steps.append(Step(code, frame.f_globals, frame.f_lineno or 0))
        frame = frame.f_back
    if frame is not None and not steps and not idle:  # a callback of C's
        steps.append(Step(frame.f_code, frame.f_globals, frame.f_lineno or 0))
    return from_middleware(steps[::-1]), context, idle


def _context_of_callback(frame: FrameType) -> Context | None:
    """The context of the callback that `asyncio.Handle._run` runs in this frame."""
    context = getattr(frame.f_locals.get("self"), "_context", None)
    return context if isinstance(context, Context) else None


def _imported(steps: list[Step]) -> str | None:
    importing = False
    for step in steps:
        importing = importing or step.f_code.co_filename.startswith(_IMPORTS)
        if importing and step.f_code.co_name == "<module>":
            return str(step.f_globals.get("__name__"))
    return None


def _top(step: Step) -> str:
    return str(step.f_globals.get("__name__")).partition(".")[0]
