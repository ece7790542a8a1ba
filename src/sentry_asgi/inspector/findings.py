"""What is wrong with a request, as its spans, errors and response tell. Pure.

The rules, each with its threshold (docs/findings.md says the same for people):

- `n-plus-one`: one span makes the same query `MANY` times or more, with other values.
- `slow-query`: a query takes `SLOW_QUERY` milliseconds or more.
- `repeated-call`: a request asks the same URL `MANY_CALLS` times or more (GET and HEAD alone).
- `calls-in-a-row`: one span makes `IN_A_ROW` or more outgoing calls one after the other, none
  beginning before the last one has ended, which take `ROW_TIME` milliseconds or more together.
- `loop-blocked`: the request's span tells so, or an `EventLoopBlocked` event came with it.
- `large-response`: the response's body has `LARGE_RESPONSE` bytes or more.
- `gap`: for `GAP` milliseconds or more, and `GAP_SHARE` of the request or more, before the response
  begins, nothing is known to happen, though the request has spans.

Nothing is guessed: what is found can be seen in the trace. Queries are the same if only their values
differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from .entries import BLOCKED
from .shapes import shape
from .spans import Span
from .store import Listed

MANY = 5
SLOW_QUERY = 100.0
MANY_CALLS = 3
IN_A_ROW = 3
ROW_TIME = 100.0
LARGE_RESPONSE = 1024 * 1024
GAP = 100.0
GAP_SHARE = 0.3
MAX_FINDINGS = 10
_BLOCKED_MS = "event_loop.blocked_ms"

TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong; `lasts` is in milliseconds, all together.

    `badge` says it in a list; `subject` is a query, a URL or the like; `where` is the line that does it,
    if known. `span_id` leads to the first span, `event_id` to an event.
    """

    rule: str
    badge: str
    title: str
    subject: str
    advice: str
    lasts: float
    count: int = 1
    where: str = ""
    within: str = ""
    span_id: str = ""
    event_id: str = ""


def findings(spans: Sequence[Span], errors: Sequence[Listed] = ()) -> list[Finding]:
    """What is wrong with one request, or with a whole trace; what takes longest comes first."""
    ordered = sorted(spans, key=lambda span: span.start)
    found = list(_blocked(ordered, errors))
    for rule in _RULES:
        found += rule(ordered)
    if not any(one.rule == "loop-blocked" for one in found):
        found += _gaps(ordered)
    return sorted(found, key=lambda one: -one.lasts)[:MAX_FINDINGS]


def milliseconds(amount: float) -> str:
    """A duration for people."""
    if amount >= 1000:  # noqa: PLR2004
        return f"{amount / 1000:.2f} s"
    return f"{amount:.0f} ms" if amount >= 10 else f"{amount:.1f} ms"  # noqa: PLR2004


def _grouped(
    spans: Iterable[Span], key: Callable[[Span], tuple[str, str]]
) -> dict[tuple[str, str], list[Span]]:
    groups: dict[tuple[str, str], list[Span]] = {}
    for span in spans:
        groups.setdefault(key(span), []).append(span)
    return groups


def _n_plus_one(spans: Sequence[Span]) -> Iterator[Finding]:
    names = {span.span_id: span.name for span in spans}
    queries = (span for span in spans if span.is_query)
    for (parent, query), group in _grouped(
        queries, lambda span: (span.parent_id, shape(span.name))
    ).items():
        if len(group) < MANY:
            continue
        lasts = sum(span.lasts for span in group)
        yield Finding(
            rule="n-plus-one",
            badge=f"N+1 {TIMES}{len(group)}",
            title=f"{len(group)}{TIMES} the same query, {milliseconds(lasts / len(group))} each",
            subject=query,
            advice="One query for each row? Fetch them at once.",
            lasts=lasts,
            count=len(group),
            where=_where(group),
            within=names.get(parent, ""),
            span_id=group[0].span_id,
        )


def _slow_queries(spans: Sequence[Span]) -> Iterator[Finding]:
    slow = (span for span in spans if span.is_query and span.lasts >= SLOW_QUERY)
    for (_, query), group in _grouped(slow, lambda span: ("", shape(span.name))).items():
        worst = max(group, key=lambda span: span.lasts)
        times = f", {len(group)} times" if len(group) > 1 else ""
        yield Finding(
            rule="slow-query",
            badge=f"slow query {milliseconds(worst.lasts)}",
            title=f"A query that takes {milliseconds(worst.lasts)}{times}",
            subject=query,
            advice="Is there an index for it, and does it fetch more than is used?",
            lasts=sum(span.lasts for span in group),
            count=len(group),
            where=_where([worst, *group]),
            span_id=worst.span_id,
        )


def _repeated_calls(spans: Sequence[Span]) -> Iterator[Finding]:
    safe = (span for span in spans if span.is_call and span.name.startswith(("GET ", "HEAD ")))
    for (_, url), group in _grouped(safe, lambda span: (span.segment_id, _url(span))).items():
        if len(group) < MANY_CALLS:
            continue
        lasts = sum(span.lasts for span in group)
        yield Finding(
            rule="repeated-call",
            badge=f"same call {TIMES}{len(group)}",
            title=f"{len(group)}{TIMES} the same outgoing call, {milliseconds(lasts)} together",
            subject=url,
            advice="Ask once, and keep the answer for the request.",
            lasts=lasts,
            count=len(group),
            where=_where(group),
            span_id=group[0].span_id,
        )


def _calls_in_a_row(spans: Sequence[Span]) -> Iterator[Finding]:
    calls = (span for span in spans if span.is_call)
    for group in _grouped(calls, lambda span: (span.segment_id, span.parent_id)).values():
        for row in _rows(group):
            lasts = sum(span.lasts for span in row)
            if len({_url(span) for span in row}) < IN_A_ROW or lasts < ROW_TIME:
                continue
            longest = max(span.lasts for span in row)
            yield Finding(
                rule="calls-in-a-row",
                badge=f"{len(row)} calls in a row",
                title=f"{len(row)} outgoing calls one after the other, {milliseconds(lasts)} together",
                subject=", ".join(dict.fromkeys(span.name for span in row)),
                advice="If none needs another's answer, gather them: at once they take as long as the"
                f" longest, {milliseconds(longest)}.",
                lasts=lasts,
                count=len(row),
                where=_where(row),
                span_id=row[0].span_id,
            )


def _rows(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Runs of spans of which each begins when the last one has ended."""
    row: list[Span] = []
    for span in spans:
        if row and span.start < max(one.end for one in row[-1:]):
            yield row
            row = []
        row.append(span)
    yield row


def _large_responses(spans: Sequence[Span]) -> Iterator[Finding]:
    for span in spans:
        size = span.fact("http.response.body.size") if span.op == "http.server" else ""
        if size.isascii() and size.isdigit() and len(size) < 16 and int(size) >= LARGE_RESPONSE:  # noqa: PLR2004
            megabytes = f"{int(size) / 1024 / 1024:.1f} MB"
            yield Finding(
                rule="large-response",
                badge=megabytes,
                title=f"A response of {megabytes}",
                subject=span.name,
                advice="Does the client need all of it? Pages, fewer fields, compression.",
                lasts=0.0,
                span_id=span.span_id,
            )


def _blocked(spans: Sequence[Span], errors: Iterable[Listed]) -> Iterator[Finding]:
    """What blocked the loop: as the request's span tells it, and the event, which has the stack."""
    events = [error for error in errors if error.summary.title == BLOCKED]
    told = [span for span in spans if span.fact(_BLOCKED_MS)]
    for span in told:
        lasts = _told_milliseconds(f"{span.fact(_BLOCKED_MS)} ms")
        event = next((one for one in events if one.span_id == span.span_id), None)
        title = f"The event loop was blocked for {milliseconds(lasts)}"
        place = span.fact("event_loop.blocked_in")
        yield _block(title, place, lasts, event or next(iter(events), None), span.span_id)
    for event in events if not told else ():
        title = event.summary.detail or "The event loop was blocked"
        yield _block(title, event.spot, _told_milliseconds(title), event)


def _block(
    title: str, place: str, lasts: float, event: Listed | None, span_id: str = ""
) -> Finding:
    return Finding(
        rule="loop-blocked",
        badge=f"loop blocked {milliseconds(lasts)}" if lasts else "loop blocked",
        title=title,
        subject="",
        advice="Nothing else was served meanwhile. Await it, or run it in a thread.",
        lasts=lasts,
        where=place,
        span_id=span_id,
        event_id=event.event_id if event else "",
    )


def _told_milliseconds(text: str) -> float:
    """The first duration that a text tells."""
    found = re.search(r"(\d{1,9}(?:\.\d+)?) ?(ms|s)\b", text)
    return float(found[1]) * (1 if found[2] == "ms" else 1000) if found else 0.0


def _gaps(spans: Sequence[Span]) -> Iterator[Finding]:
    for request in spans:
        if request.op != "http.server" or request.span_id != request.segment_id:
            continue
        inner = [
            one for one in spans if one.segment_id == request.segment_id and one is not request
        ]
        start, end, before = _longest_gap(request, inner)
        lasts = (end - start) * 1000
        if inner and lasts >= GAP and lasts >= GAP_SHARE * request.lasts:
            after = f"after {before.name}" if before else "before the first span"
            yield Finding(
                rule="gap",
                badge=f"gap {milliseconds(lasts)}",
                title=f"{milliseconds(lasts)} that no span explains, {after}",
                subject=request.name,
                advice="The app's own computing, or something that is not traced: a profile, or a span"
                " of your own (sentry_sdk.start_span), tells.",
                lasts=lasts,
                span_id=before.span_id if before else request.span_id,
            )


def _longest_gap(request: Span, inner: Sequence[Span]) -> tuple[float, float, Span | None]:
    """The longest time before the response in which none of these spans is open."""
    last = _first_byte(request)
    longest: tuple[float, float, Span | None] = (request.start, request.start, None)
    open_until, latest = request.start, None
    leaves = {span.span_id for span in inner} - {span.parent_id for span in inner}
    for span in (one for one in inner if one.span_id in leaves):
        begins = min(span.start, last)
        if begins - open_until > longest[1] - longest[0]:
            longest = open_until, begins, latest
        if span.end > open_until:
            open_until, latest = span.end, span
    if last - open_until > longest[1] - longest[0]:
        longest = open_until, last, latest
    return longest


def _first_byte(request: Span) -> float:
    """When the response began; when the request ended, if that is not told."""
    try:
        return min(
            request.end, request.start + float(request.fact("http.request.time_to_first_byte"))
        )
    except ValueError:
        return request.end


def _url(span: Span) -> str:
    query = span.fact("http.query", "url.query")
    return f"{span.name}?{query}" if query and "?" not in span.name else span.name


def _where(spans: Iterable[Span]) -> str:
    return next((span.where for span in spans if span.where), "")


_RULES = (_n_plus_one, _slow_queries, _repeated_calls, _calls_in_a_row, _large_responses)
