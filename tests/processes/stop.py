"""The events of the last second before a SIGTERM: how many of them arrive.

The receiver takes `LATENCY` seconds for each, as one far away does, so that most are still waiting when the signal
comes; all of them take 1.2 s, of the 2 s of `shutdown_timeout`.
"""

from __future__ import annotations

from tests.processes.serving import APP, failed, free_port, serving, stopped, told
from tests.receiver import receiving

EVENTS = 60
LATENCY = 0.02

_QUIET = ["--log-level", "critical"]
SERVERS: dict[str, list[str]] = {
    "uvicorn": ["uvicorn", APP, "--port", "{port}", *_QUIET],
    "uvicorn --workers 2": ["uvicorn", APP, "--port", "{port}", "--workers", "2", *_QUIET],
    "gunicorn, 2 uvicorn workers": [
        *["gunicorn", APP, "--bind", "127.0.0.1:{port}", "--workers", "2"],
        *["--worker-class", "uvicorn_worker.UvicornWorker", *_QUIET],
    ],
    "hypercorn": ["hypercorn", APP, "--bind", "127.0.0.1:{port}"],
    "hypercorn --workers 2": ["hypercorn", APP, "--bind", "127.0.0.1:{port}", "--workers", "2"],
    "granian": ["granian", "--interface", "asgi", "--port", "{port}", APP],
    "granian --workers 2": [
        *["granian", "--interface", "asgi", "--port", "{port}", "--workers", "2", APP]
    ],
}


def arrived(command: list[str], middleware: str) -> tuple[int, int, float]:
    """Of one server: failing requests that were answered, failures of which an event arrived, seconds that stopping took."""
    port = free_port()
    with receiving() as receiver:
        receiver.answer = receiver.slow(LATENCY)
        with serving(command, port, SENTRY_DSN=receiver.dsn, MIDDLEWARE=middleware) as process:
            answered = failed(port, EVENTS)
            seconds = stopped(process)
        return answered, len(told(receiver.events)), seconds


def run() -> list[str]:
    """Prints a line for each server; returns what fell short."""
    wrong = []
    for name, command in SERVERS.items():
        answered, events, seconds = arrived(command, "sentry_asgi")
        line = f"{name}: {events} of {answered} events arrived, {seconds:.1f} s to stop"
        print(line, flush=True)
        if (answered, events) != (EVENTS, EVENTS):
            wrong.append(line)
    return wrong


def beside() -> list[str]:
    """The same with the SDK's own middleware, for comparison: nothing of it falls short."""
    for name, command in SERVERS.items():
        answered, events, seconds = arrived(command, "sentry_sdk")
        print(f"{name}: {events} of {answered} events arrived, {seconds:.1f} s to stop", flush=True)
    return []
