"""What an inspector answers to programs: from the store to plain data. Blocking; called in threads.

The rules:

- An answer is a dict as JSON has it, under the names that docs/agents.md lists; `brief` makes Markdown of it.
- A question that makes no sense is refused with what would make sense: `QuestionError`. What is not
  here is `None`.
- Lists have the newest first, at most `MAX_LIMIT`, and tell whether there is more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from .digest import (
    Beside,
    Data,
    bar_data,
    error_data,
    error_row,
    finding_data,
    log_data,
    logs_data,
    request_page,
    request_row,
)
from .entries import ERROR, LOG, REQUEST
from .envelope import MAX_JSON
from .exchanges import find_exchange
from .figures import queries, routes
from .findings import findings
from .issues import describe, issue_of
from .lists import decoded, number
from .questions import (
    EXAMPLES,
    Params,
    QuestionError,
    event_named,
    flag,
    level,
    limit,
    moment,
    rank,
    words,
)
from .requests import Diagnoses, find_request, request_facts
from .services import service_name
from .spans import spans_of
from .store import Filter, Listed, Store, Stored
from .trace import trace_view
from .values import as_id
from .views import event_view, request_of

LATEST = "latest"
LATEST_REQUEST = "latest-request"
MAX_SPANS = 200
MAX_FIGURES = 20
MAX_SORTED = 10_000
# Of the newest requests, so many are looked at for what is wrong with them.
MAX_LOOKED_AT = 50
_MAX_TRACE = 5000
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class _Since:
    """From where on: above a number of the store, and not before a moment."""

    number: int = 0
    seconds: float = 0.0


class Answers:
    """Answers over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._diagnoses = Diagnoses(store)

    # Lists.

    def index(self, params: Params) -> Data:
        """What there is of each kind, the newest of it: `since`, `text`, `limit`."""
        kinds = (self.errors, self.requests, self.logs)
        return {"kind": "index", "lists": [make(params) for make in kinds]}

    def errors(self, params: Params) -> Data:
        """Errors and messages, equal ones as one: `since`, `text`, `limit`, `each`."""
        since, most = self._since(params), limit(params)
        each = flag(params, "each")
        chosen = Filter([ERROR], text=words(params), grouped=not each)
        found = list(self._found(chosen, since, most + 1))
        issues = {} if each else describe(self._store, found)
        rows = [error_row(one, issues.get(one.site)) for one in found[:most]]
        return _listed("errors", rows, more=len(found) > most, newest=self._store.newest())

    def requests(self, params: Params) -> Data:
        """Requests: `since`, `slow` (milliseconds; the slowest first), `status`, `text`, `limit`."""
        since, most = self._since(params), limit(params)
        slow = str(params.get("slow") or "") != ""
        chosen = Filter([REQUEST], text=words(params))
        found = list(self._found(chosen, since, MAX_SORTED if slow else most + 1))
        if slow:
            found.sort(key=lambda one: one.duration or 0.0, reverse=True)
        diagnoses = self._diagnoses.of(found[:most])
        rows = [request_row(one, diagnoses.get(one.number, ())) for one in found[:most]]
        return _listed("requests", rows, more=len(found) > most, newest=self._store.newest())

    def logs(self, params: Params) -> Data:
        """Logs: `since`, `level` (at least), `text`, `trace`, `limit`."""
        since, most = self._since(params), limit(params)
        least, trace = level(params), as_id(str(params.get("trace") or ""))

        def fits(one: Listed) -> bool:
            return rank(one.summary.level) >= least and trace in {"", one.trace_id}

        found = list(self._found(Filter([LOG], text=words(params)), since, most + 1, fits))
        rows = [log_data(one) for one in found[:most]]
        return _listed("logs", rows, more=len(found) > most, newest=self._store.newest())

    def findings(self, params: Params) -> Data:
        """What is wrong with the newest requests, the same of a route as one: `since`."""
        found = list(self._found(Filter([REQUEST]), self._since(params), MAX_LOOKED_AT))
        diagnoses = self._diagnoses.of(found)
        told: dict[tuple[str, str, str], Data] = {}
        for one in found:
            for finding in diagnoses.get(one.number, ()):
                key = finding.rule, finding.subject or finding.title, one.summary.transaction
                same = told.setdefault(
                    key, {**finding_data(finding), "requests": 0, "request": request_row(one)}
                )
                same["requests"] += 1
        rows = sorted(told.values(), key=lambda row: -row["milliseconds"])
        return {
            **_listed("findings", rows, more=False, newest=self._store.newest()),
            "looked_at": len(found),
        }

    def figures(self, _params: Params) -> Data:
        """Figures of routes and of queries, those that take most time together first."""
        return {
            "kind": "figures",
            "routes": [asdict(one) for one in routes(self._store)[:MAX_FIGURES]],
            "queries": [asdict(one) for one in queries(self._store)[:MAX_FIGURES]],
            "path": "/figures",
        }

    # One of them.

    def show(self, name: str) -> Data | None:
        """An error by its event's id, a request by its span's, a trace by its own; or the newest."""
        if name in {LATEST, LATEST_REQUEST}:
            kind = ERROR if name == LATEST else REQUEST
            newest = self._store.entries(Filter([kind]), limit=1)
            return self._of(newest[0]) if newest else None
        identity = as_id(name)
        stored = self._store.event(identity)
        if stored is not None:
            return self._of(stored.listed)
        return self.request(identity) or self.trace(identity)

    def _of(self, listed: Listed) -> Data | None:
        if listed.kind == ERROR:
            stored = self._store.event(listed.event_id)
            return None if stored is None else self._error(stored)
        return self._request(listed) if listed.kind == REQUEST else None

    def _error(self, stored: Stored) -> Data:
        payload, listed = decoded(stored.payload), stored.listed
        event = event_view(payload)
        found = self._store.trace(event.trace_id, limit=_MAX_TRACE, most=MAX_JSON)
        spans = list(spans_of(found))
        segment = next((one.segment_id for one in spans if one.span_id == event.span_id), "")
        own = [one for one in spans if segment in {"", one.segment_id}]
        exchange = find_exchange(self._store, span_id=segment, event_id=listed.event_id)
        beside = Beside(
            request=request_of(payload.get("request"), exchange),
            exchange=exchange,
            spans=tuple(sorted(own, key=lambda one: one.start)),
            logs=tuple(one.listed for one in found if one.listed.kind == LOG),
            traced=bool(spans),
            request_id=segment,
        )
        service = service_name(listed.project, payload, {})
        issue = issue_of(self._store, listed)
        return {"kind": ERROR, **error_data(event, listed, issue, service, beside)}

    def request(self, span_id: str) -> Data | None:
        """One request."""
        listed = find_request(self._store, as_id(span_id))
        return None if listed is None else self._request(listed)

    def _request(self, listed: Listed) -> Data:
        facts = request_facts(self._store, listed)
        request = request_of(decoded(facts.payload).get("request"), facts.exchange)
        return {"kind": REQUEST, **request_page(facts, request)}

    def trace(self, trace_id: str) -> Data | None:
        """One trace: its spans, errors, logs and findings."""
        found = self._store.trace(as_id(trace_id), limit=_MAX_TRACE, most=MAX_JSON)
        view = trace_view(as_id(trace_id), found)
        if not (view.bars or view.logs or view.all_errors):
            return None
        wrong = findings([bar.span for bar in view.bars], view.all_errors)
        return {
            "kind": "trace",
            "trace_id": view.trace_id,
            "when": view.when,
            "milliseconds": round(view.lasts, 2),
            "services": [name for name, _ in view.services],
            "errors": [error_row(one, None) for one in view.all_errors],
            "findings": [finding_data(one) for one in wrong],
            "spans": [bar_data(bar) for bar in view.bars[:MAX_SPANS]],
            "more_spans": max(0, len(view.bars) - MAX_SPANS) + view.hidden,
            "logs": logs_data(view.logs),
            "path": f"/traces/{view.trace_id}",
        }

    def envelope(self, name: str) -> Data | None:
        """An envelope: its headers, and its items, decoded where they are JSON."""
        wanted = number(name)
        found = None if wanted is None else self._store.envelope(wanted, most=MAX_JSON)
        if found is None:
            return None
        items = [
            {"type": item.kind, "headers": decoded(item.headers), "size": item.size,
             "payload": decoded(item.payload) if item.size == len(item.payload) else {}}
            for item in found.items
        ]  # fmt: skip
        return {"kind": "envelope", "number": found.number, "project": found.project,
                "headers": decoded(found.headers), "items": items,
                "path": f"/envelopes/{found.number}"}  # fmt: skip

    # What comes.

    def next(self, kind: str, after: int, least: str = "") -> Data | None:
        """The first error, or request, above that number; of errors, from that level on."""
        for one in self._after(Filter([kind]), after):
            if kind == REQUEST or rank(one.summary.level) >= rank(least or "error"):
                return self._of(one)
        return None

    def _after(self, chosen: Filter, after: int) -> Iterator[Listed]:
        while rows := self._store.entries(chosen, limit=_CHUNK, after=after, oldest_first=True):
            yield from rows
            after = rows[-1].number

    def since_number(self, params: Params) -> int:
        """Above which number `since` is; that of the newest entry, if it is not said."""
        if not params.get("since"):
            return self._store.newest()
        since = self._since(params)
        if since.number:
            return since.number
        older = (one.number - 1 for one in self._found(Filter(), since, 1 << 20))
        return min(older, default=self._store.newest())

    def _since(self, params: Params) -> _Since:
        text = str(params.get("since") or "").strip()
        if not text:
            return _Since()
        if event_id := event_named(text):
            stored = self._store.event(event_id)
            if stored is None:
                raise QuestionError(f"There is no event {event_id}, to say what came since.")
            return _Since(number=stored.listed.number)
        seconds = moment(text, time.time())
        if seconds is None:
            raise QuestionError(f"since must be a moment or an event ({EXAMPLES}), got {text!r}.")
        return _Since(seconds=seconds)

    def _found(
        self,
        chosen: Filter,
        since: _Since,
        limit: int,
        fits: Callable[[Listed], bool] = lambda _: True,
    ) -> Iterator[Listed]:
        """At most so many entries that fit, the newest first."""
        before: int | None = None
        while True:
            rows = self._store.entries(chosen, limit=_CHUNK, before=before, after=since.number)
            for one in rows:
                # What arrived before that moment happened before it.
                if one.received < since.seconds or limit <= 0:
                    return
                if one.moment >= since.seconds and fits(one):
                    limit -= 1
                    yield one
            if len(rows) < _CHUNK:
                return
            before = rows[-1].number


def _listed(kind: str, rows: list[Data], *, more: bool, newest: int) -> Data:
    return {"kind": kind, kind: rows, "more": more, "newest": newest}
