"""Lists of what happened: what is asked for, and the rows that answer. Blocking; called in threads.

The rules:

- What a query string asks for and does not make sense is taken as not asked for.
- Equal errors are one row, unless each is asked for. A search is for single ones: of equal errors,
  some have the word and others not.
- Rows are in the order of what happened. Things arrive as they end: what began first may come last.
- A list reads so many bytes of payloads and no more, whatever is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from .entries import ERROR, LOG, LOSS, METRIC, OTHER, PROFILE, REQUEST, SPAN, items_of, losses
from .envelope import MAX_JSON, MEBIBYTE, BadEnvelopeError, json_object
from .findings import Finding
from .issues import Issue, describe
from .requests import Diagnoses
from .search import LEVELS
from .starts import Start, reloads
from .store import Filter, Listed, Store
from .values import Pairs, as_pairs, attributes, clean

PAGE_SIZE = 50
MAX_REPORTS = 200
MAX_LIST_BYTES = 4 * MEBIBYTE

TABS = {
    "": ("Everything", (ERROR, REQUEST, LOG)),
    "errors": ("Errors", (ERROR,)),
    "requests": ("Requests", (REQUEST,)),
    "logs": ("Logs", (LOG,)),
    "more": ("More", (METRIC, SPAN, LOSS, OTHER)),
}
"""The list's tabs: name and kinds, by the word that stands in the address."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list was asked for; `each`: equal errors in a row for each."""

    tab: str
    text: str
    level: str
    before: int | None
    after: int
    each: bool = False

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """Read a query string; whatever makes no sense is left out."""
        tab, level = query.get("show", ""), query.get("level", "")
        return cls(
            tab=tab if tab in TABS else "",
            text=clean(query.get("q", ""), 200),
            level=level if level in LEVELS else "",
            before=number(query.get("before")),
            after=number(query.get("after")) or 0,
            each=bool(query.get("each")),
        )

    @property
    def chosen(self) -> Filter:
        """The same for the store."""
        grouped = not (self.each or self.text.strip())
        return Filter(TABS[self.tab][1], self.level, self.text, grouped=grouped)

    def url(self, **changes: object) -> str:
        """The list's address, with some of what is asked for changed."""
        told = {
            "show": self.tab, "q": self.text, "level": self.level, "each": "1" if self.each else "",
            **changes,
        }  # fmt: skip
        query = urlencode({name: value for name, value in told.items() if value})
        return f"/?{query}" if query else "/"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a list, where it leads, for logs what else it tells, for errors those it stands for.

    `findings` are what is wrong with a request.
    """

    listed: Listed
    url: str
    more: Pairs = ()
    issue: Issue | None = None
    findings: tuple[Finding, ...] = ()


class Batches:
    """Logs within their batches, by the payloads of items; each batch is read once."""

    def __init__(self, payloads: Mapping[int, bytes]) -> None:
        """Take payloads; the logs of one item are asked for in a row."""
        self._payloads = payloads
        self._item = -1
        self._logs: list[dict[str, Any]] = []

    def attributes(self, listed: Listed) -> dict[str, Any]:
        """What a log tells besides its text; nothing if its payload is not here."""
        if listed.item != self._item:
            self._item = listed.item
            self._logs = items_of(decoded(self._payloads.get(listed.item, b"")))
        for log in self._logs[listed.position : listed.position + 1]:
            return attributes(log.get("attributes"))
        return {}


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows, with the reloads between them; `older` is below which number more can be found."""

    rows: tuple[Row | Start, ...]
    older: int | None
    newest: int


class Lists:
    """The lists over a store."""

    def __init__(self, store: Store) -> None:
        """Ask `store`."""
        self._store = store
        self._diagnoses = Diagnoses(store)

    def listing(self, wanted: Wanted) -> Listing:
        """A page of a list."""
        found = self._store.entries(
            wanted.chosen, limit=PAGE_SIZE + 1, before=wanted.before, after=wanted.after
        )
        more, shown = len(found) > PAGE_SIZE, found[:PAGE_SIZE]
        rows = self.rows(shown, wanted.chosen)
        # Above the first row, a reload is told as soon as it happens.
        border = min((one.number for one in shown), default=0) if more else wanted.after
        told = [one for one in reloads(self._store) if one.after >= border]
        if wanted.before is not None:
            told = [one for one in told if one.after < wanted.before]
        return Listing(
            rows=tuple(_between(rows, told if found or wanted.after else [])),
            older=shown[-1].number if more else None,
            newest=max((one.number for one in shown), default=0),
        )

    def rows(self, found: Sequence[Listed], chosen: Filter) -> list[Row]:
        """Rows of these entries."""
        ordered = sorted(found, key=lambda one: one.moment, reverse=True)
        logs = (one.item for one in ordered if one.kind == LOG)
        batches = Batches(self._store.payloads(logs, most=MAX_LIST_BYTES))
        issues = describe(self._store, ordered) if chosen.grouped else {}
        findings = self._diagnoses.of(ordered)
        return [
            Row(
                one,
                entry_url(one),
                as_pairs(batches.attributes(one)) if one.kind == LOG else (),
                issues.get(one.site) if one.kind == ERROR else None,
                findings.get(one.number, ()),
            )
            for one in ordered
        ]

    def counts(self) -> dict[str, int]:
        """How many entries each tab has."""
        kinds = self._store.counts()
        return {tab: sum(kinds.get(kind, 0) for kind in TABS[tab][1]) for tab in TABS}

    def lost(self) -> dict[str, int]:
        """What SDKs could not send, by their latest reports."""
        reports = self._store.entries(Filter([LOSS]), limit=MAX_REPORTS)
        payloads = self._store.payloads((one.item for one in reports), most=MEBIBYTE)
        lost: Counter[str] = Counter()
        for payload in payloads.values():
            lost += losses(decoded(payload))
        return dict(lost)


def _between(rows: Sequence[Row], starts: Sequence[Start]) -> Iterator[Row | Start]:
    """Rows with the reloads where they happened; both have the newest first."""
    waiting = sorted(starts, key=lambda one: -one.at)
    for row in rows:
        while waiting and waiting[0].at >= row.listed.moment:
            yield waiting.pop(0)
        yield row
    yield from islice(waiting, 1 if not rows else len(waiting))


def entry_url(listed: Listed) -> str:
    """The page that tells most about an entry."""
    if listed.kind == ERROR:
        return f"/events/{listed.event_id}"
    if listed.kind == REQUEST and listed.span_id:
        return f"/requests/{listed.span_id}"
    if listed.kind in {REQUEST, SPAN} and listed.trace_id:
        return f"/traces/{listed.trace_id}#span-{listed.span_id}"
    if (listed.kind, listed.summary.title) == (OTHER, PROFILE):
        return f"/profiles/{listed.item}"
    return f"/events/{listed.event_id}" if listed.event_id else f"/envelopes/{listed.envelope}"


def number(text: str | None) -> int | None:
    """A number of this store; anything else, and numbers that nothing has, are no number."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None  # noqa: PLR2004


def decoded(payload: bytes) -> dict[str, Any]:
    """A payload's JSON object; an empty one, if it is none or is gone."""
    try:
        return json_object(payload, "The payload", MAX_JSON)
    except BadEnvelopeError:
        return {}
