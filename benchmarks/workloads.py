"""The apps that are measured, the ASGI scopes they get, and the settings they run under.

The apps do as little as an app can, so that a contender's cost stands out. The scopes are those
that uvicorn makes; each call makes a fresh one, since middlewares may leave things in them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.requests import Request

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = [
    (b"host", b"shop.example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-US,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"cookie", b"session=0123456789abcdef; theme=dark"),
]
HANDSHAKE = [
    (b"connection", b"Upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
]


@dataclass(frozen=True)
class Setting:
    """How the contenders are configured, and what comes with the request."""

    options: dict[str, Any] = field(default_factory=dict)
    """For sentry_sdk.init, beyond what `contenders.start_sentry` always gives."""
    otel_sample_rate: float = 0.0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Besides the usual ones."""
    middleware: dict[str, Any] = field(default_factory=dict)
    """For this project's middleware."""
    path: str = "/items/42"
    quiet: bool = False
    """Whether what a server logs goes nowhere."""


def http_scope(setting: Setting) -> Scope:
    """The scope of a GET."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": setting.path,
        "raw_path": setting.path.encode(),
        "query_string": b"colour=red&size=3",
        "headers": [*HEADERS, *setting.headers],
        "state": {},
    }


def websocket_scope(setting: Setting) -> Scope:
    """The scope of a websocket's handshake."""
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "root_path": "",
        "path": "/chat",
        "raw_path": b"/chat",
        "query_string": b"room=42",
        "headers": [*HEADERS, *HANDSHAKE, *setting.headers],
        "subprotocols": [],
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }


async def http_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a few bytes."""
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain"), (b"content-length", b"2")],
        }
    )
    await send({"type": "http.response.body", "body": b"ok"})


async def websocket_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept, and wait for what never comes until the client goes."""
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def failing_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Fail."""
    raise LookupError("This is what a contender has to notice.")


def starlette_app() -> App:
    """A Starlette app with one route."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def homepage(request: Request) -> PlainTextResponse:
        return PlainTextResponse("Hello, world!")

    return Starlette(routes=[Route("/", homepage)])


def fastapi_app() -> App:
    """A FastAPI app with one route."""
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/")
    async def homepage() -> dict[str, str]:
        return {"said": "Hello, world!"}

    return app


# Apps that fail, as apps do: some functions in, with orders and prices in their variables.

DEEP = 7
"""Functions beneath the handler: with Starlette's own, and a middleware's, an event shows 25 frames."""


def _total(order: dict[str, Any], deeper: int, discount: float = 0.2) -> float:
    lines = [{"id": number, "name": f"item {number}", "price": 9.99} for number in order["items"]]
    note = "Deliver to the back door, please."
    if deeper:
        return _total(order, deeper - 1)
    raise LookupError(f"no price for {lines[-1]['name']}, {discount:.0%} off: {note}")


def _checkout(items: int) -> float:
    order = {"id": 42, "customer": "alice", "items": list(range(items))}
    return _total(order, DEEP)


def failing_starlette_app() -> App:
    """A Starlette app with one route that fails and one that does not."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def homepage(request: Request) -> PlainTextResponse:
        return PlainTextResponse("Hello, world!")

    async def checkout(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(_checkout(items=3)))

    return Starlette(routes=[Route("/", homepage), Route("/checkout", checkout)])


ROUTES = 800
LEVELS = 5


def large_fastapi_app() -> App:
    """A FastAPI app of many routes with response models and dependencies, included through some levels of routers."""
    from fastapi import APIRouter, Depends, FastAPI
    from pydantic import BaseModel

    class Item(BaseModel):
        id: int
        name: str
        tags: list[str] = []

    class Order(BaseModel):
        id: int
        items: list[Item]

    async def settings() -> dict[str, str]:
        return {"currency": "EUR"}

    async def user(settings: dict[str, str] = Depends(settings)) -> str:  # noqa: B008
        return "alice"

    async def order(number: int, who: str = Depends(user)) -> Order:
        _checkout(items=number)
        return Order(id=number, items=[])

    router = APIRouter()
    for at in range(ROUTES):
        router.add_api_route(f"/orders{at}/{{number}}", order, response_model=Order)
    for level in range(LEVELS):
        outer = APIRouter(prefix=f"/level{level}")
        outer.include_router(router)
        router = outer
    app = FastAPI()
    app.include_router(router)
    return app
