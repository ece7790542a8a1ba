"""The error budget: equal errors in a storm are counted, not sent.

The rules:

- A token bucket for each raise site: the exception's type and the innermost line of the application's that it passed.
  It holds as many events as a site may have in a minute, and fills up again within a minute; a second one, ten times as
  large, is for all sites together, so that a storm of many sites sinks nothing either.
- To suppress takes microseconds: nothing is rendered, no scope is filled. What is suppressed is counted, and told by
  the next event of that site. It is told only once such an event was sent: `before_send` or a rate may drop one.
- As many sites are known as fit; the one not seen for longest goes first, its count with it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeAlias

import sentry_sdk

from sentry_asgi._python.exceptions import names_of, traceback_of
from sentry_asgi._python.in_app import application
from sentry_asgi._python.locks import Lock

SITES: Final = 1_000
"""Raise sites that are told apart at a time."""

TOGETHER: Final = 10
"""How many sites may use up their whole budget at once."""

MINUTE: Final = 60.0

_spending: Final = Lock()
"""Held while a budget is asked: loops of several threads may serve one app."""

Site: TypeAlias = tuple[Any, ...]


class Suppressed(NamedTuple):
    """How many events of a site were not sent, and since when (seconds since the epoch)."""

    events: int
    since: float


class _Bucket:
    __slots__ = ("_at", "_gain", "_size", "_tokens", "count", "since")

    def __init__(self, size: float, window: float, now: float) -> None:
        self._size = self._tokens = size
        self._gain = size / window
        self._at = now
        self.count, self.since = 0, 0.0

    def has(self, now: float) -> bool:
        """Whether there is a token, as of now."""
        gained = (now - self._at) * self._gain
        self._at = now
        self._tokens = min(self._size, self._tokens + gained)
        return self._tokens >= 1

    def take(self) -> None:
        self._tokens -= 1


class Budget:
    """What may be sent of each raise site, at once and in a window of so many seconds; by default a minute."""

    def __init__(self, events: int, window: float = MINUTE) -> None:
        self._events = events
        self._window = window
        self._all = _Bucket(events * TOGETHER, window, time.monotonic())
        self._sites: OrderedDict[Site, _Bucket] = OrderedDict()

    def spend(self, site: Site, *, count: bool = True) -> bool:
        """Take a token for one event of the site; return False, and count the event, if none is left."""
        now = time.monotonic()
        with _spending:
            bucket = self._bucket(site, now)
            # Each is asked, so that each knows the time.
            if bucket.has(now) & self._all.has(now):
                bucket.take()
                self._all.take()
                return True
            if count:
                bucket.since = bucket.since if bucket.count else time.time()
                bucket.count += 1
            return False

    def _bucket(self, site: Site, now: float) -> _Bucket:
        bucket = self._sites.get(site)
        if bucket is None:
            if len(self._sites) >= SITES:
                self._sites.popitem(last=False)
            bucket = self._sites[site] = _Bucket(self._events, self._window, now)
        else:
            self._sites.move_to_end(site)
        return bucket

    def suppressed(self, site: Site) -> Suppressed | None:
        """Return what was suppressed of that site and not told since; None if nothing was."""
        with _spending:
            bucket = self._sites.get(site)
            if bucket is None or not bucket.count:
                return None
            return Suppressed(bucket.count, bucket.since)

    def tell(self, site: Site, told: Suppressed) -> None:
        """Forget what an event that was sent has told; what was suppressed in the meantime stays."""
        with _spending:
            bucket = self._sites.get(site)
            if bucket is not None and bucket.since == told.since:
                bucket.count = max(0, bucket.count - told.events)


def capture_within(budget: Budget | None, site: Site, event: Any, hint: Any = None) -> None:
    """Capture an event that tells of those of its site that were not sent; once it has left, they are told."""
    told = None if budget is None else budget.suppressed(site)
    if told is not None:
        since = datetime.fromtimestamp(told.since, UTC).isoformat(timespec="milliseconds")
        event["contexts"]["asgi"].update(suppressed=told.events, suppressed_since=since)
    sent = sentry_sdk.capture_event(event, hint=hint)
    if told is not None and budget is not None and sent is not None:
        budget.tell(site, told)


def raise_site(exception: BaseException) -> Site:
    """Where an exception was raised: its type, and the innermost line of the application's that it passed."""
    names = names_of(type(exception))
    innermost = None
    traceback = traceback_of(exception)
    while traceback is not None:
        if innermost is None or application[traceback.tb_frame.f_code.co_filename]:
            innermost = traceback
        traceback = traceback.tb_next
    if innermost is None:
        return names
    return *names, innermost.tb_frame.f_code.co_filename, innermost.tb_lineno
