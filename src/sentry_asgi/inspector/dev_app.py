"""The application that `sentry-asgi dev` has uvicorn serve: the user's, wrapped, and reporting.

Loaded in each process that uvicorn starts. The rules:

- An app that initialised the SDK keeps its options and its DSN. That it reports here too is the
  SDK's own doing: it honours SENTRY_SPOTLIGHT, which `dev` sets.
- For one that did not, `dev` does it: everything on, to the inspector alone. Nothing is lost there for
  being too much: the queue is long, and equal errors are all sent. Short blocks of the event loop are told of, too.
- That an app reports here leaves no trace in what it reports.
- What fails while the app is imported is reported too, and then fails as it would without.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import sentry_sdk
import sentry_sdk.integrations.logging
from sentry_sdk.consts import DEFAULT_OPTIONS
from sentry_sdk.integrations.logging import LoggingIntegration
from uvicorn.importer import ImportFromStringError, import_from_string

from sentry_asgi import SentryMiddleware, Watch
from sentry_asgi._connection.asgi import as_asgi3
from sentry_asgi._sdk.clients import list_installed

from . import short_traceback
from .layers import layers
from .loading import load, suggestion
from .plan import PLAN, dsn, stream
from .recording import Recording
from .seen import note
from .telling import Teller
from .unseen import unseen

WATCH = Watch(blocked_after=0.1)
"""On a developer's machine one request runs at a time: a tenth of a second is what the others would wait."""

logger = logging.getLogger("uvicorn.error")


def create() -> Any:
    """The app to serve; an application factory for uvicorn."""
    wanted = json.loads(os.environ[PLAN])
    try:
        app = load(wanted["target"], factory=wanted["factory"])
    except ImportFromStringError as error:
        hint = suggestion(wanted["target"])
        logger.error("Error loading ASGI app. %s %s", error, hint)  # noqa: TRY400  # it says all there is
        sys.exit(1)
    except Exception as error:
        report_to(wanted["url"], wanted["service"])
        report_import(error)
        sys.excepthook = sys.__excepthook__  # the SDK's would report it again
        raise
    report_to(wanted["url"], wanted["service"])
    if not wanted["traceback"]:
        short_traceback.install()
    teller = Teller(wanted["url"], unseen)
    teller.tell("/api/local/start", lambda: {"service": wanted["service"]})
    wrapped = is_wrapped(app)
    own = {
        "service": wanted["service"],
        "url": wanted["address"],
        "target": wanted["target"],
        "factory": import_from_string(wanted["target"]) is not app,
        "wrapped": wrapped,
    }
    if not wrapped:
        app = SentryMiddleware(app, error_budget=None, watch=WATCH)
        list_installed()  # the first event would be told of as what blocks the loop
    recording = Recording(as_asgi3(app), wanted["url"], teller)
    own["token"] = recording.memory.token
    teller.tell("/api/local/app", lambda: own)
    recording.on_startup = lambda: teller.tell("/api/local/app", lambda: {**own, "lifespan": True})
    return recording


def is_wrapped(app: Any) -> bool:
    """Whether a SentryMiddleware is in it already, with options that shall stay."""
    return any(issubclass(layer.type, SentryMiddleware) for layer in layers(app))


def report_to(url: str, service: str) -> None:
    """See to it that the SDK reports to the inspector at `url`, under the name of that service."""
    client = sentry_sdk.get_client()
    if not client.is_active():
        _ignore_the_server()
        sentry_sdk.init(**options(url, service))
        _note_what_is_sent(sentry_sdk.get_client().transport)
    elif client.spotlight is None and client.options.get("spotlight") is not False:
        from sentry_sdk.spotlight import SpotlightClient  # noqa: PLC0415  # it imports Django, if there is one

        # An SDK of before SENTRY_SPOTLIGHT could hold an address.
        client.spotlight = SpotlightClient(stream(url, service))
    if client.spotlight is not None:
        client.spotlight = cast("Any", _Unseen(client.spotlight))
    _hurry(sentry_sdk.get_client())


class _Unseen:
    """The SDK's Spotlight client, which sends in the middle of the app's work.

    Its requests would be spans and breadcrumbs of what the app reports next.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def capture_envelope(self, envelope: Any) -> None:
        note(envelope)
        with unseen():
            self._client.capture_envelope(envelope)


def _note_what_is_sent(transport: Any) -> None:
    """Have a transport note for each request which events are of it."""
    send = transport.capture_envelope

    def capture_envelope(envelope: Any) -> None:
        note(envelope)
        send(envelope)

    transport.capture_envelope = capture_envelope


def report_import(error: BaseException) -> None:
    """Report what ended the app before it was there."""
    with _pointing(error), sentry_sdk.new_scope() as scope:
        scope.add_event_processor(_ended_the_app)
        sentry_sdk.capture_exception(error)
    sentry_sdk.flush(2)


def _ended_the_app(event: Any, _hint: Any) -> Any:
    for exception in event["exception"]["values"][-1:]:
        exception["mechanism"] = {"type": "import", "handled": False}
    return event


@contextmanager
def _pointing(error: BaseException) -> Iterator[None]:
    """A SyntaxError's traceback ends where Python reads files; here, in the line that it cannot read."""
    last = cast("TracebackType", error.__traceback__)
    while last.tb_next is not None:
        last = last.tb_next
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        last.tb_next = _at(error.filename, error.lineno)
    try:
        yield
    finally:
        last.tb_next = None


def _at(filename: str, lineno: int) -> TracebackType | None:
    """A traceback of one frame, in that line of that file."""
    code = compile("\n" * (lineno - 1) + "raise SyntaxError", filename, "exec")
    place = None
    try:
        # SDKs look for the source of what has a name.
        exec(code, {"__name__": Path(filename).stem})  # noqa: S102  # a frame of a file that cannot be run
    except SyntaxError as error:
        place = error.__traceback__
    return place and place.tb_next


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


def options(url: str, service: str) -> dict[str, Any]:
    """What `dev` initialises the SDK with: everything on, as far as this SDK knows it."""
    wanted: dict[str, Any] = {
        "dsn": dsn(url, service),
        "spotlight": False,
        "http_proxy": "",  # the inspector is on this machine
        "environment": "development",
        "traces_sample_rate": 1.0,
        "enable_logs": True,
        # Of SDK 3 it is no default any more.
        "integrations": [LoggingIntegration()],
        "attach_stacktrace": True,
        "transport_queue_size": 10_000,
        "auto_session_tracking": True,
    }
    personal = (
        {"data_collection": {"user_info": True}}
        if "data_collection" in DEFAULT_OPTIONS
        else {"send_default_pii": True}
    )
    known = {name: value for name, value in wanted.items() if name in DEFAULT_OPTIONS}
    return {**known, **personal}
