"""One careless application in four frameworks: it keeps every secret of its request in variables, and tells of them.

Each handler reads what its framework offers, and what that gives it goes through `careless`, which raises, logs
and captures with all of it in sight.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import sentry_sdk

from .support import SDK_VERSION, App, Message, Scope, respond


def careless(scope: Scope, body: bytes, **seen: Any) -> None:
    headers = dict(scope["headers"])
    nested = {"outer": {"of": {"the": {"whole": {"request": dict(scope), "body": [body]}}}}}
    pieces = [body[: len(body) // 2], body[len(body) // 2 :]]
    query = scope["query_string"].decode("latin-1")
    text = body.decode("utf-8", "replace")
    told = f"of {query} and {text} with {headers!r}, called by https://u:p@example.org/?{query}"
    sentry_sdk.add_breadcrumb(message=told, data={"http.query": query, "headers": headers})
    sentry_sdk.set_extra("request", {"headers": scope["headers"], "body": text})
    sentry_sdk.set_context(
        "seen", {"told": told, "headers": scope["headers"], "object": Holder(text)}
    )
    sentry_sdk.set_tag("query", query[:180].replace("\n", ""))
    if SDK_VERSION < (3, 0):
        with sentry_sdk.start_transaction(name="careless", sampled=True) as transaction:
            transaction.set_data("url.full", f"https://example.org/?{query}")
            with transaction.start_child(op="http.client") as span:
                span.description = f"GET https://example.org/?{query}"
                span.set_data("http.request.body", text)
    sentry_sdk.capture_message(f"a message {told}")
    try:
        raise ValueError(told, nested, pieces)
    except ValueError:
        sentry_sdk.capture_exception()


class Holder:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"<Holder of {self.text}>"


async def raw(scope: Scope, receive: Any, send: Any) -> None:
    chunks: list[bytes] = []
    message: Message = {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        chunks.append(message.get("body", b""))
    careless(scope, b"".join(chunks), chunks=chunks, message=message)
    await respond(send)


@functools.cache
def starlette() -> App:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def handler(request: Request) -> Response:
        body = await request.body()
        careless(
            dict(request.scope),
            body,
            request=request,
            cookies=request.cookies,
            query=request.query_params,
        )
        response = Response("ok")
        for name, value in list(request.cookies.items())[:1]:
            response.headers["x-said"] = str(len(value))
            response.set_cookie("session" if not name.isascii() else "fresh", "n3w-s3ss10n-v4lue")
        return response

    methods = ["GET", "POST"]
    return Starlette(routes=[Route("/{rest:path}", handler, methods=methods)])


@functools.cache
def litestar() -> App:
    from litestar import Litestar, Request, post

    @post("/", media_type="text/plain")
    async def handler(request: Request[Any, Any, Any]) -> str:
        body = await request.body()
        careless(
            dict(request.scope),
            body,
            request=request,
            cookies=request.cookies,
            headers=request.headers,
        )
        return "ok"

    return Litestar([handler], debug=False, openapi_config=None)


def configure_django() -> None:
    """Django is configured once in a process: whichever test is first does it for all."""
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            SECRET_KEY="not in any event", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], DATABASES={}
        )


@functools.cache
def django() -> App:
    configure_django()
    import django as framework

    framework.setup()
    from django.core.handlers.asgi import ASGIHandler
    from django.http import HttpResponse
    from django.urls import path

    async def view(request: Any) -> HttpResponse:
        body = request.body
        careless(request.scope, body, meta=request.META, post=request.POST, cookies=request.COOKIES)
        return HttpResponse("ok")

    def failing(request: Any) -> HttpResponse:
        raise ValueError("nope")

    async def failing_async(request: Any) -> HttpResponse:
        raise ValueError("nope")

    views = {"": view, "failing": failing, "failing_async": failing_async}
    urlpatterns.extend(path(route, served) for route, served in views.items())
    app: App = ASGIHandler()
    return app


urlpatterns: list[Any] = []  # Django's

FRAMEWORKS: dict[str, Callable[[], App]] = {
    "raw": lambda: raw,
    "starlette": starlette,
    "litestar": litestar,
    "django": django,
}
