"""The cases, by name. A new one is one more entry: an app, a setting, and a way to measure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks import imports, inprocess, memory, served
from benchmarks.workloads import Setting, http_app, starlette_app, websocket_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.figures import Effort, Result, Skipped

ERRORS_ONLY = Setting()
WITHOUT_SESSIONS = Setting(options={"auto_session_tracking": False})
AS_INSTALLED = Setting(options={"auto_enabling_integrations": True})

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
    "import": partial(imports.measure, "Time that the import adds to `import sentry_sdk`"),
}
