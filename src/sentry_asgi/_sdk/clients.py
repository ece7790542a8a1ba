"""The installed SDK, and the client in force: its options, its integrations, its transport, its sessions."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any, Final

import sentry_sdk
import sentry_sdk.utils

from sentry_asgi._python.exceptions import attributes_of


def options() -> Mapping[str, Any]:
    """The options of the client in force."""
    return sentry_sdk.get_client().options


def public(module: str, name: str) -> Any:
    """A public name of the SDK's that not all versions have; None where this one has not."""
    found = importlib.util.find_spec(module)
    return found and getattr(importlib.import_module(module), name, None)


def list_installed() -> None:
    """Have the SDK list the installed packages now; else its first event does, which can take a tenth of a second."""
    with contextlib.suppress(Exception):
        getattr(sentry_sdk.utils, "_get_installed_modules")()  # noqa: B009  # private


def record_lost_error() -> None:
    """Has the SDK's client report say that an error was not sent, since there were too many."""
    record = getattr(sentry_sdk.get_client().transport, "record_lost_event", None)
    if record is not None:
        record("backpressure", data_category="error")


def filter_logged_events(client: Any, keep: Any) -> None:
    """Has the logging integration make events only of records that are to be kept; where it has a handler for that."""
    handler = logged_events_handler(client)
    if handler is not None and keep not in handler.filters:
        handler.addFilter(keep)


def logged_events_handler(client: Any) -> logging.Handler | None:
    """What makes the logging integration's events of records; None where it has no such handler."""
    integration = client.get_integration("logging")
    # SDK 3 has another name for it.
    handler = getattr(integration, "_handler", getattr(integration, "_event_handler", None))
    return handler if isinstance(handler, logging.Handler) else None


CUTS_OFF: Final = "sentry_sdk.integrations.asgi"
"""The module of the SDK's own ASGI middleware, which cuts causes off, by `raise ... from None`."""


def forget(exceptions: Iterable[BaseException]) -> None:
    """Lets the Dedupe integration forget: SDK 2 keeps the last exception, frames and all, SDK 3 marks each for ever."""
    dedupe = sentry_sdk.get_client().get_integration("dedupe")
    last_seen = getattr(dedupe, "_last_seen", None)
    if last_seen is not None:
        last_seen.set(None)
    for exception in exceptions:
        attributes_of(exception).pop("_handled_by_sentry", None)


VERSION: Final = tuple(int(part) for part in sentry_sdk.VERSION.split("b")[0].split(".")[:2])

_AsyncTransport: Final = public("sentry_sdk.transport", "AsyncHttpTransport")


def sends_on_the_loop(client: Any) -> bool:
    """Whether a client's transport sends on the event loop, where `flush_async` flushes it."""
    return _AsyncTransport is not None and isinstance(client.transport, _AsyncTransport)


_transports: Final[Any] = importlib.import_module("sentry_sdk.transport")


def renew_transport(client: Any) -> None:
    """Gives a client another transport like the one that it has made itself; any other it keeps."""
    if type(client.transport).__module__ != _transports.__name__ or sends_on_the_loop(client):
        return
    if isinstance(client.options["transport"], (type, NoneType)):
        client.transport = _transports.make_transport(client.options)


def session_aggregate(client: Any) -> tuple[Any, Any]:
    """The flusher's dict of aggregated sessions, and in it the newest bucket; (None, None) if it has none."""
    aggregates = getattr(getattr(client, "session_flusher", None), "pending_aggregates", None)
    if not isinstance(aggregates, dict) or not aggregates:
        return None, None
    buckets = list(aggregates.values())[-1]
    if not isinstance(buckets, dict) or not buckets:
        return None, None
    return aggregates, buckets[max(buckets)]
