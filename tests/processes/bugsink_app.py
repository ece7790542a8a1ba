"""The application whose events go to Bugsink; what it sends is also kept in the file `SENT`, as it is on the wire."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import HttpTransport
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sentry_asgi import SentryMiddleware


class Recording(HttpTransport):
    """The SDK's own; what it sends and what it drops is known."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.lost: Counter[str] = Counter()

    def capture_envelope(self, envelope: Envelope) -> None:
        with Path(os.environ["SENT"]).open("ab") as file:
            for item in envelope.items:
                if item.type == "event":
                    file.write(item.payload.get_bytes() + b"\n")
        super().capture_envelope(envelope)

    def record_lost_event(
        self, reason: str, data_category: Any = None, item: Any = None, *, quantity: int = 1
    ) -> None:
        kind = item.type if item is not None else data_category
        self.lost[f"{kind}: {reason}"] += quantity
        super().record_lost_event(reason, data_category, item, quantity=quantity)


class PaymentFailed(Exception):
    pass


class Declined(Exception):
    """Starlette makes a response of it."""


def charge(amount: int) -> None:
    card = {"number": "4242424242424242", "password": "terc3s"[::-1]}
    raise KeyError(f"no card for {amount}, one of {len(card)}")


async def exception(request: Request) -> Response:
    charge(int(request.query_params["amount"]))
    return Response()


async def chained(request: Request) -> Response:
    try:
        charge(7)
    except KeyError as error:
        raise PaymentFailed("payment failed") from error
    return Response()


async def group(request: Request) -> Response:
    raise ExceptionGroup("two failed", [ValueError("one"), PaymentFailed("other")])


async def swallowed(request: Request) -> Response:
    raise Declined("try later")


async def declined(request: Request, error: Exception) -> Response:
    return Response("sorry", 503)


async def message(request: Request) -> Response:
    sentry_sdk.set_tag("color", "blue")
    sentry_sdk.capture_message("something to say", level="warning")
    return Response("ok")


async def lost(request: Request) -> Response:
    transport: Any = sentry_sdk.get_client().transport
    sentry_sdk.flush(10)
    return JSONResponse(transport.lost)


async def ready(request: Request) -> Response:
    return Response("ready")


sentry_sdk.init(
    release="bugsink@1", environment="test", transport=Recording, traces_sample_rate=1.0
)
handlers: dict[str, Any] = {
    "/exception": exception,
    "/chained": chained,
    "/group": group,
    "/swallowed": swallowed,
    "/message": message,
    "/lost": lost,
    "/ready": ready,
}
app = SentryMiddleware(
    Starlette(
        routes=[Route(path, handler) for path, handler in handlers.items()],
        exception_handlers={Declined: declined},
    ),
    transaction_style="route",
)
