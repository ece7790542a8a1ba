"""Django Ninja: operations, a router, and an exception handler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tests.frameworks.apps import django
from tests.frameworks.failing import Handled, fail

# Django's own.
WITHOUT = {"websocket", "startup", "background"}


def urls() -> Any:
    """Return the URL patterns; all of it wants Django's settings when it is imported."""
    from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
    from django.urls import path
    from ninja import NinjaAPI, Router

    api = NinjaAPI()
    router = Router()

    @api.get("/raise")
    async def raising(request: Any) -> Any:
        fail("raise")

    @api.get("/sync")
    def sync(request: Any) -> Any:
        fail("sync")

    @router.get("/{name}/raise")
    async def mounted(request: Any, name: str) -> Any:
        fail("mounted")

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        fail("stream")

    @api.get("/stream")
    async def stream(request: Any) -> Any:
        return StreamingHttpResponse(parts())

    @api.get("/handled")
    async def handled(request: Any) -> Any:
        raise Handled("handled")

    @api.exception_handler(Handled)
    def answer(request: HttpRequest, exception: Exception) -> HttpResponse:
        return api.create_response(request, "sorry", status=500)

    @api.post("/left")
    async def left(request: Any) -> Any:
        return HttpResponse(request.body)

    api.add_router("/sub", router)
    return (path("", api.urls),)


def make(startup_fails: bool, middleware: Any = ()) -> Any:
    return django.make(startup_fails, middleware, urls)
