"""What is to be watched: the middleware's option `watch`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

SHORTEST: Final = 0.01
"""Seconds; for less, a thread would have to look more often than threads take turns."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What `SentryMiddleware(app, watch=Watch(…))` looks for beside errors.

    Args:
        blocked_after: seconds for which the event loop runs nothing else until that is an event, `EventLoopBlocked`.
            None looks for none.
        stuck_after: seconds for which a request has sent nothing until that is an event, `RequestStuck`. None looks
            for none.

    Raises:
        TypeError: if one of them is no number.
        ValueError: if one of them is shorter than 0.01 seconds, or infinite.

    """

    blocked_after: float | None = 1.0
    stuck_after: float | None = 60.0

    def __post_init__(self) -> None:
        for name in ("blocked_after", "stuck_after"):
            _check(name, getattr(self, name))


def _check(name: str, seconds: Any) -> None:
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or None, got {seconds!r}")
    if not SHORTEST <= seconds < math.inf:
        raise ValueError(
            f"{name} must be at least {SHORTEST} seconds and finite, or None, got {seconds!r}"
        )
