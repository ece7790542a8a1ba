"""What a middleware was told, in the form in which its connections read it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Final

from ._budget import Budget


@dataclass(frozen=True, slots=True)
class Settings:
    # What events are named after: "endpoint" or "route".
    transaction_style: str = "endpoint"
    # How many proxies between the client and the server may be believed.
    trusted_hops: int = 0
    # Statuses whose responses tell of a failure.
    failing: Container[int] = range(500, 600)
    # Whether a failing response without an exception makes an event, too.
    report_without: bool = False
    # Whether a failing response carries its event's id.
    event_id_header: bool = False
    # Whether each message of a websocket has a span of its own.
    message_spans: bool = False
    # Whether frames of libraries show their variables, too.
    library_locals: bool = False
    # How many events of each raise site are sent; None if all are.
    budget: Budget | None = None
    # What is served: frameworks' routers are asked for names.
    app: Any = None


DEFAULTS: Final = Settings()
