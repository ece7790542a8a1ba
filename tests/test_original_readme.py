"""The examples of the first sentry-asgi's README keep working.

The second needs a Starlette of its time, where `@app.route` and `@app.on_event` exist; the first is run in the
form that today's Starlette has for it. Each environment runs what it can.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sentry_sdk
import starlette
from starlette.applications import Starlette

from sentry_asgi import SentryMiddleware
from sentry_asgi.executor import ContextPreservingExecutor

from .support import Scope, Sentry, call, exception_values, http_scope

STARLETTE = tuple(int(part) for part in starlette.__version__.split(".")[:2])


async def serve(app: Any, *paths: str) -> None:
    """As a server does: start up, serve, shut down."""
    started, stop = asyncio.Event(), asyncio.Event()
    state: dict[str, Any] = {}

    async def receive() -> dict[str, Any]:
        if not started.is_set():
            started.set()
            return {"type": "lifespan.startup"}
        await stop.wait()
        return {"type": "lifespan.shutdown"}

    complete = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "lifespan.startup.complete":
            complete.set()

    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
    lifespan = asyncio.create_task(app(scope, receive, send))
    await complete.wait()
    for path in paths:
        with pytest.raises(ValueError, match="nope"):
            await call(app, http_scope(path))
    stop.set()
    await lifespan


@pytest.mark.skipif(STARLETTE < (0, 40), reason="in today's form")
def test_the_example_in_its_form_for_todays_starlette(sentry: Sentry) -> None:
    from contextlib import asynccontextmanager

    from starlette.routing import Route

    def homepage(request: Any) -> None:
        sentry_sdk.set_tag("thread", "yes")
        raise ValueError("nope")

    @asynccontextmanager
    async def lifespan(app: Any) -> Any:
        loop = asyncio.get_event_loop()
        loop.set_default_executor(ContextPreservingExecutor())
        yield

    app: Any = Starlette(routes=[Route("/", homepage)], lifespan=lifespan)
    app = SentryMiddleware(app)

    asyncio.run(serve(app, "/"))
    assert exception_values(sentry.event) == [("ValueError", "nope")]
    assert sentry.event["transaction"].endswith("homepage")
    assert sentry.event["tags"] == {"thread": "yes"}


@pytest.mark.skipif(STARLETTE >= (0, 40), reason="@app.route and @app.on_event are gone")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_example_as_it_was_written(sentry: Sentry) -> None:
    app: Any = Starlette()

    @app.route("/")  # type: ignore[untyped-decorator, unused-ignore]
    def homepage(request: Any) -> None:
        raise ValueError("nope")

    @app.on_event("startup")  # type: ignore[untyped-decorator, unused-ignore]
    async def setup_executor() -> None:
        loop = asyncio.get_event_loop()
        loop.set_default_executor(ContextPreservingExecutor())

    app.add_middleware(SentryMiddleware)

    asyncio.run(serve(app, "/"))
    assert exception_values(sentry.event) == [("ValueError", "nope")]
    assert sentry.event["transaction"].endswith("homepage")
