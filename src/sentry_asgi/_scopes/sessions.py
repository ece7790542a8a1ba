"""Release health: each request a session, counted at next to no cost.

The rules:

- A request is `crashed` if its app raised what was reported, `errored` if anything else was reported of it, else
  `exited`. The SDK keeps the score on the session of the isolation scope, and calls a session crashed for whatever an
  integration calls unhandled, though the app then answers: the app's own return decides here. A scope that
  nothing has filled has no session, and its request was fine.
- The SDK's flusher adds sessions up by minute before it sends them. Making a session object for each request costs more
  than all else that the middleware does, so one goes through the SDK for each minute, and the others are added to
  the bucket that it made. Where that bucket is not to be found, each goes through the SDK.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from sentry_sdk.session import Session

from sentry_asgi._connection.exchange import Exchange, now
from sentry_asgi._sdk import clients
from sentry_asgi._sdk.diagnostics import log_failure


class Sessions:
    """Counts the sessions of one client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._flusher = client.session_flusher
        # The current bucket, and what it is good for: requests that started before a time, by the clock of
        # the exchanges, as long as the flusher still has the dict that it is in.
        self._bucket: dict[str, Any] = {}
        self._aggregates: Any = None
        self._until = 0.0

    def count(self, exchange: Exchange) -> None:
        """Counts a request that has ended; its `session` is True if nothing has filled its scope."""
        try:
            outcome = "exited" if exchange.session is True else _outcome(exchange)
            if (
                exchange.started_at < self._until
                and self._flusher.pending_aggregates is self._aggregates
            ):
                self._bucket[outcome] = self._bucket.get(outcome, 0) + 1
            else:
                self._next_bucket(outcome)
        except Exception:
            log_failure("counting a session")

    def _next_bucket(self, outcome: str) -> None:
        left_of_the_minute = 60 - time.time() % 60
        self._through_the_sdk(outcome)
        self._aggregates, bucket = clients.session_aggregate(self._client)
        if bucket is not None:
            self._bucket = bucket
            self._until = now() + left_of_the_minute

    def _through_the_sdk(self, outcome: str) -> None:
        options = self._client.options
        session = Session(
            release=options.get("release"),
            environment=options.get("environment"),
            session_mode="request",
            status="crashed" if outcome == "crashed" else None,
            errors=0 if outcome == "exited" else 1,
        )
        session.close()
        self._client.capture_session(session)


class _Failed(NamedTuple):
    """The session of a request whose failure was counted, and made no event that the SDK could keep the score by."""

    status: str
    errors: int = 1


def failed(exchange: Exchange, *, crashed: bool) -> None:
    """A failure of this request makes no event, but counts."""
    if exchange.session is True:
        exchange.session = _Failed("crashed" if crashed else "ok")
    elif isinstance(exchange.session, Session):
        session = exchange.session
        session.update(status="crashed" if crashed else None, errors=session.errors + 1)


def crashed(exchange: Exchange) -> None:
    """Note that the app raised what has been reported of it already, as handled maybe."""
    if isinstance(exchange.session, Session) and exchange.session.errors:
        exchange.session.update(status="crashed")


def _outcome(exchange: Exchange) -> str:
    session = exchange.session
    if session.status == "crashed" and exchange.ending != "returned":
        return "crashed"
    return "errored" if session.errors or session.status == "crashed" else "exited"


def sessions_of(client: Any) -> Sessions | None:
    """The counter for a client; None if it has no release, or `auto_session_tracking` is off."""
    options = client.options
    wanted = options.get("auto_session_tracking") and options.get("release")
    return Sessions(client) if wanted else None
