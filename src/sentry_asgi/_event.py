"""Facts of a connection, written into an event of Sentry's.

`describe` is the event processor of each connection's isolation scope: nothing descriptive is computed
before an event exists. What the application or an SDK integration has put there already stays.
"""

from __future__ import annotations

from typing import Any

import sentry_sdk

from . import _failures, _privacy, _request
from ._failsafe import log_failure
from ._request import Connection


def describe(
    connection: Connection, event: dict[str, Any], hint: dict[str, Any]
) -> dict[str, Any] | None:
    """Adds the request and the transaction's name to an event of any type; never raises.

    None for an event of a failure that has been reported.
    """
    try:
        if not _failures.first_report(connection, event, hint):
            return None
        _add_request(connection, event)
        _add_name(connection, event)
    except Exception:  # an event that says less is better than none
        log_failure("describing the request")
    return event


def _add_request(connection: Connection, event: dict[str, Any]) -> None:
    request = event.setdefault("request", {})
    for key, value in request_data(connection).items():
        request.setdefault(key, value)


def request_data(connection: Connection) -> dict[str, Any]:
    """The event's `request` interface, of what the client's options allow.

    https://develop.sentry.dev/sdk/data-model/event-payloads/request/
    """
    allowed = _privacy.privacy(sentry_sdk.get_client().options)
    address = _request.client_address(connection) if allowed.user_info else None
    data = {
        "url": _request.url(connection),
        "method": _request.method(connection),
        "headers": allowed.headers(_request.headers(connection)),
        "query_string": allowed.query_string(_request.query_string(connection)),
        "env": {"REMOTE_ADDR": address} if address else None,
    }
    return {key: value for key, value in data.items() if value}


def _add_name(connection: Connection, event: dict[str, Any]) -> None:
    """Names the event by the connection's style, unless the application has named it itself.

    A name that an SDK integration derived from the same ASGI scope, in its own style, is not the
    application's.
    """
    given = event.get("transaction")
    if given and given not in _request.derived_names(connection):
        return
    named = _request.name_and_source(connection)
    if named is not None:
        event["transaction"], source = named
        event["transaction_info"] = {"source": source}
