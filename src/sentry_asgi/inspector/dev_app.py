"""The application that `sentry-asgi dev` has uvicorn serve: the user's, wrapped, and reporting.

Loaded in each process that uvicorn starts. The rules:

- An app that initialised the SDK keeps its options and its DSN. That it reports here too is the
  SDK's own doing: it honours SENTRY_SPOTLIGHT, which `dev` sets.
- For one that did not, `dev` does it: everything on, to the inspector alone.
- What fails while the app is imported is reported too, and then fails as it would without.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

import sentry_sdk
import sentry_sdk.integrations.logging
from sentry_sdk.consts import DEFAULT_OPTIONS
from uvicorn.importer import ImportFromStringError

from sentry_asgi import SentryMiddleware

from .layers import layers
from .loading import load
from .plan import PLAN

logger = logging.getLogger("uvicorn.error")


def create() -> Any:
    """The app to serve; an application factory for uvicorn."""
    wanted = json.loads(os.environ[PLAN])
    try:
        app = load(wanted["target"], factory=wanted["factory"])
    except ImportFromStringError as error:
        logger.error("Error loading ASGI app. %s", error)  # noqa: TRY400  # it says all there is
        sys.exit(1)
    except Exception as error:
        report_to(wanted["url"])
        sentry_sdk.capture_exception(error)
        sentry_sdk.flush(2)
        sys.excepthook = sys.__excepthook__  # the SDK's would report it again
        raise
    report_to(wanted["url"])
    return app if is_wrapped(app) else SentryMiddleware(app)


def is_wrapped(app: Any) -> bool:
    """Whether a SentryMiddleware is in it already, with options that shall stay."""
    return any(issubclass(layer.type, SentryMiddleware) for layer in layers(app))


def report_to(url: str) -> None:
    """See to it that the SDK reports to the inspector at `url`."""
    client = sentry_sdk.get_client()
    if not client.is_active():
        _ignore_the_server()
        sentry_sdk.init(**options(url))
    elif client.spotlight is None and client.options.get("spotlight") is not False:
        from sentry_sdk.spotlight import SpotlightClient  # noqa: PLC0415  # it imports Django, if there is one

        # An SDK of before SENTRY_SPOTLIGHT could hold an address.
        client.spotlight = SpotlightClient(f"{url}/stream")
    _hurry(sentry_sdk.get_client())


def _ignore_the_server() -> None:
    """Its logs tell of the same requests and errors, with less."""
    for name in ("ignore_logger", "ignore_logger_for_events", "ignore_logger_for_sentry_logs"):
        ignore: Any = getattr(
            sentry_sdk.integrations.logging, name, None
        )  # newer SDKs have several
        for logs in ("uvicorn.access", "uvicorn.error", "uvicorn.asgi") if ignore else ():
            ignore(logs)


def _hurry(client: Any) -> None:
    """Logs and the like are sent in batches, every five seconds: too late for somebody who watches."""
    for name in ("log_batcher", "metrics_batcher", "span_batcher"):
        batcher = getattr(client, name, None)
        if batcher is not None:
            batcher.FLUSH_WAIT_TIME = 0.1


def options(url: str) -> dict[str, Any]:
    """What `dev` initialises the SDK with: everything on, as far as this SDK knows it."""
    wanted = {
        "dsn": f"{url.replace('://', '://dev@')}/1",
        "spotlight": False,
        "http_proxy": "",  # the inspector is on this machine
        "environment": "development",
        "traces_sample_rate": 1.0,
        "enable_logs": True,
        "auto_session_tracking": True,
    }
    personal = (
        {"data_collection": {"user_info": True}}
        if "data_collection" in DEFAULT_OPTIONS
        else {"send_default_pii": True}
    )
    known = {name: value for name, value in wanted.items() if name in DEFAULT_OPTIONS}
    return {**known, **personal}
