"""A thousand overlapping requests of fifty users: no report names another request's user, tag or trace.

Under a real server, over connections that are kept alive, with requests sent before the last is answered.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest
import sentry_sdk
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from sentry_asgi import SentryMiddleware

from . import apps
from .servers import uvicorn_serving
from .support import SDK_VERSION, THOROUGH, App, Scope, Sentry

USERS, EACH = 50 if THOROUGH else 20, 20
RID = re.compile(r"r\d+-\d+z")
USER = re.compile(r"user\d+x")


def asked(query: bytes) -> tuple[str, str]:
    told = parse_qs(query.decode())
    return told["rid"][0], told["user"][0]


def say(query: bytes) -> None:
    rid, user = asked(query)
    sentry_sdk.set_user({"id": user})
    sentry_sdk.set_tag("rid", rid)


async def work(query: bytes) -> None:
    rid, _ = asked(query)
    await asyncio.sleep(int(rid[1:-1].partition("-")[0]) % 5 / 1000)
    sentry_sdk.add_breadcrumb(message=f"crumb of {rid}")
    sentry_sdk.capture_message(f"message of {rid}")
    if int(rid[:-1].rpartition("-")[2]) % 2:
        raise ValueError(f"failure of {rid}")


async def endpoint(request: Request) -> PlainTextResponse:
    await work(request.scope["query_string"])
    return PlainTextResponse("ok")


def answer(request: Request, error: Exception) -> PlainTextResponse:
    """Answer a failure: uvicorn closes the connection of what is raised."""
    return PlainTextResponse("failed", 500)


def starlette(handler: Any) -> Starlette:
    return Starlette(routes=[Route("/", handler)], exception_handlers={ValueError: answer})


async def telling(request: Request) -> PlainTextResponse:
    say(request.scope["query_string"])
    return await endpoint(request)


@contextmanager
def outermost() -> Iterator[App]:
    yield SentryMiddleware(starlette(telling), error_budget=None)


async def dispatch(request: Request, call_next: Any) -> Any:
    say(request.scope["query_string"])
    return await call_next(request)


@contextmanager
def beneath_base_http_middleware() -> Iterator[App]:
    app = starlette(endpoint)
    app.add_middleware(SentryMiddleware, error_budget=None)
    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    yield app


class Saying:
    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            say(scope["query_string"])
        await self.app(scope, receive, send)


@contextmanager
def beneath_a_pure_one() -> Iterator[App]:
    app = starlette(endpoint)
    app.add_middleware(SentryMiddleware, error_budget=None)
    app.add_middleware(Saying)
    yield app


class DjangosOwn:
    """A middleware of Django's."""

    async_capable, sync_capable = True, False

    def __init__(self, get_response: Any) -> None:
        from asgiref.sync import markcoroutinefunction

        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: Any) -> Any:
        say(request.META["QUERY_STRING"].encode())
        return await self.get_response(request)


@contextmanager
def django() -> Iterator[App]:
    apps.django()
    from django.core.handlers.asgi import ASGIHandler
    from django.http import HttpResponse
    from django.test.utils import override_settings
    from django.urls import path

    async def view(request: Any) -> HttpResponse:
        await work(request.META["QUERY_STRING"].encode())
        return HttpResponse("ok")

    apps.urlpatterns.append(path("many", view))
    with override_settings(MIDDLEWARE=[f"{__name__}.{DjangosOwn.__name__}"]):
        yield SentryMiddleware(ASGIHandler(), error_budget=None)


def browse(port: int, path: str, number: int, *, pipelined: bool) -> int:
    """Send all requests of one user on one connection; return how many were answered."""
    rids = [f"r{number}-{one}z" for one in range(EACH)]
    requests = [
        f"GET {path}?rid={rid}&user=user{number}x HTTP/1.1\r\nhost: example.org\r\n"
        f"connection: {'close' if rid is rids[-1] else 'keep-alive'}\r\n\r\n"
        for rid in rids
    ]
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for sent in ["".join(requests)] if pipelined else requests:
            connection.sendall(sent.encode())
            while not pipelined and received.count(b"HTTP/1.1 ") <= requests.index(sent):
                received += connection.recv(65536)
        while chunk := connection.recv(65536):
            received += chunk
    return received.count(b"HTTP/1.1 ")


@pytest.mark.parametrize(
    ("make", "path", "pipelined"),
    [
        (outermost, "/", True),
        (beneath_base_http_middleware, "/", True),
        (beneath_base_http_middleware, "/", False),
        (beneath_a_pure_one, "/", True),
        (beneath_a_pure_one, "/", False),
        (django, "/many", True),
    ],
)
@pytest.mark.timeout(300)
def test_no_report_names_another_requests_user(
    sentry: Sentry, make: Callable[[], Any], path: str, pipelined: bool
) -> None:
    sentry.init(auto_enabling_integrations=True, traces_sample_rate=1.0)
    with (
        make() as app,
        uvicorn_serving(app) as port,
        ThreadPoolExecutor(USERS) as pool,
    ):
        browsing = functools.partial(browse, port, path, pipelined=pipelined)
        assert list(pool.map(browsing, range(USERS))) == [EACH] * USERS
    sentry_sdk.flush()
    reports = [*sentry.events, *sentry.transport.items("transaction"), *sentry.segments]
    for report in reports:
        told = json.dumps(report)
        (rid,) = set(RID.findall(told))
        number = rid[1:].partition("-")[0]
        assert set(USER.findall(told)) == {f"user{number}x"}, rid
    messages = [one for one in sentry.events if "exception" not in one]
    failures = [one for one in sentry.events if "exception" in one]
    assert len(messages) == USERS * EACH
    assert len(failures) == USERS * EACH // 2
    without = [one["message"] for one in messages if "user" not in one]
    # uvicorn starts a request that waits within the send() of the one before it: further out, the scope is that one's.
    if not pipelined or make in {outermost, django}:
        assert without == []
    assert len({one["contexts"]["trace"]["trace_id"] for one in messages}) == USERS * EACH
    if SDK_VERSION < (3, 0):
        assert len(sentry.transport.items("transaction")) == USERS * EACH
