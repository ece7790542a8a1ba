from __future__ import annotations

import functools
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


class Urls:
    """Stands for a module: its patterns are made when Django, once set up, asks for them."""

    def __init__(self, patterns: Any) -> None:
        self.patterns = patterns

    @functools.cached_property
    def urlpatterns(self) -> Any:
        return self.patterns()


def make(startup_fails: bool, middleware: Any = (), patterns: Any = None, **more: Any) -> Any:
    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=Urls(patterns) if patterns else __name__,
            SECRET_KEY="test",
            ALLOWED_HOSTS=["*"],
            DEBUG=False,
            MIDDLEWARE=list(middleware),
            **more,
        )
        django.setup()
    assert sys.modules[__name__]
    from django.core.asgi import get_asgi_application

    return get_asgi_application()
