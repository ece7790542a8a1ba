"""Facts of a connection, written into an event of Sentry's.

`describe` is the event processor of each connection's isolation scope, `protect` that of its current scope: the SDK
runs them in this order, and what other processors add in between is protected too. Nothing descriptive is computed
before an event exists. What the application or an SDK integration has put there already stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

import sentry_sdk

from sentry_asgi._connection import (
    address as _address,
    naming as _naming,
    request as _request,
    url as _url,
)
from sentry_asgi._connection.body import Body
from sentry_asgi._connection.exchange import Exchange, body_limit
from sentry_asgi._connection.request import Connection
from sentry_asgi._failures.state import served
from sentry_asgi._redaction import (
    default_scrubber,
    fallback,
    frames,
    hints,
    names,
    redact,
    secrets as _secrets,
    texts,
)
from sentry_asgi._redaction.names import FILTERED, Privacy
from sentry_asgi._redaction.rules import Rules
from sentry_asgi._redaction.secrets import Found
from sentry_asgi._sdk import events
from sentry_asgi._sdk.diagnostics import log_failure

from . import contexts as _contexts, failure, rpc as _rpc, user as _user
from .attachments import clean_attachments


def describe(
    connection: Connection, event: dict[str, Any], hint: dict[str, Any]
) -> dict[str, Any] | None:
    """Adds the request, user, response and name to an event of any type; never raises.

    None for an event of a failure that has been reported.
    """
    own = connection
    try:
        connection = _served(own)
        if not failure.admit(connection, event, hint):
            return None
        frames.hide_library_variables(event)
        allowed = names.privacy(sentry_sdk.get_client().options, connection.settings.rules)
        _add_request(connection, event, allowed)
        _add_user(connection, event, hint, allowed)
        _add_contexts(connection, event, allowed)
        if (
            event.get("type") != "transaction"
        ):  # which has its name, and tells how its own websocket began
            _add_summary(connection, event)
            _add_name(connection, event)
            _rpc.add(connection, event, hint)
        if getattr(sentry_sdk.get_current_scope(), "asgi_connection", None) is own:
            return event  # `protect` runs later
    except Exception:  # an event that says less is better than none
        log_failure("describing the request")
    return protect(connection, event, hint)


def _served(connection: Connection) -> Any:
    return served(connection) if isinstance(connection, Exchange) else connection


def protect(
    connection: Connection,
    event: dict[str, Any],
    hint: dict[str, Any],
) -> dict[str, Any] | None:
    """Remove the request's secrets from wherever they recur in an event and its attachments; never raise.

    An event that cannot be cleaned is reduced to what holds no data. If that fails too, return None: it is not sent.
    """
    try:
        connection = _served(connection)
        _unify_url(connection, event)
        _add_stacktrace(event)
        rules = connection.settings.rules
        known, chunks = known_secrets(connection), has_body(connection)
        redact.redact(event, known, rules, remarks=True, chunks=chunks)
        clean_attachments(hint, known, rules)
        _drop_filtered(event)
        default_scrubber.keep_what_says_nothing(event)
        return event
    except Exception:  # the SDK would send the event as it is
        log_failure("removing secrets")
    try:
        hint["attachments"] = []
        return fallback.without_data(event)
    except Exception:
        log_failure("removing all data of an event")
        return None


_STRUCTURES: Final = (
    *("breadcrumbs", "contexts", "exception", "extra", "logentry", "request"),
    *("spans", "stacktrace", "tags", "threads", "user"),
)


def _drop_filtered(event: dict[str, Any]) -> None:
    """Drops what could not be looked at and was replaced as a whole: the SDK goes on working with these as dicts."""
    dropped = [key for key in _STRUCTURES if isinstance(event.get(key), str)]
    for key in dropped:
        del event[key]
    if dropped:
        fallback.forbid_stacktrace(event)


def _unify_url(connection: Connection, event: dict[str, Any]) -> None:
    """Writes the request's URL without its query, where an integration of the SDK's has put it down in another way."""
    request = event.get("request")
    given = request.get("url") if isinstance(request, dict) else None
    ours = _url.url(connection)
    if ours and isinstance(given, str) and unquote(given.partition("?")[0]) == unquote(ours):
        event["request"]["url"] = ours


def _add_request(connection: Connection, event: dict[str, Any], allowed: Privacy) -> None:
    request = event.setdefault("request", {})
    for key, value in request_data(connection, allowed).items():
        request.setdefault(key, _marked(value, connection.settings.rules))


def _marked(value: Any, rules: Rules) -> Any:
    """What a request has sent, marked where it was replaced: a query, or headers or cookies."""
    if value.__class__ is str:
        return names.remarked(value, "name") if FILTERED in value else value
    if value.__class__ is not dict or FILTERED not in value.values():
        return value
    return {
        name: names.remarked(one, f"name:{rules.keys[name] or 'personal'}")
        if one == FILTERED
        else one
        for name, one in value.items()
    }


def request_data(connection: Connection, allowed: Privacy) -> dict[str, Any]:
    """The event's `request` interface, of what the client's options allow.

    https://develop.sentry.dev/sdk/data-model/event-payloads/request/
    """
    address = _address.client_address(connection) if allowed.user_info else None
    headers = _request.headers(connection)
    if sum(map(len, headers.values())) > _LONGEST:
        headers = {name: _shortened(one) for name, one in headers.items()}
    shown = allowed.headers(headers)
    if shown:
        hints.remember_harmless(shown.values(), allowed.rules)
    data = {
        "url": _url.url(connection),
        "method": _request.method(connection),
        "headers": shown,
        "cookies": allowed.cookies(headers.get("cookie", "")),
        "query_string": allowed.query_string(_shortened(_request.query_string(connection))),
        "env": {"REMOTE_ADDR": address} if address else None,
        "data": _body_data(connection) if allowed.bodies else None,
    }
    # A body that is told by its size alone counts as empty.
    return {
        key: value for key, value in data.items() if value or events.metadata_of(value) is not None
    }


_LONGEST: Final = 8_000
"""Characters of a header or a query that are sent. Relay keeps 8 kB of all headers together."""


def _shortened(text: str) -> str:
    """A header or query up to where its last whole part ends: of half a secret nobody knows what it was."""
    if len(text) <= _LONGEST:
        return text
    end = max(text.rfind(one, 0, _LONGEST) for one in " ;,&")
    return text[: end + 1] + "..."


def _body_data(connection: Connection) -> Any:
    """The body as it may be sent, marked as Sentry marks it where it is not all here; None without one."""
    size = body_limit()
    body, read = _contexts.body(connection, size), _contexts.body_read(connection)
    if body is None:
        return events.annotated("", {"rem": [["!config", "x"]], "len": read}) if read else None
    if body.data is None:
        return events.annotated("", {"rem": [["!raw", "x"]], "len": read})
    data = names.clean_data(body.data, connection.settings.rules, names.remarked)
    if isinstance(data, str):
        data = texts.clean_lines(data, connection.settings.rules)
    if not _contexts.body_cut(connection, size):
        return data
    return events.annotated(data, {"rem": [["!limit", "x"]], "len": read})


def _add_user(
    connection: Connection, event: dict[str, Any], hint: dict[str, Any], allowed: Privacy
) -> None:
    """Adds who the user is, unless `set_user` or the event itself says it, or nobody may know.

    What `set_user` was given counts alone, were it an address only, or None: who hides a user is not to be overruled.
    """
    untold = type(event.get("user")) is _user.Untold
    if untold:
        del event["user"]
    if not untold or not allowed.user_info:
        return
    user = connection.scope.get("user")
    if user is None and event.get("type") is None:
        user = _user.of_copied_scope(connection.scope, (hint or {}).get("exc_info"))
    described = _user.describe(user)
    if described:
        event["user"] = described


def _add_contexts(connection: Connection, event: dict[str, Any], allowed: Privacy) -> None:
    contexts = event.setdefault("contexts", {})
    for name, facts in _contexts.contexts(connection, allowed).items():
        contexts[name] = {**facts, **(contexts.get(name) or {})}


def _add_summary(connection: Connection, event: dict[str, Any]) -> None:
    """Adds, as the last breadcrumb, how a websocket has ended."""
    if not isinstance(connection, Exchange) or not _contexts.is_over(connection):
        return
    facts = _contexts.websocket(connection)
    breadcrumbs = event.setdefault("breadcrumbs", {})
    if not facts or not isinstance(breadcrumbs, dict):
        return
    who = facts.get("closed_by")
    crumb = {
        "timestamp": datetime.now(UTC),
        "category": "websocket",
        "message": f"closed by the {who}" if who else "ended without a close",
        "data": facts,
    }
    breadcrumbs.setdefault("values", []).append(crumb)


def _add_stacktrace(event: dict[str, Any]) -> None:
    """Adds what the SDK would add later, behind everybody's back, under `attach_stacktrace`."""
    options = sentry_sdk.get_client().options
    if not options.get("attach_stacktrace"):
        return
    if event.keys() & {"exception", "stacktrace", "threads"}:
        return
    if event.get("type") is not None:  # a transaction: old SDKs would give it one all the same
        event["threads"] = {"values": []}
        return
    stacktrace = events.current_stacktrace(options)
    shown = stacktrace.get("frames") or []
    while shown and frames.is_own(shown[-1]):
        shown.pop()
    thread = {"stacktrace": stacktrace, "crashed": False, "current": True}
    event["threads"] = {"values": [thread]}


def known_secrets(connection: Connection) -> Found:
    """The secrets of a request that are looked for. Kept until more of it is known: a failing one makes two events.

    Not kept are those of a websocket's message, which is done with long before the websocket is.
    """
    message = _contexts.message(connection)
    if message is not None:
        sources = [
            *_secrets_of(connection),
            _secrets.of_body(message.raw, message.data, connection.settings.rules),
        ]
        return _looked_for(connection, sources)
    scope, kept = connection.scope, getattr(connection, "body", None)
    state = (
        scope.get("headers"),
        scope.get("query_string"),
        scope.get("path_params"),
        getattr(connection, "response_headers", None),
        len(kept.data) if kept is not None else 0,
    )
    known = getattr(connection, "_secrets", None)
    if known is None or not all(map(_is_same, known[0], state)):
        secrets = (
            Found()
            if _tells_nothing(connection, state)
            else _looked_for(connection, _secrets_of(connection))
        )
        known = connection._secrets = (state, secrets)  # noqa: SLF001
    return known[1]


def has_body(connection: Connection) -> bool:
    """Whether a request was read that has a body."""
    return bool(getattr(connection, "received_bytes", 0))


def _tells_nothing(connection: Connection, state: tuple[Any, ...]) -> bool:
    """Whether a request plainly holds no secret, as most do."""
    _, query, parameters, _, size = state
    if query or parameters or size:
        return False
    kind_of = connection.settings.rules.keys.get
    if any(
        kind_of(name) != "" or "%" in value or "?" in value or value[:1] in {"b", "B"}
        for name, value in _request.headers(connection).items()
    ):
        return False
    if any(name == "set-cookie" for name, _ in _contexts.header_pairs(connection)):
        return False
    return "%" not in (_url.full_path(connection) or "%") and not _naming.route(connection)


def _looked_for(connection: Connection, sources: Iterable[Iterable[str]]) -> Found:
    """Secrets of a request, but for what its host or its route says: that is no secret, whoever sends it as a token."""
    found = _secrets.shared(sources)
    if not found:
        return found
    host = _request.headers(connection).get("host")
    said = f"{host}\n{_naming.route(connection)}"
    return Found(one for one in found if names.decoded(one) not in said)


def _is_same(one: Any, other: Any) -> bool:
    return one is other or (one.__class__ is int and one == other)


def _secrets_of(connection: Connection) -> Iterator[Iterable[str]]:
    """The request's secrets, by where they come from."""
    headers, rules = list(_request.header_pairs(connection)), connection.settings.rules
    yield _secrets.of_headers(headers, rules)
    yield _secrets.of_cookies(headers, rules)
    yield _secrets.of_query(_request.query_string(connection), rules)
    yield _secrets.of_set_cookies(_contexts.header_pairs(connection))
    yield _of_path(connection)
    body = _contexts.body(connection)
    if isinstance(body, Body):
        yield _secrets.of_body(body.raw, body.data, rules)


def _of_path(connection: Connection) -> Iterator[str]:
    path, rules = _url.full_path(connection), connection.settings.rules
    if path and "%" in path:
        yield from _secrets.within(path, rules)
    parameters = connection.scope.get("path_params")
    yield from _secrets.of_path(parameters, rules)
    template = None if parameters else _naming.route(connection)
    if template and isinstance(connection.path, str):
        yield from _secrets.of_template(template, connection.path, rules)


def _add_name(connection: Connection, event: dict[str, Any]) -> None:
    """Names the event by the connection's style, unless the application has named it itself.

    A name that an SDK integration derived from the same ASGI scope, in its own style, is not the
    application's.
    """
    given = event.get("transaction")
    if given and given not in _naming.derived_names(connection):
        if not (event.get("transaction_info") or {}).get("source"):
            event["transaction_info"] = {"source": "custom"}
        return
    named = _naming.name_and_source(connection)
    if named is not None:
        event["transaction"], source = named
        event["transaction_info"] = {"source": source}
