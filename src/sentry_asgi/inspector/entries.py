"""What happened, as lists show it: one entry for each thing that an item of an envelope tells. Pure.

The rules:

- An error or message, a transaction, a session, a check-in, an attachment is one entry; of a batch
  of logs, spans or metrics each is one.
- Any JSON makes entries; what is missing or odd is shown as well as it can be.
- Kinds are few, and named for people: those of `KINDS`. What is of no known kind is `other`.
- What an SDK lost, other than by the app's own options, is a kind of its own: somebody should know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from .calls import Calls, calls_of
from .services import own_name
from .shapes import code_place
from .sites import Site, site_of
from .texts import attributes_text, error_text, request_text
from .values import (
    MAX_LINE,
    MAX_LIST,
    as_dict,
    as_dicts,
    as_id,
    as_line,
    as_list,
    as_moment,
    as_number,
    as_seconds,
    as_values,
    attributes,
    clean,
)
from .views import Summary, summarize

ERROR, REQUEST, SPAN, LOG, METRIC = "error", "request", "span", "log", "metric"
LOSS, OTHER = "loss", "other"
PROFILE = "profile"
"""What entries of profiles are called."""
KINDS = frozenset({ERROR, REQUEST, SPAN, LOG, METRIC, LOSS, OTHER})

BLOCKED = "EventLoopBlocked"
"""The type of the exception by which a blocked event loop is reported. No message is its echo."""

# Reasons of client reports that are the app's own wish.
_WANTED = frozenset({"sample_rate", "event_processor", "ignored"})

Payload = dict[str, Any]

NOWHERE = Site("", "")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened; `duration` is in seconds, `position` counts within the item.

    Errors have a `site`, by which equal ones are known; `raised` tells exceptions from messages.
    `service` is what it calls itself, `text` what else it may be looked for by, `calls` what it asked
    of databases and others.
    """

    kind: str
    summary: Summary
    trace_id: str = ""
    span_id: str = ""
    status: str = ""
    duration: float | None = None
    position: int = 0
    site: Site = NOWHERE
    raised: bool = False
    service: str = ""
    text: str = ""
    calls: tuple[Calls, ...] = ()


def entries(kind: str, headers: dict[str, Any], payload: Payload) -> Iterator[Entry]:
    """What an item of this type tells; `payload` is empty for types that carry no JSON."""
    make = _MAKERS.get(kind)
    if make is None:
        yield _other(kind, as_line(headers.get("filename")))
    else:
        yield from make(payload)


def _error(event: Payload) -> Iterator[Entry]:
    trace = as_dict(as_dict(event.get("contexts")).get("trace"))
    ids = as_id(trace.get("trace_id")), as_id(trace.get("span_id"))
    yield Entry(
        ERROR,
        summarize(event),
        *ids,
        site=site_of(event),
        raised=bool(as_values(event.get("exception"))),
        service=own_name(event, {}),
        text=error_text(event),
    )


def _transaction(event: Payload) -> Iterator[Entry]:
    trace = as_dict(as_dict(event.get("contexts")).get("trace"))
    request = as_dict(event.get("request"))
    status = transaction_status(event)
    name = as_line(event.get("transaction"))
    yield Entry(
        kind=REQUEST,
        summary=Summary(
            title=_target(request.get("method"), request.get("url")) or name or "(no name)",
            detail=as_line(trace.get("op")),
            level=status_level(status),
            transaction=name,
            when=as_moment(event.get("start_timestamp")),
        ),
        trace_id=as_id(trace.get("trace_id")),
        span_id=as_id(trace.get("span_id")),
        status=status,
        duration=elapsed(event.get("start_timestamp"), event.get("timestamp")),
        service=own_name(event, {}),
        text=request_text(event),
        calls=calls_of(as_dicts(event.get("spans"))),
    )


def transaction_status(event: Payload) -> str:
    """The HTTP status of a transaction's response where it tells one, else its own word."""
    contexts = as_dict(event.get("contexts"))
    trace = as_dict(contexts.get("trace"))
    code = as_dict(contexts.get("response")).get("status_code")
    code = code or as_dict(trace.get("data")).get("http.response.status_code")
    code = code or as_dict(event.get("tags")).get("http.status_code")
    return as_line(code or trace.get("status"), 40)


def _spans(batch: Payload) -> Iterator[Entry]:
    for position, span in enumerate(items_of(batch)):
        data = attributes(span.get("attributes"))
        segment = span.get("is_segment") is True
        name = as_line(span.get("name")) or as_line(span.get("description")) or "(no name)"
        status = as_line(data.get("http.response.status_code") or span.get("status"), 40)
        target = _target(
            data.get("http.request.method"), data.get("url.full") or data.get("url.path")
        )
        yield Entry(
            kind=REQUEST if segment else SPAN,
            summary=Summary(
                title=(target if segment else "") or name,
                detail=as_line(data.get("sentry.op") or span.get("op")),
                level=status_level(status),
                transaction=name if segment else as_line(data.get("sentry.segment.name")),
                when=as_moment(span.get("start_timestamp")),
            ),
            trace_id=as_id(span.get("trace_id")),
            span_id=as_id(span.get("span_id")),
            status=status,
            duration=elapsed(span.get("start_timestamp"), span_end(span)),
            position=position,
            service=own_name({}, data),
            text=attributes_text(data),
            calls=() if segment else calls_of([shaped(span, name, data)]),
        )


def shaped(span: Payload, name: str, data: Payload) -> Payload:
    """A streamed span, as a transaction would bring it."""
    return {
        **span,
        "description": name,
        "op": data.get("sentry.op") or span.get("op"),
        "timestamp": span_end(span),
        "data": data,
    }


def span_end(span: Payload) -> Any:
    """When a span ended; streamed ones say `end_timestamp`."""
    return span.get("end_timestamp", span.get("timestamp"))


def items_of(batch: Payload) -> list[Payload]:
    """The entries of a batch; an old SDK sends one span bare."""
    return as_dicts(batch["items"]) if "items" in batch else [batch]


def _logs(batch: Payload) -> Iterator[Entry]:
    for position, log in enumerate(items_of(batch)):
        data = attributes(log.get("attributes"))
        yield Entry(
            kind=LOG,
            summary=Summary(
                title=as_line(log.get("body")) or "(empty)",
                detail="",
                level=level(log.get("level")),
                transaction=as_line(data.get("logger.name") or data.get("sentry.origin")),
                when=as_moment(log.get("timestamp")),
            ),
            trace_id=as_id(log.get("trace_id")),
            span_id=as_id(log.get("span_id") or data.get("sentry.trace.parent_span_id")),
            position=position,
            site=Site("", code_place(data)),
            service=own_name({}, data),
            text=attributes_text(data),
        )


def _metrics(batch: Payload) -> Iterator[Entry]:
    for position, metric in enumerate(items_of(batch)):
        amount = f"{as_line(metric.get('value'))} {as_line(metric.get('unit'))}"
        yield Entry(
            kind=METRIC,
            summary=Summary(
                title=as_line(metric.get("name")) or "(no name)",
                detail=amount.strip(),
                level="debug",
                transaction=as_line(metric.get("type")),
                when=as_moment(metric.get("timestamp")),
            ),
            trace_id=as_id(metric.get("trace_id")),
            span_id=as_id(metric.get("span_id")),
            position=position,
        )


def _session(session: Payload) -> Iterator[Entry]:
    when = as_moment(session.get("timestamp"))
    yield _other("session", as_line(session.get("status")), when)


def _sessions(batch: Payload) -> Iterator[Entry]:
    counts = dict.fromkeys(("exited", "errored", "abnormal", "crashed"), 0)
    for group in as_dicts(batch.get("aggregates")):
        for name in counts:
            counts[name] += as_number(group.get(name)) or 0
    yield _other(
        "sessions", ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    )


def _check_in(check_in: Payload) -> Iterator[Entry]:
    slug = as_line(check_in.get("monitor_slug"))
    yield _other("check-in", f"{slug} {as_line(check_in.get('status'))}".strip())


def _client_report(report: Payload) -> Iterator[Entry]:
    lost = (
        f"{as_line(one.get('quantity'))} {as_line(one.get('category'))}: {as_line(one.get('reason'))}"
        for one in as_dicts(report.get("discarded_events"))[:5]
    )
    detail, when = "; ".join(lost), as_moment(report.get("timestamp"))
    if losses(report):
        yield Entry(LOSS, Summary("client report", clean(detail, MAX_LINE), "warning", "", when))
    else:
        yield _other("client report", detail, when)


def losses(report: Payload) -> Counter[str]:
    """How much of each category an SDK could not send; not what the app's options leave out."""
    lost: Counter[str] = Counter()
    for one in as_dicts(report.get("discarded_events"))[:MAX_LIST]:
        reason, category = as_line(one.get("reason"), 60), as_line(one.get("category"), 60)
        wanted = reason in _WANTED or reason.startswith("before_send")
        if not wanted and not category.endswith("_byte"):
            lost[category.removesuffix("_item")] += as_number(one.get("quantity")) or 0
    return +lost


def _profile(profile: Payload) -> Iterator[Entry]:
    samples = len(as_list(as_dict(profile.get("profile")).get("samples")))
    name = as_line(as_dict(profile.get("transaction")).get("name"))
    yield _other(PROFILE, f"{name} {samples} samples".strip(), as_moment(profile.get("timestamp")))


def _other(title: str, detail: str, when: str = "") -> Entry:
    return Entry(OTHER, Summary(clean(title, MAX_LINE), clean(detail, MAX_LINE), "debug", "", when))


_MAKERS: dict[str, Callable[[Payload], Iterator[Entry]]] = {
    "event": _error,
    "transaction": _transaction,
    "span": _spans,
    "log": _logs,
    "trace_metric": _metrics,
    "session": _session,
    "sessions": _sessions,
    "check_in": _check_in,
    "client_report": _client_report,
    "profile": _profile,
    "profile_chunk": _profile,
}

JSON_ITEMS = frozenset(_MAKERS)
"""Types of items whose payload must be a JSON object."""


def level(value: Any) -> str:
    """A level's name as pages know it: SDKs say `warn` in logs and `warning` in events."""
    name = as_line(value, 20)
    return {"warn": "warning", "": "info", "trace": "debug"}.get(name, name)


def status_level(status: str) -> str:
    """How bad a status is, as an error's level would say it."""
    if status.isascii() and status.isdigit():
        code = int(status)
        server_error, client_error = HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.BAD_REQUEST
        return "error" if code >= server_error else "warning" if code >= client_error else "info"
    fine = status in {"", "ok", "cancelled"}
    return "info" if fine else "error"


def elapsed(start: Any, end: Any) -> float | None:
    """Seconds between two moments, never less than none; None if one is not told."""
    began, ended = as_seconds(start), as_seconds(end)
    return None if began is None or ended is None else max(0.0, ended - began)


def _target(method: Any, url: Any) -> str:
    """`GET /path`, without the scheme and the host that all of an app's requests share."""
    verb, address = as_line(method, 20), as_line(url)
    if not (verb and address):
        return ""
    try:
        parts = urlsplit(address)
    except ValueError:
        return f"{verb} {address}"
    return (
        f"{verb} {parts.path or '/'}"
        if parts.scheme or address.startswith("/")
        else f"{verb} {address}"
    )
