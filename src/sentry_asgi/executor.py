"""A thread pool whose threads work in the context of whoever gave them the work.

The rules:

- Work runs in a copy of the submitter's context (`contextvars.copy_context()`): every ContextVar is
  there. Sentry's scopes are *in* ContextVars, and the copy refers to the same ones: what a
  thread sets on them is on the request's later events.
- The pool's threads themselves start in an empty context. A thread outlives the request that happened to
  start it; whatever follows the starting of threads (the SDK's ThreadingIntegration, Python itself from
  3.14 on) would otherwise keep that request's scopes alive, and hand them to everybody else's work.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from typing import ParamSpec, TypeVar

__all__ = ["ContextPreservingExecutor"]

P = ParamSpec("P")
T = TypeVar("T")


class ContextPreservingExecutor(ThreadPoolExecutor):
    """A `concurrent.futures.ThreadPoolExecutor` that carries the caller's context into its threads.

    Takes the same arguments, and can be an event loop's default executor::

        asyncio.get_running_loop().set_default_executor(ContextPreservingExecutor())

    `submit` and `map` run each call in a copy of their caller's context. What a call sets in a
    ContextVar stays in its copy; what it changes in an object found there, as in Sentry's
    scopes, its caller sees.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule `fn(*args, **kwargs)` in a copy of the current context.

        Raises:
            RuntimeError: after `shutdown()`.

        """
        # One object, so that no parameter of a wrapper of `submit` stands in the way of the call's keywords.
        call: partial[T] = partial(copy_context().run, fn, *args, **kwargs)
        return Context().run(super().submit, call)
