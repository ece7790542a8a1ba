"""Django REST framework: its views, its routers and its handler of exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.frameworks.apps import django
from tests.frameworks.failing import Handled, fail

# Django's own.
WITHOUT = {"websocket", "startup", "background"}


def answer(exception: Exception, context: Any) -> Any:
    from rest_framework.response import Response
    from rest_framework.views import exception_handler

    if isinstance(exception, Handled):
        return Response("sorry", status=500)
    return exception_handler(exception, context)


def urls() -> Any:
    """Return the URL patterns; all of it wants Django's settings when it is imported."""
    from django.http import StreamingHttpResponse
    from django.urls import include, path
    from rest_framework.decorators import action, api_view
    from rest_framework.response import Response
    from rest_framework.routers import SimpleRouter
    from rest_framework.views import APIView
    from rest_framework.viewsets import ViewSet

    class Raising(APIView):
        def get(self, request: Any) -> Any:
            fail("raise")

    @api_view(["GET"])
    def sync(request: Any) -> Any:
        fail("sync")

    class Mounted(ViewSet):
        @action(detail=True, url_path="raise")
        def mounted(self, request: Any, pk: str) -> Any:
            fail("mounted")

    def parts() -> Iterator[bytes]:
        yield b"one"
        fail("stream")

    @api_view(["GET"])
    def stream(request: Any) -> Any:
        return StreamingHttpResponse(parts())

    @api_view(["GET"])
    def handled(request: Any) -> Any:
        raise Handled("handled")

    @api_view(["POST"])
    def left(request: Any) -> Any:
        return Response(request.data)

    router = SimpleRouter(trailing_slash=False)
    router.register("sub", Mounted, basename="sub")
    return (
        path("", include(router.urls)),
        path("raise", Raising.as_view()),
        path("sync", sync),
        path("stream", stream),
        path("handled", handled),
        path("left", left),
    )


def make(startup_fails: bool, middleware: Any = ()) -> Any:
    settings = {
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "UNAUTHENTICATED_USER": None,
        "EXCEPTION_HANDLER": f"{__name__}.answer",
    }
    return django.make(startup_fails, middleware, urls, REST_FRAMEWORK=settings)
