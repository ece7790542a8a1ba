"""One request with all that is kept of it: its spans, errors, logs, response, and what is wrong with it.

The rules:

- A request is known by its `span_id`: that of its transaction, or of its segment where spans are
  streamed. Both make the same facts.
- What happened at one of its spans is the request's. What names a span that is not here is of
  the requests of its own project.
- Neighbours in time that are equal but for their values are one moment, from `FOLD` on.
- Reading is bounded: so many entries and so many bytes of a trace, and of all that a list asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from .entries import BLOCKED, ERROR, LOG, REQUEST
from .envelope import MAX_JSON, MEBIBYTE
from .exchanges import Exchange, find_exchange
from .findings import Finding, findings
from .rejections import Reason, reasons
from .shapes import shape
from .spans import Span, spans_of
from .store import Filter, Listed, Store, Stored

FOLD = 3
MAX_SPANS = 5000
MAX_BESIDE = 500
MAX_MOMENTS = 1000
MAX_LIST_BYTES = 2 * MEBIBYTE
MAX_KNOWN = 2000


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that a request did: `begins` and `lasts` are in milliseconds, from its beginning.

    `kind` is query, call, cache, log or error. `held` are the equal ones that it stands for.
    """

    kind: str
    begins: float
    lasts: float
    text: str
    where: str = ""
    span: Span | None = None
    listed: Listed | None = None
    held: tuple[Moment, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """A request. `spans` are its own, in order of time; `beneath` are these and what other services did for
    it. `payload` is its transaction's, as sent.
    """

    listed: Listed
    spans: tuple[Span, ...]
    beneath: tuple[Span, ...]
    errors: tuple[Listed, ...]
    logs: tuple[Listed, ...]
    exchange: Exchange | None
    reasons: tuple[Reason, ...]
    findings: tuple[Finding, ...]
    moments: tuple[Moment, ...]
    payload: bytes

    @property
    def queries(self) -> int:
        """How many queries it made."""
        return sum(span.is_query for span in self.spans)


def find_request(store: Store, span_id: str) -> Listed | None:
    """The newest request of that span id, or None."""
    rows = store.read(
        "SELECT max(id) FROM entries WHERE kind = 'request' AND span_id = ? AND span_id != ''",
        (span_id,),
    )
    number = rows[0][0]
    if number is None:
        return None
    found = store.entries(Filter([REQUEST]), limit=1, before=number + 1, after=number - 1)
    return found[0] if found else None


def request_facts(store: Store, listed: Listed) -> RequestFacts:
    """All that is kept of a request."""
    found = store.trace(listed.trace_id, limit=MAX_SPANS, most=MAX_JSON) if listed.trace_id else []
    found = found or _alone(store, listed)
    everything = list(spans_of(found))
    own = sorted(_own(listed, everything), key=lambda span: (span.start, -span.end))
    beside = _beside(listed, own, everything, [one.listed for one in found])
    errors = tuple(worst_first(one for one in beside if one.kind == ERROR))
    logs = tuple(one for one in beside if one.kind == LOG)[:MAX_BESIDE]
    exchange = find_exchange(store, span_id=listed.span_id, event_id=listed.event_id)
    payload = next((one.payload for one in found if one.listed.number == listed.number), b"")
    return RequestFacts(
        listed=listed,
        spans=tuple(own),
        beneath=tuple(_beneath(own, everything)),
        errors=errors,
        logs=logs,
        exchange=exchange,
        reasons=reasons(exchange),
        findings=(*rejected(exchange), *findings(own, errors)),
        moments=tuple(moments(listed, own, (*errors, *logs))),
        payload=payload if listed.event_id else b"",
    )


def worst_first(errors: Iterable[Listed]) -> list[Listed]:
    """Exceptions before messages, which often only repeat them."""
    return sorted(errors, key=lambda one: not one.raised)


def _alone(store: Store, listed: Listed) -> list[Stored]:
    payloads = store.payloads([listed.item], most=MAX_JSON)
    return [Stored(listed, payloads.get(listed.item, b""))]


def _own(listed: Listed, spans: Iterable[Span]) -> list[Span]:
    return [span for span in spans if span.segment_id == listed.span_id]


def _beneath(own: Sequence[Span], spans: Iterable[Span]) -> Iterator[Span]:
    """These spans and all that have one of them above them."""
    children: dict[str, list[Span]] = {}
    for span in spans:
        children.setdefault(span.parent_id, []).append(span)
    seen, waiting = set[int](), list(own)
    while waiting:
        span = waiting.pop()
        if id(span) not in seen:
            seen.add(id(span))
            yield span
            waiting += children.get(span.span_id, ()) if span.span_id else ()


def _beside(
    listed: Listed, own: Sequence[Span], spans: Sequence[Span], found: Iterable[Listed]
) -> list[Listed]:
    mine = {span.span_id for span in own}
    others = {span.span_id for span in spans} - mine
    return [
        one
        for one in found
        if one.kind in {ERROR, LOG}
        and (one.span_id in mine or (one.span_id not in others and one.project == listed.project))
    ]


def rejected(exchange: Exchange | None) -> Iterator[Finding]:
    """Why a request was refused, as a finding."""
    found = reasons(exchange)
    if not found or exchange is None:
        return
    first = found[0]
    yield Finding(
        rule="rejected",
        badge=first.where or first.message,
        title=f"Answered {exchange.status}, because {first}",
        subject="; ".join(map(str, found[1:])),
        advice="The body, the query or a header does not fit what the route declares.",
        lasts=0.0,
    )


# What happened, in order of time.


def moments(listed: Listed, spans: Sequence[Span], beside: Iterable[Listed]) -> Iterator[Moment]:
    """Queries, outgoing calls, errors and logs in order of time, equal neighbours in one.

    A log that says the same as an error is left out.
    """
    start = spans[0].start if spans else listed.moment
    found = [
        Moment(kind, (span.start - start) * 1000, span.lasts, span.name, span.where, span)
        for span in spans
        if (kind := _kind(span))
    ]
    said = {one.summary.title for one in beside if one.kind == ERROR}
    found += [
        Moment(
            one.kind,
            max(0.0, one.moment - start) * 1000,
            0.0,
            one.summary.title,
            one.spot,
            listed=one,
        )
        for one in beside
        if one.kind == ERROR or one.summary.title not in said
    ]
    found.sort(key=lambda one: one.begins)
    for (kind, _), run in groupby(found[:MAX_MOMENTS], key=lambda one: (one.kind, _alike(one))):
        yield from _folded(kind, tuple(run))


def _kind(span: Span) -> str:
    if span.is_query:
        return "query"
    if span.is_call:
        return "call"
    return "cache" if span.op.startswith("cache.") else ""


def _alike(moment: Moment) -> str:
    return f"{moment.kind} {shape(moment.text)} {moment.where}"


def _folded(kind: str, run: tuple[Moment, ...]) -> Iterator[Moment]:
    if len(run) < FOLD or kind == ERROR:
        yield from run
        return
    lasts = sum(one.lasts for one in run)
    yield Moment(
        kind, run[0].begins, lasts, shape(run[0].text), run[0].where, run[0].span, held=run
    )


# What is wrong with each request of a list.


class Diagnoses:
    """What is wrong with requests, remembered as long as nothing new is kept of their trace."""

    def __init__(self, store: Store) -> None:
        """Ask `store`."""
        self._store = store
        self._known: dict[int, tuple[tuple[int, int], tuple[Finding, ...]]] = {}

    def of(self, listed: Sequence[Listed]) -> dict[int, tuple[Finding, ...]]:
        """The findings of each request of a list, by its number; of those that are too much to read, none."""
        requests = [one for one in listed if one.kind == REQUEST]
        states = {one.number: self._state(one) for one in requests}
        unknown = [
            one for one in requests if self._known.get(one.number, (None,))[0] != states[one.number]
        ]
        reader = _Reader(self._store)
        for one in unknown:
            spans = reader.spans(one)
            if spans is not None:  # else there may be room for it when the others are known
                self._known[one.number] = states[one.number], self._diagnose(one, spans)
        for number in list(islice(self._known, max(0, len(self._known) - MAX_KNOWN))):
            if number not in states:
                del self._known[number]
        return {number: self._known[number][1] for number in states if number in self._known}

    def _state(self, listed: Listed) -> tuple[int, int]:
        rows = self._store.read(
            "SELECT (SELECT count(*) FROM entries WHERE trace_id = ? AND trace_id != ''),"
            " (SELECT max(id) FROM exchanges WHERE span_id = ? AND span_id != '')",
            (listed.trace_id, listed.span_id),
        )
        return rows[0][0], rows[0][1] or 0

    def _diagnose(self, listed: Listed, spans: Sequence[Span]) -> tuple[Finding, ...]:
        exchange = find_exchange(self._store, span_id=listed.span_id, event_id=listed.event_id)
        wrong = findings(_own(listed, spans), self._blocks(listed))
        return (*rejected(exchange), *wrong)

    def _blocks(self, listed: Listed) -> list[Listed]:
        """The events of a blocked loop in its trace."""
        rows = self._store.read(
            "SELECT id FROM entries WHERE trace_id = ? AND trace_id != '' AND kind = 'error'"
            " AND title = ? ORDER BY id LIMIT ?",
            (listed.trace_id, BLOCKED, FOLD),
        )
        found = (self._store.entry(number) for (number,) in rows)
        return [one for one in found if one and one.project == listed.project]


class _Reader:
    """Reads the spans of a list's requests: so many bytes of them all, each trace once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._room = MAX_LIST_BYTES
        self._streamed: dict[str, list[Span]] = {}

    def spans(self, listed: Listed) -> list[Span] | None:
        """Those of its trace or transaction; None if it is too much to read."""
        if listed.event_id or not listed.trace_id:
            payloads = self._store.payloads([listed.item], most=self._room)
            found = [Stored(listed, payload) for payload in payloads.values()]
            return self._read(found) if found else None
        if listed.trace_id not in self._streamed:
            found = self._store.trace(listed.trace_id, limit=MAX_SPANS, most=self._room)
            self._streamed[listed.trace_id] = self._read(found)
        return self._streamed[listed.trace_id]

    def _read(self, found: Sequence[Stored]) -> list[Span]:
        self._room -= sum({one.listed.item: len(one.payload) for one in found}.values())
        return list(spans_of(found))
