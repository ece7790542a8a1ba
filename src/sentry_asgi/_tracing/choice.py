"""Which way of tracing a client takes."""

from __future__ import annotations

from typing import Any

from sentry_asgi._sdk import spans

from .streamed import StreamedSpans
from .tracing import Tracing
from .transactions import Transactions


def tracer_for(client: Any) -> Tracing:
    """The way in which a client traces, which is one that does."""
    streams = spans.trace_lifecycle(client.options) == "stream"
    return StreamedSpans(client) if streams else Transactions(client)
