"""What the real SDK and the real middleware report of a request makes its page, by transactions and streamed spans."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest
import sentry_sdk
from sentry_sdk.scope import Scope, ScopeType, use_isolation_scope, use_scope
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sentry_asgi import SentryMiddleware
from sentry_asgi.inspector.requests import RequestFacts, request_facts
from sentry_asgi.inspector.store import Filter
from tests.support import SDK_VERSION

from .support import Inspector, wait_for

STREAMED = {"trace_lifecycle": "stream"}
WAYS: dict[str, dict[str, Any]] = {"stream": {}}
if SDK_VERSION < (3, 0):
    WAYS = {"static": {}, **({"stream": STREAMED} if SDK_VERSION >= (2, 75) else {})}


def ask(name: str, op: str) -> None:
    """What an integration does around a query or a call."""
    if streaming():
        from sentry_sdk.traces import start_span

        with start_span(name=name, attributes={"sentry.op": op}):
            pass
    else:
        with sentry_sdk.start_span(op=op, name=name):
            pass


def streaming() -> bool:
    options = sentry_sdk.get_client().options
    return SDK_VERSION >= (3, 0) or bool(options.get("trace_lifecycle") == "stream")


async def orders(request: Request) -> JSONResponse:
    for number in range(6):
        ask(f"SELECT * FROM items WHERE id = {number}", "db")
    ask("GET http://till/tax", "http.client")
    if "fail" in request.query_params:
        raise KeyError("bananas")
    return JSONResponse([])


@pytest.mark.parametrize("way", WAYS)
def test_a_request_of_the_real_sdk_has_its_page(inspector: Inspector, way: str) -> None:
    app = SentryMiddleware(Starlette(routes=[Route("/orders/{kind}", orders)]))
    client = sentry_sdk.Client(
        dsn=inspector.dsn, traces_sample_rate=1.0, default_integrations=False, **WAYS[way]
    )

    async def send() -> None:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as http:
            for path in ("/orders/new?page=2", "/orders/new?fail=1"):
                await http.get(path)

    current = Scope(ty=ScopeType.CURRENT, client=client)
    with use_isolation_scope(Scope(ty=ScopeType.ISOLATION)), use_scope(current):
        anyio.run(send)
        client.flush(5)
    client.close(5)

    def facts() -> list[RequestFacts]:
        found = inspector.store.entries(Filter(["request"]), limit=9)
        return [request_facts(inspector.store, one) for one in found]

    both = wait_for(facts, lambda found: len(found) == 2 and all(one.queries == 6 for one in found))
    failed, fine = sorted(both, key=lambda one: one.listed.status == "200")
    for one, status in ((fine, "200"), (failed, "500")):
        listed = one.listed
        assert (listed.summary.title, listed.status) == ("GET /orders/new", status)
        assert (
            listed.summary.transaction == "/orders/{kind}" or "orders" in listed.summary.transaction
        )
        assert [found.rule for found in one.findings] == ["n-plus-one"]
        assert [moment.kind for moment in one.moments][:2] == ["query", "call"]
        assert len(one.moments[0].held) == 6
        page = inspector.get(f"/requests/{listed.span_id}").text
        assert "SELECT" in page
        assert "In order of time" in page
    assert [error.summary.title for error in failed.errors] == ["KeyError"]
    assert fine.errors == ()
    (error,) = inspector.errors()
    assert (
        f'href="/requests/{failed.listed.span_id}"'
        in inspector.get(f"/events/{error.event_id}").text
    )
    assert "items" in inspector.get("/figures").text
