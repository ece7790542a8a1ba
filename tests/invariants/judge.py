"""Judges one run by what it wrote down: what was asked, what was reported, and what is left.

Knows nothing of the driver, the middleware or the SDK, but for the forms in which reports are sent. Every text that
belongs to a request holds its id (`rq007z`), so a report that holds two ids mixes two requests.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

RID = re.compile(r"rq\d{3}z")
# Variables of the SDK's deduplication and of the pending span: they hold nothing that the application can see.
PRIVATE_VARIABLES = {
    "last-seen",
    "sentry_asgi_active_span",
    "sentry_asgi_connection",
    "sentry_asgi_middleware_applied",
    "sentry_asgi_own_current_scope",
    "sentry_asgi_own_isolation_scope",
    "sentry_wsgi_middleware_applied",
}
INVARIANTS = ("I1", "I2", "I3", "I4", "I5", "I6", "I7")


class Break(NamedTuple):
    invariant: str
    what: str


class Judge:
    """Judges a run; `judged` counts what was looked at."""

    def __init__(self, run: Any, bare: Any) -> None:
        self.run, self.bare = run, bare
        self.requests: dict[str, Any] = run["requests"]
        self.reports: list[Any] = [one for one in run["reports"] if one["kind"] in READERS]
        self.judged = 0
        self.by_request: dict[str, list[Any]] = defaultdict(list)
        for report in self.reports:
            for rid in ids_of(report):
                self.by_request[rid].append(report)

    def breaks(self) -> list[Break]:
        found = [*self._of_reports(), *self._of_sessions(), *self._of_what_is_left()]
        for rid, asked in self.requests.items():
            found += self._of_request(rid, asked, self.by_request[rid])
        return sorted(set(found))

    def _hold(self, holds: Any, invariant: str, what: str) -> Iterator[Break]:
        self.judged += 1
        if not holds:
            yield Break(invariant, what)

    # Reports

    def _of_reports(self) -> Iterator[Break]:
        for report in self.reports:
            ids = ids_of(report)
            kind = report["kind"]
            yield from self._hold(len(ids) < 2, "I1", f"{kind} mixes requests")
            if kind in {"transaction", "event"}:
                yield from self._hold(ids, "I1", f"{kind} belongs to no request: {title(report)}")

    def _of_request(self, rid: str, asked: Any, reports: list[Any]) -> Iterator[Break]:
        cell = asked["cell"]
        own = [report for report in reports if ids_of(report) == {rid}]
        for report in own:
            yield from self._of_own_report(rid, asked, report)
        # What a middleware further out logs, before the caller's trace is read, cannot be in it.
        known = [one for one in own if not (asked["trace"] and said_further_out(one))]
        traces = {read(report)["trace"] for report in known} - {None}
        yield from self._hold(len(traces) <= 1, "I2", f"{cell}: {len(traces)} traces")
        if asked["trace"] and traces:
            yield from self._hold(asked["trace"] in traces, "I2", f"{cell}: not the caller's trace")
        yield from self._of_spans(cell, own)
        yield from self._of_failure(rid, asked, own)
        yield from self._of_transparency(rid, asked)

    def _of_own_report(self, rid: str, asked: Any, report: Any) -> Iterator[Break]:
        told, kind, cell = read(report), report["kind"], asked["cell"]
        name = f"{cell}: {kind}"
        # A websocket's transaction ends when it is accepted.
        ended = told["segment"] and "tags_at_accept" in asked
        client = asked["client_at_accept" if ended else "client"]
        yield from self._hold(
            report["client"] == client or kind in {"log", "span"},
            "I4",
            f"{name} goes to {report['client']}, not {client}",
        )
        if kind in {"log", "span"} and not told["segment"]:
            return
        if asked["user"]:
            yield from self._hold(told["user"] == f"user-{rid}", "I1", f"{name} lacks the user")
        yield from self._hold(
            (told["url"] or "").split("?")[0].endswith(asked["path"]), "I1", f"{name} lacks the URL"
        )
        if told["tags"] is None:
            return
        for tag in asked["tags_at_accept" if ended else "tags"]:
            yield from self._hold(told["tags"].get(tag) == rid, "I1", f"{name} lacks tag {tag}")
        yield from self._hold(
            told["tags"].get("process") == "started", "I5", f"{name} lacks the process's tag"
        )

    def _of_spans(self, cell: str, own: list[Any]) -> Iterator[Break]:
        tracing = self.run["combination"]["tracing"]
        roots = [read(one)["span"] for one in own if read(one)["segment"]]
        expected = 0 if tracing == "off" else 1
        kind = "segments" if tracing == "streamed" else "transactions"
        yield from self._hold(len(roots) == expected, "I2", f"{cell}: {len(roots)} {kind}")
        parents = {span: parent for one in own for span, parent in spans_of(one)}
        for span in parents:
            yield from self._hold(
                root_of(span, parents) in roots, "I2", f"{cell}: a span hangs on nothing"
            )

    def _of_failure(self, rid: str, asked: Any, own: list[Any]) -> Iterator[Break]:
        cell = asked["cell"]
        events = [one["payload"] for one in own if one["kind"] == "event"]
        yield from self._hold(
            len(events) == bool(asked["fails"]), "I3", f"{cell}: {len(events)} events"
        )
        for event in events if asked["fails"] else ():
            values = (event.get("exception") or {}).get("values") or [{}]
            itself = [one for one in values if one.get("value") == f"{cell} of {rid}"]
            yield from self._hold(itself, "I3", f"{cell}: another exception: {values[-1]}"[:200])
            *causes, handled = [(one.get("mechanism") or {}).get("handled") for one in values]
            returned = asked["raised"] is None
            yield from self._hold(
                handled is returned, "I3", f"{cell}: handled is {handled}, returned is {returned}"
            )
            yield from self._hold(
                (not returned) not in causes, "I3", f"{cell}: a cause's handled is {not returned}"
            )
            crumbs = (event.get("breadcrumbs") or {}).get("values") or []
            said = {crumb.get("message") for crumb in crumbs}
            for tag in asked["tags"]:
                yield from self._hold(f"{tag} {rid}" in said, "I1", f"{cell}: lacks breadcrumbs")

    def _of_sessions(self) -> Iterator[Break]:
        expected = Counter(outcome_of(asked) for asked in self.requests.values())
        found: Counter[str] = Counter()
        for report in self.run["reports"]:
            if report["kind"] == "sessions":
                for one in report["payload"]["aggregates"]:
                    found.update({key: one[key] for key in one if isinstance(one[key], int)})
        what = f"sessions {dict(sorted(found.items()))}, not {dict(sorted(expected.items()))}"
        yield from self._hold(found == expected, "I2", what)

    # The application

    def _of_transparency(self, rid: str, asked: Any) -> Iterator[Break]:
        bare, cell = self.bare["requests"][rid], asked["cell"]
        for what in ("sent", "raised"):
            yield from self._hold(
                asked[what] == bare[what],
                "I6",
                f"{cell}: {what} {asked[what]}, not {bare[what]}".replace(rid, "…")[:300],
            )
        more = set(asked["variables"]) - set(bare["variables"]) - PRIVATE_VARIABLES
        yield from self._hold(not more, "I6", f"{cell}: context variables {sorted(more)}")

    def _of_what_is_left(self) -> Iterator[Break]:
        left, bare = self.run["left"], self.bare["left"]
        for what in ("tasks", "threads", "tools"):
            more = Counter(left[what]) - Counter(bare[what])
            if what == "threads":
                more = Counter(name for name in more if not _of_the_sdk(name))
                more.pop("sentry-asgi.watch", None)  # it ends with the loop, of which this is said
            yield from self._hold(not more, "I7", f"{what} are left: {sorted(more)}")
        for what in ("exceptions", "frames"):
            yield from self._hold(left[what] <= bare[what], "I7", f"{left[what]} {what} are left")


def _of_the_sdk(thread: str) -> bool:
    """Return whether a thread is of the SDK's client, which is not closed."""
    return thread.startswith("sentry.") or "(_flush_loop)" in thread or "(_thread)" in thread


def said_further_out(report: Any) -> bool:
    """Return whether a middleware around the project's has logged this."""
    return report["kind"] == "log" and str(report["payload"].get("body")).startswith("outer ")


def ids_of(report: Any) -> set[str]:
    return set(RID.findall(json.dumps(report["payload"])))


def outcome_of(asked: Any) -> str:
    if not asked[
        "fails"
    ]:  # a client that leaves is no failure, even where the application raises for it
        return "exited"
    return "errored" if asked["raised"] is None else "crashed"


def title(report: Any) -> str:
    payload = report["payload"]
    values = (payload.get("exception") or {}).get("values") or [{}]
    message = (payload.get("logentry") or {}).get("message") or values[-1].get("type")
    return str(payload.get("transaction") or message)


def root_of(span: str, parents: dict[str, str | None]) -> str:
    """Return the outermost known span above a span."""
    for _ in parents:
        parent = parents.get(span)
        if parent not in parents:
            break
        assert parent
        span = parent
    return span


# What each kind of report says, in common words.


def read(report: Any) -> dict[str, Any]:
    return READERS[report["kind"]](report["payload"])


def spans_of(report: Any) -> Iterable[tuple[str, str | None]]:
    """Return the ids of a report's spans, each with its parent's."""
    payload = report["payload"]
    if report["kind"] == "span":
        return [(payload["span_id"], payload.get("parent_span_id"))]
    if report["kind"] == "transaction":
        trace = payload["contexts"]["trace"]
        own = (trace["span_id"], trace.get("parent_span_id"))
        return [own, *((one["span_id"], one.get("parent_span_id")) for one in payload["spans"])]
    return []


def _event(payload: Any) -> dict[str, Any]:
    trace = (payload.get("contexts") or {}).get("trace") or {}
    return {
        "user": (payload.get("user") or {}).get("id"),
        "tags": dict(payload.get("tags") or {}),
        "url": (payload.get("request") or {}).get("url"),
        "trace": trace.get("trace_id"),
        "segment": False,
        "span": None,
    }


def _transaction(payload: Any) -> dict[str, Any]:
    return {
        **_event(payload),
        "segment": True,
        "span": payload["contexts"]["trace"]["span_id"],
    }


def _item(payload: Any) -> dict[str, Any]:
    facts = {name: one.get("value") for name, one in (payload.get("attributes") or {}).items()}
    return {
        "user": facts.get("user.id"),
        "tags": None,  # neither logs nor streamed spans carry them
        "url": facts.get("url.full") or facts.get("url.path"),
        "trace": payload.get("trace_id"),
        "segment": bool(payload.get("is_segment")),
        "span": payload.get("span_id"),
    }


READERS = {"event": _event, "transaction": _transaction, "span": _item, "log": _item}
