"""The removal of secrets, for hooks of one's own: what no event processor sees, such as logs and streamed spans.

`before_send_log` is where the SDK hands over a log:

    def before_send_log(log, hint):
        return {**log, "body": scrub(log["body"]), "attributes": scrub(log["attributes"])}
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from ._events import event as _event
from ._redaction import redact
from ._redaction.names import FILTERED
from ._scopes.isolation import connection_here
from ._sdk.diagnostics import log_failure

__all__ = ["FILTERED", "scrub"]

T = TypeVar("T")


def scrub(value: T) -> T:
    """Return a value without its secrets, as an event of the request would show it.

    `value` is a text, a number, None, or dicts and lists of these, with whatever keys. It is not changed. What is
    secret by its name, or by its looks, is replaced by `[Filtered]`; within a request, so are the request's own
    secrets, wherever they recur. What holds none of this is given back itself. Never raises: a value that cannot be
    looked at is replaced as a whole.
    """
    event: dict[str, Any] = {"extra": {"value": value}}
    try:
        connection = connection_here()
        secrets = [] if connection is None else _event.known_secrets(connection)
        redact.redact(event, secrets)
        scrubbed: T = event["extra"]["value"]
    except Exception:
        log_failure("removing secrets from a value")
        scrubbed = cast("T", FILTERED)
    return scrubbed
