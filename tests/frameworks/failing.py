"""What the matrix's applications fail with.

A driver that wants more than a failure, or a start-up that does something else, replaces `message_of`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from weakref import WeakSet

# Return what the cell's exception says; None: nothing is raised.
message_of: Callable[[str], str | None] = str

# The exceptions that are still referred to, and what only their frames refer to.
alive: WeakSet[Any] = WeakSet()


class InFrame:
    """Lives as long as the frame that has it."""


class Failure(ValueError):
    pass


def fail(cell: str) -> Any:
    message = message_of(cell)
    if message is not None:
        in_frame = InFrame()
        alive.add(in_frame)
        error = Failure(message)
        alive.add(error)
        try:
            raise error
        finally:
            del error


def lifespan_of(startup_fails: bool) -> Any:
    """Return a lifespan, as Starlette and its like take it, that fails if it is to."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        if startup_fails:
            fail("startup")
        yield

    return lifespan


class Handled(Failure):
    """What an application has a handler of its own for, which answers with a 500."""

    def __init__(self, cell: str) -> None:
        super().__init__(message_of(cell))
        alive.add(self)
