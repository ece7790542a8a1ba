"""The cases, by name. A new one is one more entry: an app, a setting, and a way to measure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks import (
    captures,
    hostile,
    imports,
    incident,
    inprocess,
    keeping,
    memory,
    secrets,
    served,
    storm,
    unwinding,
    upload,
)
from benchmarks.workloads import (
    LEVELS,
    Setting,
    failing_starlette_app,
    fastapi_app,
    http_app,
    large_fastapi_app,
    starlette_app,
    websocket_app,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.figures import Effort, Result, Skipped

ERRORS_ONLY = Setting()
WITHOUT_SESSIONS = Setting(options={"auto_session_tracking": False})
AS_INSTALLED = Setting(options={"auto_enabling_integrations": True})

# Each failure makes an event.
CAPTURING = Setting(path="/checkout", middleware={"error_budget": None})
CAPTURING_LARGE = Setting(
    path="".join(f"/level{level}" for level in reversed(range(LEVELS))) + "/orders700/3",
    middleware={"error_budget": None},
)

# By default, but for what makes the most work: cookies are looked at only where they may be sent.
HOSTILE = Setting(options={"send_default_pii": True}, middleware={"error_budget": None})

# An incoming trace whose parent was not sampled.
FOLLOWING = (
    (b"sentry-trace", b"0123456789abcdef0123456789abcdef-fedcba9876543210-0"),
    (
        b"baggage",
        (
            b"sentry-trace_id=0123456789abcdef0123456789abcdef,sentry-public_key=public,"
            b"sentry-environment=production,sentry-sample_rand=0.512345,sentry-sampled=false"
        ),
    ),
)


def _sampling(rate: float, **options: object) -> Setting:
    return Setting(options={"traces_sample_rate": rate, **options}, otel_sample_rate=rate)


CASES: dict[str, Callable[[Effort], Result | Skipped]] = {
    "http": partial(
        inprocess.measure, "Time added to a request, errors only", http_app, ERRORS_ONLY
    ),
    "http-task": partial(
        inprocess.measure,
        "Time added to a request, errors only, each request in a task of its own",
        http_app,
        ERRORS_ONLY,
        tasks=True,
    ),
    "http-sessionless": partial(
        inprocess.measure,
        "Time added to a request, errors only, without the sessions of release health",
        http_app,
        WITHOUT_SESSIONS,
    ),
    "websocket": partial(
        memory.measure, "Memory added to an open websocket, errors only", websocket_app, ERRORS_ONLY
    ),
    "served": partial(
        served.measure, "uvicorn + Starlette, errors only", starlette_app, ERRORS_ONLY
    ),
    "served-integrated": partial(
        served.measure,
        "uvicorn + Starlette, errors only, with the integrations that the SDK enables by itself",
        starlette_app,
        AS_INSTALLED,
    ),
    "served-fastapi": partial(
        served.measure,
        "uvicorn + FastAPI, errors only, with the integrations that the SDK enables by itself",
        fastapi_app,
        AS_INSTALLED,
    ),
    "capture": partial(
        captures.measure,
        "One captured exception, Starlette, 25 frames",
        failing_starlette_app,
        CAPTURING,
    ),
    "capture-large": partial(
        captures.measure,
        "One captured exception, FastAPI, 800 routes through five levels of routers",
        large_fastapi_app,
        CAPTURING_LARGE,
        divide=5,
    ),
    "storm": partial(
        storm.measure,
        "Every request fails: uvicorn + Starlette, 16 connections",
        failing_starlette_app,
        Setting(path="/checkout", quiet=True),
    ),
    "incident": partial(
        incident.measure,
        "An incident: 1,000 processes, 1,000 failing requests/s in each, ten minutes",
        failing_starlette_app,
        CAPTURING,
    ),
    "traces-0": partial(
        inprocess.measure, "Time added to a request, no trace sampled", http_app, _sampling(0.0)
    ),
    "traces-1-percent": partial(
        inprocess.measure, "Time added to a request, 1 % sampled", http_app, _sampling(0.01)
    ),
    "traces-incoming": partial(
        inprocess.measure,
        "Time added to a request with an incoming trace, not sampled",
        http_app,
        Setting(options={"traces_sample_rate": 1.0}, otel_sample_rate=0.0, headers=FOLLOWING),
    ),
    "traces-100-percent": partial(
        inprocess.measure,
        "Time added to a request, all sampled, transactions",
        http_app,
        _sampling(1.0),
    ),
    "traces-streamed": partial(
        inprocess.measure,
        "Time added to a request, all sampled, streamed spans",
        http_app,
        _sampling(1.0, trace_lifecycle="stream"),
    ),
    "keep": partial(
        keeping.measure,
        "Time added to a request that may be kept, 1 % sampled",
        http_app,
        _sampling(0.01),
    ),
    "keep-spans": partial(
        keeping.measure,
        "Time added to a request that may be kept and starts ten spans, 1 % sampled",
        keeping.ten_spans,
        _sampling(0.01),
    ),
    "traces-served": partial(
        served.measure, "uvicorn + Starlette, 1 % of traces sampled", starlette_app, _sampling(0.01)
    ),
    "traces-served-10-percent": partial(
        served.measure,
        "uvicorn + Starlette, 10 % of traces sampled, with the SDK's integrations",
        starlette_app,
        _sampling(0.1, auto_enabling_integrations=True),
    ),
    "traces-served-100-percent": partial(
        served.measure,
        "uvicorn + Starlette, all traces sampled, with the SDK's integrations",
        starlette_app,
        _sampling(1.0, auto_enabling_integrations=True),
    ),
    "traces-websocket": partial(
        memory.measure,
        "Memory added to an open websocket, all traces sampled",
        websocket_app,
        _sampling(1.0),
    ),
    "upload": partial(upload.measure, "An upload of a gigabyte, errors only"),
    "unwinding": partial(
        unwinding.measure,
        "Time added to an exception that leaves a frame, errors only",
        WITHOUT_SESSIONS,
    ),
    "hostile": partial(
        hostile.measure, "Time that one client takes from all others by what it sends", HOSTILE
    ),
    "secrets": partial(
        secrets.measure,
        "Time that is spent on secrets",
        _sampling(1.0),
        _sampling(1.0, trace_lifecycle="stream"),
        CAPTURING,
    ),
    "import": partial(imports.measure, "Time that the import adds to `import sentry_sdk`"),
}
