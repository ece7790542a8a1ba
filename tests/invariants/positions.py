"""Puts the middlewares around an application, or into it: where the framework's users put theirs."""

from __future__ import annotations

from typing import Any

from sentry_asgi import SentryMiddleware

from . import otel

# Those whose `add_middleware(cls)` takes ASGI middlewares, the last one outermost.
ADDING = {"starlette", "fastapi", "strawberry", "ariadne", "mcp", "a2wsgi"}
DJANGO = {"django", "rest_framework", "ninja"}


class Marking:
    """A middleware, without a framework, that says who the request is."""

    name = ""
    says_user = False

    def __init__(self, app: Any, driver: Any) -> None:
        self.app, self.driver = app, driver

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if self.says_user:
            self.driver.user()
        self.driver.mark(self.name)
        await self.driver.pause()
        with self.driver.span(self.name):
            return await self.app(scope, receive, send)


def marking(driver: Any, name: str, *, says_user: bool) -> Any:
    """Return a class of middlewares, as `add_middleware` takes it."""

    class One(Marking):
        def __init__(self, app: Any) -> None:
            super().__init__(app, driver)

    One.name, One.says_user = name, says_user
    return One


def assemble(driver: Any, module: Any, framework: str, position: str, *, bare: bool) -> Any:
    """Return the application with the middlewares, outermost first: `outer`, Sentry's, `middleware`.

    OpenTelemetry's is the outermost, but for Sentry's where that is to be.
    """
    traces = driver.combination["integrations"] == "otlp"
    tracing = [otel.middleware()] if traces else []
    inner = marking(driver, "middleware", says_user=position == "outermost")
    sentry = [] if bare else [SentryMiddleware]
    outer = marking(driver, "outer", says_user=True)
    in_lifespan = driver.combination["init"] == "lifespan"
    if position == "own":
        return _own(driver, module, framework, tracing, [*sentry, inner])
    if position == "outermost":
        app = _wrap(module.make(in_lifespan), [*tracing, inner])
        return _wrap(app, sentry)
    chain = [*tracing, outer, *sentry, inner]
    if framework == "litestar":
        return module.make(in_lifespan, middleware=chain)
    app = module.make(in_lifespan)
    if framework == "quart":
        app.asgi_app = _wrap(app.asgi_app, chain)
        return app
    if framework not in ADDING:
        return _wrap(app, chain)
    for one in reversed(chain):
        app.add_middleware(one)
    return app


def _own(driver: Any, module: Any, framework: str, tracing: list[Any], chain: list[Any]) -> Any:
    in_lifespan = driver.combination["init"] == "lifespan"
    if framework in DJANGO:
        _DjangoMarking.driver = driver
        own = f"{__name__}.{_DjangoMarking.__name__}"
        return _wrap(module.make(in_lifespan, middleware=[own]), [*tracing, *chain])
    from starlette.middleware.base import BaseHTTPMiddleware

    async def dispatch(request: Any, call_next: Any) -> Any:
        driver.user()
        driver.mark("outer")
        await driver.pause()
        return await call_next(request)

    app = module.make(in_lifespan)
    for one in reversed(chain):
        app.add_middleware(one)
    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    for one in tracing:
        app.add_middleware(one)
    return app


class _DjangoMarking:
    """One of Django's own middlewares; Sentry's stands further out."""

    async_capable, sync_capable = True, False
    driver: Any

    def __init__(self, get_response: Any) -> None:
        from asgiref.sync import markcoroutinefunction

        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: Any) -> Any:
        self.driver.user()
        self.driver.mark("outer")
        await self.driver.pause()
        return await self.get_response(request)


def _wrap(app: Any, chain: list[Any]) -> Any:
    for one in reversed(chain):
        app = one(app)
    return app
