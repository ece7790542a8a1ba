"""`sentry-asgi doctor`: what is wrong or unwise about an app's reporting, and how to mend it.

The rules:

- The app is looked at as it is: imported, and (unless told not to) started and stopped as a server
  would. Nothing is requested of it, and nothing is sent unless asked for.
- Each finding says what is the case, why it matters, and what to do. `wrong`: something is lost or
  does not work. `unwise`: it works, at a cost or a risk. `advice`: it depends.
- Checks are functions of a `Patient`, and know nothing of each other.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import click
import sentry_sdk
from uvicorn.importer import ImportFromStringError, import_from_string

from sentry_asgi import SentryMiddleware

from .layers import Layer, layers

_STARTUP_SECONDS = 30.0
_MARKS = {
    "fine": ("✓", "green"),
    "advice": ("·", "blue"),
    "unwise": ("!", "yellow"),
    "wrong": ("✗", "red"),
}
_probe: contextvars.ContextVar[bool] = contextvars.ContextVar("_probe", default=False)


@dataclass(frozen=True, slots=True)
class Finding:
    """`weight` is fine, advice, unwise, wrong or fatal; `mend` is empty if nothing is to be done."""

    weight: str
    what: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is known of an app when it was loaded, and perhaps started."""

    layers: list[Layer]
    options: dict[str, Any] | None
    """The SDK's options, None if it was never initialised."""
    early: bool
    """Whether the SDK was initialised when the app was wrapped."""
    integrations: frozenset[str]
    started: bool
    start_failure: str
    keeps_context: bool
    """Whether work in the default executor sees its request's context; true if not known."""


def examine(target: str, *, factory: bool, startup: bool, send: bool) -> list[Finding]:
    """Everything there is to say about the app `module:attribute`."""
    with _watched() as wrapped_when:
        try:
            app = import_from_string(target)
            app = app() if factory else app
        except ImportFromStringError as error:
            return [
                Finding("fatal", str(error), "Name it as module:attribute; --app-dir says where.")
            ]
        except Exception as error:
            return [
                Finding("fatal", f"{target} fails when imported: {type(error).__name__}: {error}")
            ]
    course = asyncio.run(_start(app)) if startup else _Course()
    patient = _patient(app, wrapped_when, course)
    findings = [finding for check in CHECKS for finding in check(patient)]
    return [*findings, *(_send() if send else ())]


def _patient(app: Any, wrapped_when: list[bool], course: _Course) -> Patient:
    client = sentry_sdk.get_client()
    active = client.is_active()
    return Patient(
        layers=layers(app),
        options=dict(client.options) if active else None,
        early=all(wrapped_when),
        integrations=frozenset(getattr(client, "integrations", None) or ())
        if active
        else frozenset(),
        started=course.started,
        start_failure=course.failure,
        keeps_context=course.keeps_context,
    )


@contextmanager
def _watched() -> Iterator[list[bool]]:
    """Notes for each SentryMiddleware that is made whether the SDK was initialised by then."""
    seen: list[bool] = []
    original = SentryMiddleware.__init__

    def init(self: SentryMiddleware, *args: Any, **kwargs: Any) -> None:
        seen.append(sentry_sdk.get_client().is_active())
        original(self, *args, **kwargs)

    setattr(SentryMiddleware, "__init__", init)  # noqa: B010  # as an assignment, types refuse it
    try:
        yield seen
    finally:
        setattr(SentryMiddleware, "__init__", original)  # noqa: B010


# Starting the app, as a server would.


@dataclass(slots=True)
class _Course:
    started: bool = False
    failure: str = ""
    keeps_context: bool = True


async def _start(app: Any) -> _Course:
    course = _Course()
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    answered = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        course.started = course.started or message["type"] == "lifespan.startup.complete"
        if message["type"] == "lifespan.startup.failed":
            course.failure = message.get("message") or "it says no reason"
        answered.set()

    to_app.put_nowait({"type": "lifespan.startup"})
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    serving = asyncio.ensure_future(app(scope, to_app.get, send))
    serving.add_done_callback(lambda _: answered.set())
    with suppress(TimeoutError):
        await asyncio.wait_for(answered.wait(), _STARTUP_SECONDS)
    if not answered.is_set():
        course.failure = f"it takes longer than {_STARTUP_SECONDS:.0f} s"
    course.keeps_context = await _executor_keeps_context()
    await _stop(serving, to_app)
    return course


async def _stop(serving: asyncio.Future[Any], to_app: asyncio.Queue[dict[str, Any]]) -> None:
    to_app.put_nowait({"type": "lifespan.shutdown"})
    _, running = await asyncio.wait([serving], timeout=_STARTUP_SECONDS)
    for one in running:
        one.cancel()
    # An app without lifespan raises; so does one whose start failed, which it has said.
    with suppress(Exception, asyncio.CancelledError):
        await serving


async def _executor_keeps_context() -> bool:
    _probe.set(True)
    return await asyncio.get_running_loop().run_in_executor(None, _probe.get)


# The checks.


def _middleware(patient: Patient) -> Iterator[Finding]:
    ours = [n for n, one in enumerate(patient.layers) if issubclass(one.type, SentryMiddleware)]
    if not ours:
        yield Finding(
            "wrong",
            "The app is not wrapped in SentryMiddleware.",
            "Wrap it last of all: app = SentryMiddleware(app)",
        )
        return
    # A framework's application shows its list after itself.
    outside = [one.name for one in patient.layers[: ours[0]] if not _is_framework(one)]
    if outside:
        yield Finding(
            "unwise",
            f"SentryMiddleware is not outermost: {', '.join(outside)} is around it, and what fails"
            " there is not reported.",
            "Wrap the app last of all: app = SentryMiddleware(app)",
        )
    elif _is_framework(patient.layers[0]):
        yield Finding(
            "advice",
            "SentryMiddleware was added with add_middleware: what fails outside of the framework's"
            " own middleware is not reported.",
            "Wrap the finished app instead: app = SentryMiddleware(app)",
        )
    else:
        yield Finding("fine", "SentryMiddleware is outermost.")
    if len(ours) > 1:
        yield Finding(
            "unwise",
            f"SentryMiddleware is applied {len(ours)} times; the outermost works, the others idle.",
            "Keep the outermost.",
        )


def _is_framework(layer: Layer) -> bool:
    return isinstance(getattr(layer.thing, "user_middleware", None), list)


def _initialised(patient: Patient) -> Iterator[Finding]:
    if patient.options is None:
        yield Finding(
            "wrong",
            "sentry_sdk.init is not called: nothing is reported.",
            'Call sentry_sdk.init(dsn="…") before the app is made.',
        )
        return
    if not patient.options.get("dsn"):
        yield Finding(
            "wrong",
            "The SDK has no DSN: nothing is reported.",
            "Give it one: sentry_sdk.init(dsn=…), or SENTRY_DSN in the environment.",
        )
    if not patient.early:
        yield Finding(
            "unwise",
            "The SDK is initialised after the app was wrapped: what fails before is not reported.",
            "Call sentry_sdk.init at the top, before the app is made.",
        )
    else:
        yield Finding("fine", "The SDK is initialised before the app.")


def _integrations(patient: Patient) -> Iterator[Finding]:
    if any(layer.type.__name__ == "SentryAsgiMiddleware" for layer in patient.layers):
        yield Finding(
            "unwise",
            "The SDK's SentryAsgiMiddleware does the same work as SentryMiddleware, at its cost.",
            "Remove SentryAsgiMiddleware.",
        )
    same = sorted(patient.integrations & {"starlette", "fastapi"})
    if same:
        classes = {"starlette": "StarletteIntegration()", "fastapi": "FastApiIntegration()"}
        yield Finding(
            "advice",
            f"The SDK's {' and '.join(same)} integration is on, and does much of the same work.",
            f"sentry_sdk.init(…, disabled_integrations=[{', '.join(classes[one] for one in same)}])",
        )


def _traces(patient: Patient) -> Iterator[Finding]:
    options = patient.options or {}
    on = options.get("traces_sample_rate") is not None or options.get("traces_sampler") is not None
    if on and "strict_trace_continuation" in options and not options["strict_trace_continuation"]:
        yield Finding(
            "unwise",
            "Tracing is on, and traces that anybody begins are continued: a stranger's header"
            " decides what is sampled.",
            "sentry_sdk.init(…, strict_trace_continuation=True)",
        )


def _personal_data(patient: Patient) -> Iterator[Finding]:
    options = patient.options or {}
    collected = options.get("data_collection")
    told = isinstance(collected, dict) and collected.get("provided_by_user", True)
    if options.get("send_default_pii") or (told and collected and collected.get("user_info")):
        yield Finding(
            "unwise",
            "Personal data is sent: addresses, cookies and what identifies users.",
            "Leave send_default_pii (or data_collection's user_info) off unless you must have it.",
        )


def _release(patient: Patient) -> Iterator[Finding]:
    if patient.options is not None and not patient.options.get("release"):
        yield Finding(
            "unwise",
            "Events name no release: nobody can tell which deploy brought an error.",
            'sentry_sdk.init(…, release="shop@1.2.3"), or SENTRY_RELEASE in the environment.',
        )


def _startup(patient: Patient) -> Iterator[Finding]:
    if patient.start_failure:
        yield Finding(
            "wrong", f"The app's start-up fails: {patient.start_failure}", "See its own log."
        )
    if not patient.keeps_context:
        yield Finding(
            "advice",
            "Work given to loop.run_in_executor loses its request: its events name none.",
            "At start-up: loop.set_default_executor(ContextPreservingExecutor()), from"
            " sentry_asgi.executor; or use asyncio.to_thread.",
        )


def _proxies(patient: Patient) -> Iterator[Finding]:
    trusted = os.environ.get("FORWARDED_ALLOW_IPS", "")
    for layer in patient.layers:
        if layer.type.__name__ == "ProxyHeadersMiddleware":
            hosts = getattr(layer.thing, "trusted_hosts", layer.options.get("trusted_hosts", ""))
            always = getattr(hosts, "always_trust", False) or hosts in ("*", ["*"])
            trusted = "*" if always else "some"
    if trusted == "*":
        yield Finding(
            "unwise",
            "Everybody is trusted as a proxy: any client can claim any address, and events say so.",
            "Name your proxies in FORWARDED_ALLOW_IPS, or in trusted_hosts.",
        )
    elif not trusted:
        yield Finding(
            "advice",
            "No proxy is trusted but one on this machine: behind another, events have its address.",
            "If there is one, name it: FORWARDED_ALLOW_IPS=10.0.0.5, or uvicorn --forwarded-allow-ips.",
        )


CHECKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    _middleware, _initialised, _startup, _integrations, _traces, _personal_data, _release, _proxies,
)  # fmt: skip


# Sending a test event.


def _send() -> Iterator[Finding]:
    client = sentry_sdk.get_client()
    transport: Any = client.transport
    if transport is None:
        yield Finding("wrong", "No test event is sent: there is nowhere to send it.")
        return
    lost: list[str] = []
    transport.record_lost_event = lambda reason, *_, **__: lost.append(reason)
    # Newer SDKs tell the server's status here; in older ones nobody calls it.
    transport.on_dropped_event = lambda reason: lost.insert(0, reason)
    event_id = sentry_sdk.capture_message("sentry-asgi doctor: a test event", level="info")
    pending: list[int] = []
    client.flush(timeout=10, callback=lambda count, _: pending.append(count))
    if event_id is None or lost or pending:
        why = lost[0].replace("status_", "the server answered ") if lost else ""
        why = why or ("no answer within 10 s" if pending else "the SDK's own options dropped it")
        yield Finding(
            "wrong", f"The test event was not taken: {why}.", "Check the DSN and the network."
        )
    else:
        yield Finding("fine", f"The server took the test event {event_id}.")


# Telling.


def report(findings: list[Finding]) -> None:
    """Print the findings, the worst last: there the eye is."""
    order = [*_MARKS, "fatal"]
    for finding in sorted(findings, key=lambda one: order.index(one.weight)):
        mark, colour = _MARKS.get(finding.weight, ("✗", "red"))
        click.echo(
            f"{click.style(f'{mark} {finding.weight:7}', fg=colour, bold=True)} {finding.what}"
        )
        if finding.mend:
            click.echo(f"          → {finding.mend}")
    sys.stdout.flush()


def status(findings: list[Finding], *, strict: bool) -> int:
    """The exit status: 2 if the app could not be looked at, 1 if something is wrong, else 0."""
    weights = {finding.weight for finding in findings}
    if "fatal" in weights:
        return 2
    return int("wrong" in weights or (strict and "unwise" in weights))
