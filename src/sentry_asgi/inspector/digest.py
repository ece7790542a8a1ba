"""An error in few words: what a person or an assistant needs to mend it, and no more. Pure.

The rules:

- What is told is plain data, as JSON has it: `brief` makes Markdown of the same.
- Of each exception there are the app's own frames, the innermost first, each with the lines around the one that
  failed; of libraries' frames their number, and the innermost one where the app has none.
- What happened before it in its trace is there: queries and outgoing calls, equal ones folded, and the last logs.
- Every list and every text is bounded; where something is left out, its number is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .asked import RequestView
from .curl import curl
from .exchanges import Exchange
from .findings import Finding
from .issues import Issue
from .requests import Moment, RequestFacts
from .shapes import shape
from .spans import Span
from .store import Listed
from .trace import Bar
from .values import Pairs, as_seconds, clean
from .views import EventView, ExceptionView, Frame

MAX_EXCEPTIONS = 5
MAX_FRAMES = 6
MAX_VARIABLES = 8
MAX_STATEMENTS = 6
MAX_LOGS = 5
MAX_MOMENTS = 60
_AROUND = 2
_VALUE = 120
_TEXT = 300
_BODY = 600
# Of the first frame; those further out tell where it was called, in one line.
_SHOWN = 1
_SLACK = 0.001  # seconds that a clock may be behind the span's

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Beside:
    """What is known beside an error: its request with the response, its spans, its logs.

    `traced`: whether its trace is here at all; `request_id` is the span id of the request.
    """

    request: RequestView | None
    exchange: Exchange | None
    spans: tuple[Span, ...]
    logs: tuple[Listed, ...]
    traced: bool
    request_id: str


def error_data(
    event: EventView, listed: Listed, issue: Issue, service: str, beside: Beside
) -> Data:
    """Everything there is to say of an error, in few words."""
    exceptions = event.exceptions[:MAX_EXCEPTIONS]
    before = list(_before(beside.spans, listed))
    return {
        **error_row(listed, issue),
        "message": clean(event.message or listed.summary.detail, _TEXT * 2),
        "service": service,
        "trace_id": event.trace_id,
        "request_id": beside.request_id,
        "exceptions": [exception_data(one) for one in exceptions],
        "more_exceptions": len(event.exceptions) - len(exceptions),
        "stack": frames_data(event.stack),
        "request": request_data(beside.request, beside.exchange),
        "queries": statements(one for one in before if one.is_query),
        "calls": statements(one for one in before if one.is_call),
        "logs": logs_data(beside.logs, listed),
        "breadcrumbs": [] if beside.traced else _breadcrumbs(event),
    }


def exception_data(exception: ExceptionView) -> Data:
    """One exception of a chain."""
    return {
        "type": exception.type,
        "value": clean(exception.value, _TEXT),
        "relation": exception.relation,
        "handled": exception.handled,
        **frames_data(exception.frames),
    }


def frames_data(frames: Sequence[Frame]) -> Data:
    """The app's own frames, the innermost first, and how many there are of libraries'."""
    own = [frame for frame in frames if frame.application]
    shown = own[:MAX_FRAMES] or list(frames[:1])
    told = [_frame(frame, whole=number < _SHOWN) for number, frame in enumerate(shown)]
    libraries = sum(not frame.application for frame in frames)
    return {
        "frames": told,
        "more_frames": max(0, len(own) - MAX_FRAMES),
        "library_frames": libraries - (0 if own else len(shown)),
    }


def _frame(frame: Frame, *, whole: bool) -> Data:
    place = next((index for index, line in enumerate(frame.lines) if line.current), 0)
    around = frame.lines[max(0, place - _AROUND) : place + _AROUND + 1]
    lines = [asdict(line) for line in around if whole or line.current]
    variables = frame.variables[:MAX_VARIABLES] if whole else ()
    return {
        "file": frame.filename or frame.module,
        "line": frame.lineno,
        "function": frame.function,
        "library": not frame.application,
        "source": lines,
        "variables": [[name, clean(value, _VALUE)] for name, value in variables],
        "more_variables": len(frame.variables) - len(variables) if whole else 0,
    }


def request_data(request: RequestView | None, exchange: Exchange | None) -> Data | None:
    """What was asked, and, where `dev` has seen it, what was answered."""
    if request is None:
        return None
    command = curl(request)
    query = "&".join(f"{name}={value}" if value else name for name, value in request.query)
    return {
        "method": request.method,
        "url": request.url,
        "query": clean(query, _TEXT),
        "body": clean(request.body, _BODY),
        "status": exchange.status if exchange else None,
        "response": clean(exchange.response_body or "", _BODY) if exchange else "",
        "curl": command.text,
        "curl_lacks": list(command.lacks),
    }


def _before(spans: Iterable[Span], listed: Listed) -> Iterator[Span]:
    """The spans that had begun when the error happened."""
    happened = as_seconds(listed.summary.when) or listed.received
    return (span for span in spans if span.start <= happened + _SLACK)


def statements(spans: Iterable[Span]) -> list[Data]:
    """Queries or calls, equal ones folded, the latest last: what, how often, how long all together (ms)."""
    groups: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda one: one.start):
        groups.setdefault(shape(span.name), []).append(span)
    ordered = sorted(groups.items(), key=lambda group: group[1][-1].start)
    return [
        {
            # One keeps its values; of many, all that they have in common is told.
            "statement": clean(name if len(equal) > 1 else equal[0].name, _TEXT),
            "count": len(equal),
            "milliseconds": round(sum(one.lasts for one in equal), 2),
            "status": equal[-1].status,
            "where": equal[-1].where,
        }
        for name, equal in ordered[-MAX_STATEMENTS:]
    ]


def logs_data(logs: Sequence[Listed], but: Listed | None = None) -> list[Data]:
    """The last logs, without one that only repeats the error."""
    told = [one for one in logs if but is None or one.summary.title != but.summary.title]
    return [log_data(one) for one in told[-MAX_LOGS:]]


def log_data(log: Listed) -> Data:
    """One log."""
    return {
        "when": log.summary.when,
        "level": log.summary.level,
        "logger": log.summary.transaction,
        "message": clean(log.summary.title, _TEXT),
        "trace_id": log.trace_id,
    }


def _breadcrumbs(event: EventView) -> list[Data]:
    """What the SDK kept of what happened before, where there is no trace."""
    return [
        {"when": one.when, "category": one.category, "message": clean(one.message, _TEXT)}
        for one in event.breadcrumbs[-MAX_LOGS:]
        if one.message
    ]


def bar_data(bar: Bar) -> Data:
    """One span of a waterfall; times are milliseconds since the trace began."""
    span = bar.span
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "op": span.op,
        "service": span.service,
        "status": span.status,
        "depth": bar.depth,
        "where": span.where,
        "begins": round(bar.begins, 2),
        "lasts": round(bar.lasts, 2),
        "data": _chosen(span.data),
        "errors": [one.event_id for one in bar.errors],
    }


def _chosen(data: Pairs) -> Data:
    """What a span tells of its request or its query; not what the SDK tells of itself."""
    return {
        name: clean(value, _TEXT)
        for name, value in data
        if value and not name.startswith(("sentry.", "thread.", "process."))
    }


# One request.


def request_page(facts: RequestFacts, request: RequestView | None) -> Data:
    """A request: what was asked and answered, what it did in order of time, what is wrong with it."""
    shown = facts.moments[:MAX_MOMENTS]
    return {
        **request_row(facts.listed, facts.findings),
        "asked": request_data(request, facts.exchange),
        "reasons": [str(reason) for reason in facts.reasons],
        "errors": [error_row(one, None) for one in facts.errors],
        "queries": facts.queries,
        "moments": [_moment(one) for one in shown],
        "more_moments": len(facts.moments) - len(shown),
    }


def _moment(moment: Moment) -> Data:
    return {
        "kind": moment.kind,
        "text": clean(moment.text, _TEXT),
        "count": len(moment.held) or 1,
        "begins": round(moment.begins, 2),
        "milliseconds": round(moment.lasts, 2),
        "where": moment.where,
    }


def finding_data(finding: Finding) -> Data:
    """Something that is wrong."""
    return {
        "rule": finding.rule,
        "title": clean(finding.title, _TEXT),
        "subject": clean(finding.subject, _TEXT),
        "advice": finding.advice,
        "count": finding.count,
        "milliseconds": round(finding.lasts, 2),
        "where": finding.where,
    }


# Lines of lists.


def error_row(one: Listed, issue: Issue | None) -> Data:
    """One line of a list."""
    about = one.summary
    return {
        "event_id": one.event_id,
        "title": about.title,
        "message": about.detail,
        "level": about.level,
        "place": one.spot,
        "route": about.transaction,
        "routes": list(issue.routes) if issue else [about.transaction],
        "service": _service(one),
        "when": about.when,
        "first": issue.first.summary.when if issue else about.when,
        "count": issue.count if issue else 1,
        "new": bool(issue and issue.is_new),
        "trace_id": one.trace_id,
        "path": f"/events/{one.event_id}",
    }


def request_row(one: Listed, findings: Sequence[Finding] = ()) -> Data:
    """One line of a list."""
    about = one.summary
    return {
        "request_id": one.span_id,
        "trace_id": one.trace_id,
        "request": about.title,
        "status": one.status,
        "milliseconds": None if one.duration is None else round(one.duration * 1000, 2),
        "route": about.transaction,
        "service": _service(one),
        "when": about.when,
        "findings": [finding_data(finding) for finding in findings],
        "path": f"/requests/{one.span_id}" if one.span_id else "",
    }


def _service(one: Listed) -> str:
    return "" if one.project.isdigit() or one.project == "spotlight" else one.project
