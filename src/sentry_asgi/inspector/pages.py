"""The inspector's pages: from the store to HTML, by way of views. Blocking; called in threads.

The rules:

- A page is made from views alone, by templates that escape everything.
- A page reads so many bytes of payloads and no more, whatever is kept; what it leaves out, it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2

from sentry_asgi import __version__

from . import colours, figures, formats
from .calls import CALL
from .curl import Command, curl
from .editing import Form
from .editor import opener
from .entries import ERROR, LOG, status_level
from .envelope import MAX_JSON, MEBIBYTE
from .exchanges import Exchange, find_exchange
from .exporting import scrubbed, style
from .findings import findings
from .flames import flames
from .formats import took as took  # noqa: PLC0414  # for the terminal, too
from .issues import issue_of
from .lists import TABS, Batches, Lists, Row, Wanted, decoded, entry_url, number
from .markdown import markdown
from .python_code import as_httpx, as_pytest
from .requests import RequestFacts, find_request, request_facts
from .resend import Apps
from .search import LEVELS, quoted
from .starts import Start, last_reload
from .store import Listed, Store, StoredEnvelope
from .trace import trace_view
from .trees import json_tree, tree
from .values import as_id, as_pairs
from .views import RequestView, event_view, request_of

MAX_TRACE = 5000
MAX_LOGS = 500
MAX_BESIDE = 200
MAX_ENVELOPE_BYTES = MEBIBYTE
_HERE = Path(__file__).parent


class Pages:
    """The pages over a store; `editor` names the editor that opens files, `apps` are those that `dev` serves."""

    def __init__(self, store: Store, editor: str, apps: Apps | None = None) -> None:
        self._store = store
        self._apps = apps or Apps(store)
        self._lists = Lists(store)
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            moment=formats.moment, took=formats.took, lasted=formats.lasted, tone=formats.tone,
            status_level=status_level, local=formats.local, at=formats.at, size=formats.size, clock=formats.clock,
            python=colours.python, sql=colours.sql, tree=tree, json_tree=json_tree,
        )  # fmt: skip
        self._templates.tests.update(reload=lambda one: isinstance(one, Start))
        self._templates.globals.update(
            editor_url=opener(editor),
            levels=LEVELS,
            tabs=TABS,
            finding=_search_url,
            entry_url=entry_url,
        )

    # Lists.

    def overview(self, wanted: Wanted, base_url: str) -> str:
        """The list of what happened."""
        return self._render(
            "list.html",
            listing=self._lists.listing(wanted),
            wanted=wanted,
            counts=self.counts(),
            lost=self._lists.lost(),
            dsn=dsn(base_url),
            stream=f"{base_url.rstrip('/')}/stream",
        )

    def fragment(self, wanted: Wanted) -> str:
        """Rows and the way to older ones, for a page that is open already."""
        listing = self._lists.listing(wanted)
        return self._render(
            "fragment.html", listing=listing, wanted=wanted, lost=self._lists.lost()
        )

    def counts(self) -> dict[str, int]:
        """How many entries each tab has."""
        return self._lists.counts()

    def figures(self) -> str:
        """The figures of routes, queries and outgoing calls."""
        return self._render(
            "figures.html",
            routes=figures.routes(self._store),
            queries=figures.queries(self._store),
            calls=figures.queries(self._store, CALL),
            reload=last_reload(self._store),
        )

    # One event.

    def event(self, event_id: str) -> str | None:
        """The page of one event, or None if it is not here."""
        stored = self._store.event(as_id(event_id))
        if stored is None:
            return None
        older, newer = self._store.beside(stored.listed)
        listed = stored.listed
        about = {
            "issue": issue_of(self._store, listed) if listed.kind == ERROR else None,
            "older": older,
            "newer": newer,
            "trace": self._same_trace(listed),
            "asked": self._request_around(listed),
        }
        return self._event(listed, decoded(stored.payload), **about)

    def export(self, event_id: str) -> str | None:
        """One event as a page of one file, without secrets; None if it is not here."""
        stored = self._store.event(as_id(event_id))
        if stored is None:
            return None
        listed, event = scrubbed(stored.listed, decoded(stored.payload))
        alone: dict[str, Any] = {
            "issue": None,
            "older": "",
            "newer": "",
            "trace": [],
            "asked": None,
        }
        return self._event(listed, event, style=style(), **alone)

    def _event(self, listed: Listed, payload: dict[str, Any], **about: Any) -> str:
        event = event_view(payload)
        return self._render(
            "event.html",
            listed=listed,
            event=event,
            curl=curl(event.request) if event.request else None,
            httpx=as_httpx(event.request) if event.request else None,
            markdown=markdown(event, listed.summary),
            **about,
        )

    def _request_around(self, listed: Listed) -> Listed | None:
        """The request that an error happened in, if there is a page of it."""
        if listed.kind != ERROR:
            return None
        found = find_request(self._store, listed.span_id)
        if found or not listed.trace_id:
            return found
        # It happened at another span of its request; of one alone in the trace, surely.
        rows = self._store.read(
            "SELECT id FROM entries WHERE trace_id = ? AND kind = 'request' LIMIT 2",
            (listed.trace_id,),
        )
        return self._store.entry(rows[0][0]) if len(rows) == 1 else None

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
        return markdown(event_view(decoded(stored.payload)), stored.listed.summary)

    # One request, one trace.

    def request(self, span_id: str, was: str = "", *, lacks: bool = False) -> str | None:
        """The page of one request, or None if it is not here.

        `was`: the span id of the request that this one is, sent again; `lacks`: not all of that was known.
        """
        listed = find_request(self._store, as_id(span_id))
        if listed is None:
            return None
        facts = request_facts(self._store, listed)
        asked = self._asked(facts)
        view = trace_view(listed.trace_id, self._trace(listed), only=facts.beneath)
        return self._render(
            "request.html",
            facts=facts,
            asked=asked,
            was=find_exchange(self._store, span_id=as_id(was)) if was else None,
            was_id=as_id(was),
            lacks=lacks,
            curl=curl(asked) if asked else None,
            httpx=as_httpx(asked, facts.exchange) if asked else None,
            test=self._test(asked, facts) if asked else None,
            trace=view,
            more=self._attributes(facts.logs),
        )

    def _test(self, asked: RequestView, facts: RequestFacts) -> Command:
        failed = [
            " ".join(filter(None, (one.summary.title, one.summary.detail, one.spot)))
            for one in facts.errors[:3]
        ]
        return as_pytest(asked, facts.exchange, self._apps.served(facts.listed.project), failed)

    def edit(self, listed: Listed, exchange: Exchange, form: Form, why: str = "") -> str:
        """The form in which a request is edited; `why` it could not be sent."""
        return self._render("edit.html", listed=listed, exchange=exchange, form=form, why=why)

    def _trace(self, listed: Listed) -> list[Any]:
        return self._store.trace(listed.trace_id, limit=MAX_TRACE, most=0)

    def _asked(self, facts: RequestFacts) -> RequestView | None:
        """What was asked: as `dev` recorded it, else as the transaction or an error of it tells."""
        event = decoded(facts.payload)
        if not event and facts.errors:
            stored = self._store.event(facts.errors[0].event_id)
            event = decoded(stored.payload) if stored else {}
        return request_of(event.get("request"), facts.exchange)

    def _attributes(self, logs: Sequence[Listed]) -> dict[int, Any]:
        batches = Batches(self._store.payloads((one.item for one in logs), most=MEBIBYTE))
        return {one.number: as_pairs(batches.attributes(one)) for one in logs}

    def trace(self, trace_id: str) -> str | None:
        """The page of one trace, or None if nothing of it is here."""
        identity = as_id(trace_id)
        found = self._store.trace(identity, limit=MAX_TRACE, most=MAX_JSON)
        if not found:
            return None
        view = trace_view(identity, found)
        batches = Batches({one.listed.item: one.payload for one in found})
        logs = [Row(log, "", as_pairs(batches.attributes(log))) for log in view.logs[:MAX_LOGS]]
        wrong = findings([bar.span for bar in view.bars], view.all_errors)
        return self._render("trace.html", trace=view, logs=logs, findings=wrong)

    def profile(self, text: str) -> str | None:
        """A profile as a flame graph, by the number of its item; None if it is not here."""
        item = number(text)
        rows = self._store.read(
            "SELECT envelope FROM items WHERE id = ? AND kind IN ('profile', 'profile_chunk')",
            (item,),
        )
        if item is None or not rows:
            return None
        payload = self._store.payloads([item], most=MAX_JSON).get(item, b"")
        return self._render("profile.html", flames=flames(decoded(payload)), envelope=rows[0][0])

    # Envelopes.

    def envelope(self, text: str) -> str | None:
        """The page of an envelope as it came, or None if it is not here."""
        found = self._envelope(text, most=MAX_ENVELOPE_BYTES)
        if found is None:
            return None
        pretty = formats.pretty
        items = [
            (item.kind, pretty(item.headers), item.size, pretty(item.payload, item.size))
            for item in found.items
        ]
        return self._render(
            "envelope.html", envelope=found, headers=pretty(found.headers), items=items
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
        about = {"version": __version__, "style": "", **values}
        return self._templates.get_template(template).render(**about)


def _search_url(name: str, value: str) -> str:
    """The list of what has this value."""
    return Wanted("", quoted(name, value), "", None, 0).url()


def dsn(base_url: str) -> str:
    """What an app's `sentry_sdk.init` wants to hear."""
    return f"{base_url.replace('://', '://dev@').rstrip('/')}/1"
