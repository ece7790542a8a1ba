"""What `keep` costs a request that is fine and not sampled: the same app with the option and without, in one loop.

The SDK's middleware is beside it at the rates 0 and 1, each in an interpreter of its own, as is the bare app that its
figures are taken from.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import sentry_sdk

from benchmarks import fresh
from benchmarks.contenders import BARE, CONTENDERS, OURS, SDK, start_sentry
from benchmarks.figures import Column, Effort, Result, spread
from benchmarks.inprocess import _in_turn, _time_rounds

if TYPE_CHECKING:
    from benchmarks.workloads import App, Receive, Scope, Send, Setting

COLUMNS = (
    Column("added", "added µs"),
    Column("more", "more than without"),
    Column("q1", "quartile 1"),
    Column("q3", "quartile 3"),
)

WITHOUT = f"{OURS}, without keep"
SPANS = 10


async def ten_spans(scope: Scope, receive: Receive, send: Send) -> None:
    """As an integration of the SDK's would start them."""
    for _ in range(SPANS):
        with sentry_sdk.start_span(op="db", name="SELECT 1"):
            pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def measure(title: str, app: App, setting: Setting, effort: Effort) -> Result:
    """Microseconds that a request costs with `keep`, and how many more than without."""
    took = fresh.call(time_ours, app, setting, effort.rounds, effort.requests)
    rows = {
        OURS: _row(took[OURS], took[BARE]) | {"more": _more(took[OURS], took[WITHOUT])},
        WITHOUT: _row(took[WITHOUT], took[BARE]) | {"more": 0.0},
    }
    for rate in (0.0, 1.0):
        at = replace(setting, options={**setting.options, "traces_sample_rate": rate})
        theirs = fresh.call(time_theirs, app, at, effort.rounds, effort.requests)
        rows[f"{SDK}, rate {rate}"] = _row(theirs[SDK], theirs[BARE]) | {"more": float("nan")}
    note = f"{effort.rounds} rounds of {effort.requests} requests for each, CPU time."
    return Result(title, COLUMNS, rows, (note,))


def _row(times: list[float], bare: list[float]) -> dict[str, float]:
    added = spread([mine - least for mine, least in zip(times, bare, strict=True)])
    return {"added": added["median"], "q1": added["q1"], "q3": added["q3"]}


def _more(times: list[float], without: list[float]) -> float:
    more = spread([mine - least for mine, least in zip(times, without, strict=True)])
    return more["median"]


def time_ours(app: App, setting: Setting, rounds: int, requests: int) -> dict[str, list[float]]:
    """For a fresh interpreter: this project's middleware with the option and without."""
    from sentry_asgi import Keep

    start_sentry(setting)
    keeping = replace(setting, middleware={"keep": Keep(failed=True, slower_than=1.0)})
    wrap = CONTENDERS[OURS].wrap
    apps = {BARE: app, OURS: wrap(app, keeping), WITHOUT: wrap(app, setting)}
    return asyncio.run(_time_rounds(apps, setting, rounds, requests, _in_turn))


def time_theirs(app: App, setting: Setting, rounds: int, requests: int) -> dict[str, list[float]]:
    """For a fresh interpreter: the SDK's middleware."""
    start_sentry(setting)
    apps = {BARE: app, SDK: CONTENDERS[SDK].wrap(app, setting)}
    return asyncio.run(_time_rounds(apps, setting, rounds, requests, _in_turn))
