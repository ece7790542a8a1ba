"""How long a request waited before the application got it, by what a proxy in front has noted.

The rules:

- Proxies write the time at which they got a request into `X-Request-Start` or `X-Queue-Start`: `t=1700000000.123`
  (nginx), milliseconds (Heroku) or microseconds (Render, Apache), with or without `t=`. The number of digits tells.
- It is a header, and anybody can send one; clocks of two machines differ, too. So it is no more than a number that is
  told: what is less than nothing or more than an hour is none, nor is anything else than one number.
- Asked only when an event or a span is made. The time of arrival is computed then, from the monotonic clock's.
"""

from __future__ import annotations

import re
import time
from typing import Final

from . import request
from .exchange import Exchange, now

LONGEST: Final = 3_600.0
"""Seconds in a queue that are believed."""

_HEADERS: Final = ("x-request-start", "x-queue-start")

_TIME: Final = re.compile(
    r"[ \t]{0,8}(?:t=)?([0-9]{10}|[0-9]{13}|[0-9]{16})(\.[0-9]{1,9})?[ \t]{0,8}"
)

# Until the year 2286 a time in seconds has ten digits before the point, in smaller units three or six more.
_IN_ONE_SECOND: Final = {10: 1, 13: 1_000, 16: 1_000_000}


def milliseconds(exchange: Exchange) -> float | None:
    """Milliseconds between the proxy and the application; None where no header tells, or none that can be."""
    headers = request.headers(exchange)
    for name in _HEADERS:
        seconds = _seconds(exchange, headers.get(name))
        if seconds is not None:
            return round(seconds * 1000, 3)
    return None


def _seconds(exchange: Exchange, header: str | None) -> float | None:
    told = _TIME.fullmatch(header) if header else None
    if told is None:
        return None
    whole, rest = told[1], told[2] or ""
    began = float(whole + rest) / _IN_ONE_SECOND[len(whole)]
    arrived = time.time() - (now() - exchange.started_at)
    waited = arrived - began
    return waited if 0 <= waited <= LONGEST else None
