"""asyncio's tasks, looked at from another thread: which runs, and in which context.

Nothing here changes a task, and with the GIL each answer is whole, if old by the time that it is used.
"""

from __future__ import annotations

import asyncio
import gc
from contextvars import Context
from typing import Any, Final

_gives_context: Final = hasattr(asyncio.Task, "get_context")  # from CPython 3.12 on


def context_of(task: Any) -> Context | None:
    """The context that a task runs in; None of a task of another kind that does not tell."""
    if _gives_context and hasattr(task, "get_context"):
        context: Context = task.get_context()
        return context
    return next((one for one in gc.get_referents(task) if type(one) is Context), None)


def tasks_of(loop: Any) -> list[Any]:
    """The tasks of a loop that are not done; none if they change too fast to be seen."""
    try:
        return list(asyncio.all_tasks(loop))
    except RuntimeError:
        return []
