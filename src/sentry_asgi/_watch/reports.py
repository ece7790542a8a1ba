"""Events of blocked loops and stuck requests, native to Sentry.

https://develop.sentry.dev/sdk/data-model/event-payloads/exception/ and …/threads/

The rules:

- An event of a request is made in its context, so that all is on it that an error of it would have, and is cleaned as
  such. A block is told by the watching thread, in a copy of that context: the request's own is in use.
- One event for each site and hour; the rest is counted, as the error budget does. `error_budget=None` sends all.
- No session of release health is touched: the request may end well.
- An event is grouped by the innermost function of the application's, for lines move.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextvars import Context
from typing import Any, Final

from sentry_asgi._connection.exchange import Exchange, now
from sentry_asgi._failures.budget import capture_within
from sentry_asgi._python.in_app import application
from sentry_asgi._scopes.detached import sessionless
from sentry_asgi._sdk import clients
from sentry_asgi._sdk.diagnostics import log_failure
from sentry_asgi._stacktrace.traceback import OURS, stacktrace

from .block import Block, Site
from .garbage import garbage
from .samples import applications

PLACES: Final = 5
"""Places that are told of the samples of a block."""


# Blocks


def blocked(watch: Any, block: Block, limit: float, seconds: float, *, lasts: bool) -> None:
    """Report a block, in a copy of the context of whoever's it is."""
    culprit = block.culprit
    exchange = culprit.exchange if culprit is not None else None
    if exchange is not None and exchange.settings.watch is None:
        return
    own = None if culprit is None else culprit.context
    context, scope = (Context(), watch.home()) if own is None else (own, None)

    def report() -> None:
        site = ("EventLoopBlocked", *(one for one, _ in block.sites.most_common(1)))
        if _may_send(watch, site):
            event = _blocked(watch, block, limit, seconds, lasts=lasts)
            with sessionless(scope):
                capture_within(watch.budget, site, event, {OURS: True})

    context.run(report)


def _may_send(watch: Any, site: Any) -> bool:
    """Whether the hour has an event left for a site; if not, it is counted."""
    if watch.budget is None or watch.budget.spend(site):
        return True
    clients.record_lost_error()
    return False


def _blocked(
    watch: Any, block: Block, limit: float, seconds: float, *, lasts: bool
) -> dict[str, Any]:
    shown = block.shown
    steps = [] if shown is None else shown.steps
    name = f"Event Loop Blocked for at least {limit * 1000:.0f} ms"
    event = _event("error", "EventLoopBlocked", name, steps, variables=False)
    thread_id = str(watch.thread_id)
    value = event["exception"]["values"][0]
    value["mechanism"], value["thread_id"] = {"type": "ANR"}, thread_id
    thread = {
        "id": thread_id,
        "name": watch.thread_name,
        "crashed": False,
        "current": True,
        "main": True,
    }
    event["threads"] = {"values": [thread]}
    facts = {
        "phase": None if block.culprit is None else block.culprit.phase,
        "blocked_seconds": round(seconds, 3),
        "still_blocked": lasts or None,
        "blocked_in": places(block) or None,
        "blocked_by": _cause(block, seconds),
        "requests_waiting": block.waiting,
        "tasks_seen": len(block.workers) if block.culprit is None else None,
    }
    event["contexts"] = {"asgi": {key: fact for key, fact in facts.items() if fact is not None}}
    return event


def _cause(block: Block, seconds: float) -> str | None:
    """What blocks, if it is not simply the code of the place that the samples show."""
    if block.collecting >= seconds / 2:
        collected = round(block.collecting, 3)
        return f"a garbage collection of generation {garbage.generation}, {collected} s"
    if block.imported is not None:
        return f"the import of {block.imported}"
    if block.kept >= seconds / 2:
        return "a call that keeps the GIL: the place is where it was seen when it had returned"
    if block.culprit is None and block.workers:
        return "many tasks or callbacks, one after the other"
    return None


def places(block: Block) -> list[str]:
    """Where the samples were, the most frequent first."""
    return [
        f"{_place(site)}, {count} of {block.samples} samples"
        for site, count in block.sites.most_common(PLACES)
    ]


def _place(site: Site) -> str:
    return f"{os.path.basename(site.filename)}:{site.line} in {site.function}"  # noqa: PTH119  # a name, no path


def tell_trace(block: Block, seconds: float) -> None:
    """Have the request that blocks tell so in its trace: while it lasts, for then the span cannot end."""
    exchange = None if block.culprit is None else block.culprit.exchange
    if exchange is not None:
        exchange.trouble = True
    trace = getattr(exchange, "trace", None)
    span = getattr(trace, "span", None)
    if trace is None or span is None:
        return
    try:
        facts: dict[str, Any] = {"event_loop.blocked_ms": round(seconds * 1000)}
        for place, _ in block.sites.most_common(1):
            facts["event_loop.blocked_in"] = _place(place)
        trace.way.tell(span, facts)
    except Exception:
        log_failure("telling a trace of a blocked event loop")


# Requests


def stuck(
    watch: Any, exchange: Exchange, links: Sequence[Any], limit: float, *, cancelled: bool = False
) -> None:
    """Report a request that waits, in its own context."""
    if exchange.settings.watch is None:
        return
    exchange.trouble = True
    site = ("RequestStuck", *_site(links))
    if not _may_send(watch, site):
        return
    text = f"no response for {limit:g} s, waiting in {where(links)}"
    event = _event("warning", "RequestStuck", text, links, variables=True)
    event["exception"]["values"][0]["mechanism"] = {"type": "stuck"}
    waited = round(now() - exchange.started_at, 3)
    facts: dict[str, Any] = {"waited_seconds": waited}
    if cancelled:
        facts["cancelled_in"] = where(links)
    event["contexts"] = {"asgi": facts}
    with sessionless():
        capture_within(watch.budget, site, event, {OURS: True})


def where(links: Sequence[Any]) -> str:
    """What a chain of frames waits in: the library that the application calls, else its own line."""
    own = [n for n, one in enumerate(links) if application[one.f_code.co_filename]]
    if not links:
        return "nobody knows where"
    last = own[-1] if own else len(links) - 1
    if last + 1 < len(links):
        return _function(links[last + 1])
    code = links[last].f_code
    return _place(Site(code.co_filename, links[last].f_lineno or 0, code.co_qualname))


def _function(link: Any) -> str:
    module = str(link.f_globals.get("__name__")).partition(".")[0]
    return f"{module}.{link.f_code.co_qualname}"


# Both


def _event(
    level: str, kind: str, text: str, links: Sequence[Any], *, variables: bool
) -> dict[str, Any]:
    value: dict[str, Any] = {"type": kind, "value": text}
    if links:
        value["stacktrace"] = stacktrace(links, variables=variables)
    return {
        "level": level,
        "exception": {"values": [value]},
        "fingerprint": [kind, *_innermost(links)],
    }


def _site(links: Sequence[Any]) -> tuple[Any, ...]:
    for one in (list(applications(links)) or links)[-1:]:
        return one.f_code.co_filename, one.f_lineno
    return ()


def _innermost(links: Sequence[Any]) -> list[str]:
    for one in (list(applications(links)) or links)[-1:]:
        return [str(one.f_globals.get("__name__")), one.f_code.co_qualname]
    return []
