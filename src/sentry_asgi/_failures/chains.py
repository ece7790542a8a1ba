"""Which exceptions are of one failure: those that an exception was raised in place of, and those that its event shows.

- An exception is known by identity. With it are its causes and contexts as far as Sentry shows them, and the members of
  a group.
- Of the same failure is what was raised `from` another, or in its place by the frame that had caught it
  (`except ...: capture_exception(); raise HTTPException(500)`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sentry_asgi._frameworks import rpc
from sentry_asgi._python.exceptions import (
    cause_of,
    context_of,
    members_of,
    suppresses_context,
    traceback_of,
)

BOUND: Final = 50


def same_failure(exception: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it was raised in place of."""
    one: BaseException | None = exception
    for _ in range(BOUND):
        if one is None:
            return
        yield one
        cause = cause_of(one)
        if cause is None:
            cause = rpc.original_of(one)
        one = _replaced(one) if cause is None else cause


def _replaced(exception: BaseException) -> BaseException | None:
    context = context_of(exception)
    caught = None if context is None else traceback_of(context)
    if caught is None:
        return None
    innermost = traceback_of(exception)
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    raised_by = innermost.tb_frame if innermost is not None else None
    return context if raised_by is caught.tb_frame else None


def all_of(exception: BaseException) -> list[BaseException]:
    """The exception and every other that an event of it shows."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [exception]
    while waiting and len(found) < BOUND:
        one = waiting.pop()
        if one is None or any(one is known for known in found):
            continue
        found.append(one)
        waiting.append(cause_of(one))
        waiting.append(rpc.original_of(one))
        if not suppresses_context(one):
            waiting.append(context_of(one))
        waiting.extend(members_of(one)[:BOUND])
    return found
