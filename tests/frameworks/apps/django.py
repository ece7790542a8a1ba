from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import include, path

from ..failing import fail

ROUTES = {"mounted": "/sub/<str:name>/raise"}
# Django has no websockets, no lifespan, no background tasks, and no handlers for single exceptions.
WITHOUT = {"websocket", "startup", "background", "handled"}


async def raising(request: HttpRequest) -> HttpResponse:
    fail("raise")


def sync(request: HttpRequest) -> HttpResponse:
    fail("sync")


async def mounted(request: HttpRequest, name: str) -> HttpResponse:
    fail("mounted")


async def parts() -> AsyncIterator[bytes]:
    yield b"one"
    fail("stream")


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(parts())


async def left(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body)


part = ([path("<str:name>/raise", mounted)], "part")

urlpatterns = [
    path("raise", raising),
    path("sync", sync),
    path("sub/", include(part)),
    path("stream", stream),
    path("left", left),
]


def make(startup_fails: bool, middleware: Any = ()) -> Any:
    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=__name__,
            SECRET_KEY="test",
            ALLOWED_HOSTS=["*"],
            DEBUG=False,
            MIDDLEWARE=list(middleware),
        )
        django.setup()
    assert sys.modules[__name__]
    from django.core.asgi import get_asgi_application

    return get_asgi_application()
