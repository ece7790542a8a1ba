"""OpenTelemetry's part, where it traces and not the SDK; imported there alone, for elsewhere it is not installed."""

from __future__ import annotations

import importlib
from typing import Any


def is_installed() -> bool:
    try:
        importlib.import_module("opentelemetry.instrumentation.asgi")
        importlib.import_module("opentelemetry.exporter.otlp.proto.http")
    except ImportError:
        return False
    return True


def begin() -> None:
    """Have OpenTelemetry make spans, and export none."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider())


def middleware() -> Any:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    return OpenTelemetryMiddleware


def trace_here() -> str:
    """Return the id of the trace of the span that is active."""
    from opentelemetry import trace

    return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)
