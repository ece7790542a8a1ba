"""The inspector's pages: from the store to HTML, by way of views. Blocking; called in threads.

The rules:

- A page is made from views alone, by templates that escape everything.
- What a query string asks for and does not make sense is taken as not asked for.
- Moments are in the time zone of this machine, which is the developer's.
- A page reads so many bytes of payloads and no more, whatever is kept; what it leaves out, it says.
"""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from sentry_asgi import __version__

from .curl import curl
from .editor import opener
from .entries import ERROR, LOG, LOSS, METRIC, OTHER, REQUEST, SPAN, items_of, losses
from .envelope import MAX_JSON, MEBIBYTE, BadEnvelopeError, json_object
from .findings import repeated
from .markdown import markdown
from .store import Equals, Filter, Listed, Store, StoredEnvelope
from .trace import trace_view
from .values import Pairs, as_id, as_pairs, attributes, clean, indented
from .views import event_view

PAGE_SIZE = 50
MAX_TRACE = 5000
MAX_LOGS = 500
MAX_REPORTS = 200
MAX_BESIDE = 200
MAX_PAYLOAD = 200_000
MAX_ENVELOPE_BYTES = MEBIBYTE
MAX_LIST_BYTES = 4 * MEBIBYTE
_HERE = Path(__file__).parent

TABS = {
    "": ("Everything", (ERROR, REQUEST, LOG)),
    "errors": ("Errors", (ERROR,)),
    "requests": ("Requests", (REQUEST,)),
    "logs": ("Logs", (LOG,)),
    "more": ("More", (METRIC, SPAN, LOSS, OTHER)),
}
"""The list's tabs: name and kinds, by the word that stands in the address."""

LEVELS = ("fatal", "error", "warning", "info", "debug")


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
        # A search is for single errors: of equal ones, some have the word and others not.
        words = self.text.split()
        return Filter(TABS[self.tab][1], self.level, words, grouped=not (self.each or words))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a list, where it leads, for logs what else it tells, for errors those it stands for."""

    listed: Listed
    url: str
    more: Pairs
    equals: Equals | None = None


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
            self._logs = items_of(_decoded(self._payloads.get(listed.item, b"")))
        for log in self._logs[listed.position : listed.position + 1]:
            return attributes(log.get("attributes"))
        return {}


class Pages:
    """The pages over a store; `editor` names the editor that opens files."""

    def __init__(self, store: Store, editor: str) -> None:
        self._store = store
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            moment=_moment, took=took, tone=_tone, local=_local, size=_size, clock=_clock
        )
        self._templates.globals.update(editor_url=opener(editor), levels=LEVELS, tabs=TABS)

    def overview(self, wanted: Wanted, base_url: str) -> str:
        """The list of what happened."""
        found = self._store.entries(wanted.chosen, limit=PAGE_SIZE + 1, before=wanted.before)
        rows = found[:PAGE_SIZE]
        return self._render(
            "list.html",
            rows=self._rows(rows, wanted.chosen),
            older=_older(found),
            newest=max((row.number for row in rows), default=0),
            wanted=wanted,
            counts=self.counts(),
            lost=self._lost(),
            dsn=dsn(base_url),
            stream=f"{base_url.rstrip('/')}/stream",
        )

    def fragment(self, wanted: Wanted) -> str:
        """Rows and the way to older ones, for a page that is open already."""
        found = self._store.entries(wanted.chosen, limit=PAGE_SIZE + 1, after=wanted.after)
        rows = self._rows(found[:PAGE_SIZE], wanted.chosen)
        return self._render(
            "fragment.html", rows=rows, older=_older(found), wanted=wanted, lost=self._lost()
        )

    def _lost(self) -> dict[str, int]:
        """What SDKs could not send, by their latest reports."""
        reports = self._store.entries(Filter([LOSS]), limit=MAX_REPORTS)
        payloads = self._store.payloads((one.item for one in reports), most=MEBIBYTE)
        lost: Counter[str] = Counter()
        for payload in payloads.values():
            lost += losses(_decoded(payload))
        return dict(lost)

    def counts(self) -> dict[str, int]:
        """How many entries each tab has."""
        kinds = self._store.counts()
        return {tab: sum(kinds.get(kind, 0) for kind in TABS[tab][1]) for tab in TABS}

    def _rows(self, found: list[Listed], chosen: Filter) -> list[Row]:
        # Numbers are given as things arrive: requests, and logs in batches, come later than they were.
        found = sorted(found, key=lambda one: one.moment, reverse=True)
        logs = (one.item for one in found if one.kind == LOG)
        batches = Batches(self._store.payloads(logs, most=MAX_LIST_BYTES))
        sites = {one.site for one in found if one.site} if chosen.grouped else ()
        equals = self._store.equals(sites)
        return [
            Row(
                one,
                entry_url(one),
                as_pairs(batches.attributes(one)) if one.kind == LOG else (),
                equals.get(one.site),
            )
            for one in found
        ]

    def event(self, event_id: str) -> str | None:
        """The page of one event, or None if it is not here."""
        stored = self._store.event(as_id(event_id))
        if stored is None:
            return None
        event = event_view(_decoded(stored.payload))
        older, newer = self._store.beside(stored.listed)
        return self._render(
            "event.html",
            listed=stored.listed,
            equals=self._store.equals([stored.listed.site]).get(stored.listed.site),
            older=older,
            newer=newer,
            trace=self._same_trace(stored.listed),
            event=event,
            curl=curl(event.request) if event.request else None,
            markdown=markdown(event, stored.listed.summary),
        )

    def _same_trace(self, listed: Listed) -> list[Listed]:
        """What else went wrong or was logged in an event's trace, without its own words again."""
        found = self._store.trace(listed.trace_id, limit=MAX_BESIDE, most=0)
        return [
            one.listed
            for one in found
            if one.listed.kind in {ERROR, LOG}
            and one.listed.number != listed.number
            and (one.listed.kind, one.listed.summary.title) != (LOG, listed.summary.title)
        ]

    def markdown(self, event_id: str) -> str | None:
        """One event as Markdown, or None if it is not here."""
        stored = self._store.event(as_id(event_id))
        if stored is None:
            return None
        return markdown(event_view(_decoded(stored.payload)), stored.listed.summary)

    def trace(self, trace_id: str) -> str | None:
        """The page of one trace, or None if nothing of it is here."""
        identity = as_id(trace_id)
        found = self._store.trace(identity, limit=MAX_TRACE, most=MAX_JSON)
        if not found:
            return None
        view = trace_view(identity, found)
        batches = Batches({one.listed.item: one.payload for one in found})
        logs = [Row(log, "", as_pairs(batches.attributes(log))) for log in view.logs[:MAX_LOGS]]
        return self._render("trace.html", trace=view, logs=logs, repeated=repeated(view.bars))

    def envelope(self, text: str) -> str | None:
        """The page of an envelope as it came, or None if it is not here."""
        found = self._envelope(text, most=MAX_ENVELOPE_BYTES)
        if found is None:
            return None
        items = [
            (item.kind, _pretty(item.headers), item.size, _pretty(item.payload, item.size))
            for item in found.items
        ]
        return self._render(
            "envelope.html", envelope=found, headers=_pretty(found.headers), items=items
        )

    def raw(self, text: str) -> tuple[int, Iterator[bytes]] | None:
        """How many bytes an envelope has, and these in pieces; None if it is not here."""
        found = self._envelope(text, most=0)
        if found is None:
            return None
        size = sum(len(item.headers) + item.size + 2 for item in found.items)
        return len(found.headers) + 1 + size, self._pieces(found)

    def _pieces(self, envelope: StoredEnvelope) -> Iterator[bytes]:
        yield envelope.headers + b"\n"
        for item in envelope.items:
            yield item.headers + b"\n"
            yield from self._store.chunks(item.number, item.size)
            yield b"\n"

    def _envelope(self, text: str, *, most: int) -> StoredEnvelope | None:
        wanted = number(text)
        return None if wanted is None else self._store.envelope(wanted, most=most)

    def missing(self, why: str) -> str:
        """The page of what cannot be shown, with the reason."""
        return self._render("missing.html", why=why)

    def _render(self, template: str, **values: Any) -> str:
        return self._templates.get_template(template).render(version=__version__, **values)


def entry_url(listed: Listed) -> str:
    """The page that tells most about an entry."""
    if listed.kind == ERROR:
        return f"/events/{listed.event_id}"
    if listed.kind in {REQUEST, SPAN} and listed.trace_id:
        return f"/traces/{listed.trace_id}#span-{listed.span_id}"
    return f"/events/{listed.event_id}" if listed.event_id else f"/envelopes/{listed.envelope}"


def _older(found: list[Listed]) -> int | None:
    """Below which number more can be found, if there was one more than a page shows."""
    return found[PAGE_SIZE - 1].number if len(found) > PAGE_SIZE else None


def dsn(base_url: str) -> str:
    """What an app's `sentry_sdk.init` wants to hear."""
    return f"{base_url.replace('://', '://dev@').rstrip('/')}/1"


def number(text: str | None) -> int | None:
    """A number of this store; anything else, and numbers that nothing has, are no number."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None  # noqa: PLR2004


def took(seconds: float | None) -> str:
    """A duration for people."""
    if seconds is None:
        return ""
    if seconds >= 1:
        return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:,.0f} s"  # noqa: PLR2004
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"  # noqa: PLR2004


def _decoded(payload: bytes) -> dict[str, Any]:
    try:
        return json_object(payload, "The payload")
    except BadEnvelopeError:
        return {}


def _pretty(data: bytes, size: int | None = None) -> str:
    """JSON for people, a text as it is, and of other bytes their number; `data` may be the beginning."""
    whole = size is None or size == len(data)
    try:
        if whole:
            return indented(json.loads(data), MAX_PAYLOAD)
    except (RecursionError, ValueError):
        pass
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data, final=whole)
    except UnicodeDecodeError:
        return f"{size} bytes that are no text"
    return clean(text if whole else f"{text}…", MAX_PAYLOAD)


def _moment(listed: Listed) -> dict[str, str]:
    """When it happened, for people and for machines; when it arrived, if it doesn't tell."""
    text = listed.summary.when
    arrived = datetime.fromtimestamp(listed.received, UTC)
    return _local(text) if text else _local(arrived.isoformat())


def _local(text: str) -> dict[str, str]:
    moment = datetime.fromisoformat(text)
    try:
        here = moment.astimezone()
    except (OverflowError, ValueError):  # near the ends of all time
        here = moment
    return {
        "machine": moment.isoformat(timespec="milliseconds"),
        "day": here.strftime("%Y-%m-%d"),
        "time": here.strftime("%H:%M:%S"),
        "zone": here.tzname() or "",
    }


def _clock(text: str) -> str:
    return _local(text)["time"] if text else ""


def _tone(level: str) -> str:
    return level if level in LEVELS else "other"


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < 10_000 else f"{count / 1024:,.0f} KB"  # noqa: PLR2004
