"""Many requests, of which few are slow, few fail and few are sampled: what arrives of them, and what is held after.

`python -m tests.keep_soak --requests 10000` prints it; `test_keep_soak` runs fewer. Each request asks another app by
httpx and a database by SQLAlchemy, under the SDK's integrations.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
import sentry_sdk
import sqlalchemy
from sentry_sdk.integrations.httpx import HttpxIntegration
from sentry_sdk.integrations.sqlalchemy import SqlalchemyIntegration
from sqlalchemy.pool import StaticPool

from sentry_asgi import Keep, SentryMiddleware
from sentry_asgi._tracing import recording

from .support import SDK_VERSION, Scope, Sentry, call, http_scope, respond

RATE = 0.01
SLOW = 1.0
AT_ONCE = 100


@dataclass
class Arrived:
    """What arrived of so many requests."""

    requests: int
    streams: bool
    weight: float = 0.0
    # By path: why it was kept, None where it was sampled; and the spans that it has besides its own.
    kept: dict[str, Any] = field(default_factory=dict)
    children: Counter[str] = field(default_factory=Counter)
    events: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    held: int = 0

    @property
    def deviation(self) -> float:
        """How far the weight is from the number of requests, in standard deviations of the dice."""
        spread = math.sqrt(self.requests * RATE * (1 - RATE)) / RATE
        return abs(self.weight - self.requests) / spread


def kind_of(number: int) -> str:
    return {7: "slow", 57: "failed"}.get(number % 100, "fine")


def paths(requests: int, kind: str) -> set[str]:
    return {f"/{kind}/{number}" for number in range(requests) if kind_of(number) == kind}


def soak(requests: int, *, streams: bool) -> Arrived:
    sentry = Sentry()
    options: dict[str, Any] = {"trace_lifecycle": "stream"} if streams else {}
    sentry.init(
        traces_sample_rate=RATE,
        integrations=[HttpxIntegration(), SqlalchemyIntegration()],
        **({} if SDK_VERSION >= (3, 0) else options),
    )
    arrived = Arrived(requests, streams)

    def record(
        reason: str, data_category: Any = None, item: Any = None, *, quantity: int = 1
    ) -> None:
        arrived.lost[f"{reason} {data_category}"] += quantity

    sentry.transport.record_lost_event = record  # type: ignore[method-assign]
    try:
        asyncio.run(_serve(requests))
        sentry_sdk.flush()
        _read(arrived, sentry)
    finally:
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.get_global_scope().set_client(None)
    gc.collect()
    arrived.held = recording.held.spans + _open_recordings()
    return arrived


async def _serve(requests: int) -> None:
    engine = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool)
    downstream: Any = _downstream
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=downstream))

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("select 1"))
        await client.get("http://downstream.invalid/")
        kind = scope["path"].split("/")[1]
        if kind == "slow":
            await asyncio.sleep(SLOW)
        if kind == "failed":
            raise ValueError(scope["path"])
        await respond(send)

    # All requests are served by one loop, which they may block.
    keep = Keep(failed=True, slower_than=SLOW)
    wrapped = SentryMiddleware(app, keep=keep, error_budget=None, watch=None)
    numbers = iter(range(requests))

    async def work() -> None:
        for number in numbers:
            try:
                await call(wrapped, http_scope(f"/{kind_of(number)}/{number}"))
            except ValueError:
                assert kind_of(number) == "failed"

    await asyncio.gather(*(asyncio.create_task(work()) for _ in range(AT_ONCE)))
    await client.aclose()
    engine.dispose()


async def _downstream(scope: Scope, receive: Any, send: Any) -> None:
    headers = dict(scope["headers"])
    assert headers[b"sentry-trace"][-1:] in {b"0", b"1"}
    await respond(send)


def _read(arrived: Arrived, sentry: Sentry) -> None:
    arrived.events = len(sentry.events)
    for envelope in sentry.transport.envelopes:
        for item in envelope.items:
            kind = item.headers.get("type")
            if kind == "transaction":
                event = json.loads(item.payload.get_bytes())
                root = event["contexts"]["trace"]["data"]
                _read_root(arrived, envelope, event["transaction"], root.get("sentry_asgi.kept"))
                arrived.children[event["transaction"]] = len(event["spans"])
            elif kind == "span":
                for span in json.loads(item.payload.get_bytes())["items"]:
                    said = {name: one["value"] for name, one in span["attributes"].items()}
                    if span["is_segment"]:
                        _read_root(arrived, envelope, span["name"], said.get("sentry_asgi.kept"))
                    else:
                        arrived.children[said["sentry.segment.name"]] += 1


def _read_root(arrived: Arrived, envelope: Any, path: str, why: Any) -> None:
    assert path not in arrived.kept, f"{path} arrived twice"
    arrived.kept[path] = why
    arrived.weight += 1 / float(envelope.headers["trace"]["sample_rate"])


def _open_recordings() -> int:
    return sum(len(one.spans) for one in gc.get_objects() if type(one) is recording.Recording)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    requests = parser.parse_args().requests
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    ways = [False] * (SDK_VERSION < (3, 0)) + [True] * (SDK_VERSION >= (2, 75))
    for streams in ways:
        arrived = soak(requests, streams=streams)
        why = Counter(arrived.kept.values())
        missing = [
            path
            for kind in ("slow", "failed")
            for path in paths(requests, kind)
            if path not in arrived.kept or arrived.children[path] < 2
        ]
        print(f"sentry-sdk {sentry_sdk.VERSION}, {'streamed spans' if streams else 'transactions'}")
        print(
            f"  {requests} requests: {why['slow']} kept as slow, {why['failed']} as failed, {why[None]} sampled"
        )
        print(f"  slow or failed ones missing or not whole: {len(missing)}")
        print(
            f"  weight {arrived.weight:.0f}, {arrived.deviation:.1f} standard deviations of the dice off"
        )
        print(
            f"  {arrived.events} events, client reports {dict(arrived.lost)}, held after: {arrived.held}"
        )


if __name__ == "__main__":
    main()
