"""Who is measured: each contender wraps an app, and does so as its own documentation says.

All that report to Sentry do so through one client: a DSN is set, the transport drops what it gets,
and what `sentry_sdk.init` enables by default stays enabled, request sessions (release health)
included, except integrations with frameworks (`auto_enabling_integrations=False`): a case is about
the middleware, and says so where it turns them on. The release is fixed, since the SDK would
otherwise look for one in the working directory, and whether it finds one would change the figures.

`init` is no middleware but what `sentry_sdk.init` does by itself: it patches the framework that the app is of. So it is
measured only where each contender has a process of its own, and beside the others as they are with that patching.

OpenTelemetry has no notion of "errors only". Its counterpart is its cheapest real configuration:
a TracerProvider that samples nothing, and no MeterProvider. With that it reports nothing at all,
so its figure is the least that it costs anybody, and where a case samples traces, so does it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.workloads import (
    App,
    Message,
    Receive,
    Scope,
    Send,
    Setting,
    failing_app,
    failing_starlette_app,
    http_scope,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentry_sdk.envelope import Envelope


@dataclass(frozen=True)
class Contender:
    """A way to wrap an app."""

    name: str
    title: str
    wrap: Callable[[App, Setting], App]
    sentry: bool
    """Whether it reports to Sentry."""
    imports: str
    """The statement that a user writes to have it; empty if none."""


class PassThrough:
    """The least that any middleware does."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def bare(app: App, setting: Setting) -> App:
    """Nothing around it."""
    return app


def empty(app: App, setting: Setting) -> App:
    """Something around it that does nothing."""
    return PassThrough(app)


def sentry_asgi(app: App, setting: Setting) -> App:
    """What this project makes."""
    from sentry_asgi import SentryMiddleware

    wrapped: App = SentryMiddleware(app, **setting.middleware)
    return wrapped


def sentry_sdk(app: App, setting: Setting) -> App:
    """What the SDK has for any ASGI app."""
    from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

    wrapped: Any = SentryAsgiMiddleware(app)
    return wrapped  # type: ignore[no-any-return]


def opentelemetry(app: App, setting: Setting) -> App:
    """OpenTelemetry's, with the setting's sample rate; spans that end are dropped."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBasedTraceIdRatio

    rate = setting.otel_sample_rate
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(rate) if rate else ALWAYS_OFF)
    wrapped: App = OpenTelemetryMiddleware(app, tracer_provider=provider)
    return wrapped


BARE, OURS, SDK, INIT = "bare", "sentry_asgi", "sentry_sdk", "init"

CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender(BARE, "bare app", bare, sentry=False, imports=""),
        Contender("empty", "empty pass-through", empty, sentry=False, imports=""),
        Contender(
            OURS,
            "sentry_asgi SentryMiddleware",
            sentry_asgi,
            sentry=True,
            imports="from sentry_asgi import SentryMiddleware",
        ),
        Contender(
            SDK,
            "sentry_sdk SentryAsgiMiddleware",
            sentry_sdk,
            sentry=True,
            imports="from sentry_sdk.integrations.asgi import SentryAsgiMiddleware",
        ),
        Contender(
            "opentelemetry",
            "OpenTelemetryMiddleware",
            opentelemetry,
            sentry=False,
            imports="from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware",
        ),
    )
}

SERVED = CONTENDERS | {
    INIT: Contender(INIT, "sentry_sdk.init alone", bare, sentry=True, imports=""),
}
"""Those that are measured in processes of their own."""


def start_sentry(setting: Setting) -> Counter[str]:
    """Start a client that drops what it gets; return the count of what it got, by type."""
    import sentry_sdk
    from sentry_sdk.transport import Transport

    dropped: Counter[str] = Counter()

    class Dropping(Transport):
        def capture_envelope(self, envelope: Envelope) -> None:
            dropped.update(str(item.type) for item in envelope.items)

    options: dict[str, Any] = {
        "dsn": "https://key@sentry.invalid/1",
        "transport": Dropping,
        "release": "bench@1.0",
        "auto_enabling_integrations": False,
    }
    sentry_sdk.init(**options | setting.options)
    return dropped


def require(names: list[str]) -> None:
    """Import every contender; whoever lacks one learns which."""
    for name in names:
        try:
            exec(CONTENDERS[name].imports)
        except ImportError as error:
            raise SystemExit(f"No figures: the contender {name!r} is missing ({error}).") from None


def verify(name: str, setting: Setting, dropped: Counter[str]) -> None:
    """Make sure that the contender does its work: one error, one event, nothing swallowed."""
    contender = SERVED[name]
    app: App = failing_app
    if name == INIT:
        app, setting = failing_starlette_app(), replace(setting, path="/checkout")
    before = dropped["event"]
    asyncio.run(_fail(contender.wrap(app, setting), setting))
    events = dropped["event"] - before
    if events != contender.sentry:
        raise SystemExit(f"No figures: one error made {events} events with {name!r}.")


async def _fail(app: App, setting: Setting) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    try:
        await app(http_scope(setting), receive, send)
    except LookupError:
        return
    raise SystemExit("No figures: a contender swallowed the app's error.")
