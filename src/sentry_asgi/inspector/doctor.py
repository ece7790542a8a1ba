"""`sentry-asgi doctor`: what is wrong or unwise about an app's reporting, and how to mend it.

The rules:

- The app is looked at as it is: imported, and (unless told not to) started and stopped as a server
  would. Nothing is requested of it, and nothing is sent unless asked for: neither what the app
  reports while it starts, nor that it cannot.
- What there is to say of it stands in `checks`.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import re
import sys
import sysconfig
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import click
import sentry_sdk
from sentry_sdk.transport import Transport
from uvicorn.importer import ImportFromStringError

from sentry_asgi import SentryMiddleware
from sentry_asgi._sdk.integrations import aside
from sentry_asgi._sdk.redirect import redirected

from .checks import CHECKS, AppReport, Finding
from .layers import layers, takes_over
from .loading import load, suggestion

_NAMING = "Give the app as module:attribute. Use --app-dir to say where the module is."
_STARTUP_SECONDS = 30.0
_SEND_SECONDS = 10.0
_MARKS = {
    "fine": ("✓", "green"),
    "advice": ("·", "blue"),
    "unwise": ("!", "yellow"),
    "wrong": ("✗", "red"),
}
_probe: contextvars.ContextVar[bool] = contextvars.ContextVar("_probe", default=False)


class _Nowhere(Transport):
    def capture_envelope(self, envelope: Any) -> None:
        pass


def examine(target: str, *, factory: bool, startup: bool, send: bool) -> list[Finding]:
    """Everything there is to say about the app `module:attribute`."""
    with redirected(_Nowhere({"dsn": None})), _watched() as wrapped_when:
        try:
            app = load(target, factory=factory)
        except ImportFromStringError as error:
            return [Finding("fatal", str(error), suggestion(target) or _NAMING)]
        except (Exception, SystemExit) as error:
            return [Finding("fatal", f"{target} fails when it is imported: {_told(error)}")]
        if not callable(app):
            return [Finding("fatal", f"{target} is no ASGI application: {app!r:.80}")]
        course = asyncio.run(_start(app)) if startup else _Course()
        sentry_sdk.get_client().flush(
            timeout=1
        )  # what waits to be sent in a batch goes nowhere, too
    patient = _patient(app, wrapped_when, course)
    findings = [finding for check in CHECKS for finding in check(patient)]
    return [*findings, *(_send() if send else ())]


def _told(error: BaseException) -> str:
    places = [(one.filename, one.lineno) for one in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    places = [place for place in places if not place[0].startswith("<frozen ")]
    where = f" ({places[-1][0]}:{places[-1][1]})" if places else ""
    return f"{type(error).__name__}: {error}{where}"


def _patient(app: Any, wrapped_when: list[bool], course: _Course) -> AppReport:
    client = sentry_sdk.get_client()
    active = client.is_active()
    patient = AppReport(
        layers=layers(app),
        options=dict(client.options) if active else None,
        early=all(wrapped_when),
        integrations=frozenset(getattr(client, "integrations", None) or ())
        if active
        else frozenset(),
        aside=frozenset(),
        start_failure=course.failure,
        start_place=course.place,
        keeps_context=course.keeps_context,
        trusted_proxies=os.environ.get("FORWARDED_ALLOW_IPS", ""),
        has_gil=getattr(sys, "_is_gil_enabled", bool)() or not hasattr(sys, "_is_gil_enabled"),
    )
    if active and patient.ours and takes_over(patient.layers[patient.ours[0]]):
        return replace(patient, aside=frozenset(aside(client)))
    return patient


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
    failure: str = ""
    place: str = ""
    keeps_context: bool = True


async def _start(app: Any) -> _Course:
    course = _Course()
    to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    answered = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "lifespan.startup.failed":
            # Frameworks tell the whole traceback, of which the last line says what it is.
            text = str(message.get("message") or "").strip()
            course.failure = text.splitlines()[-1] if text else "it says no reason"
            course.place = _place(text)
        answered.set()

    to_app.put_nowait({"type": "lifespan.startup"})
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    serving = asyncio.ensure_future(_run(app, scope, to_app.get, send))
    serving.add_done_callback(lambda _: answered.set())
    with suppress(TimeoutError):
        await asyncio.wait_for(answered.wait(), _STARTUP_SECONDS)
    if not answered.is_set():
        course.failure = f"it takes longer than {_STARTUP_SECONDS:.0f} s"
    course.keeps_context = await _executor_keeps_context()
    await _stop(serving, to_app)
    return course


def _place(text: str) -> str:
    """Where a traceback ends: in the app if it passes through that, as `file:line`; or nothing."""
    places = re.findall(r'^ +File "([^"<>\n]+)", line (\d+)', text, re.MULTILINE)
    libraries = (*sysconfig.get_paths().values(), "site-packages")
    own = [place for place in places if not any(one in place[0] for one in libraries)]
    return ":".join((own or places or [("",)])[-1])


async def _run(app: Any, *arguments: Any) -> None:
    # An app without lifespan raises; so does one whose start failed, which it has said.
    with suppress(Exception):
        await app(*arguments)


async def _stop(serving: asyncio.Future[Any], to_app: asyncio.Queue[dict[str, Any]]) -> None:
    to_app.put_nowait({"type": "lifespan.shutdown"})
    _, running = await asyncio.wait([serving], timeout=_STARTUP_SECONDS)
    for one in running:
        one.cancel()
    with suppress(asyncio.CancelledError):
        await serving


async def _executor_keeps_context() -> bool:
    _probe.set(True)
    return await asyncio.get_running_loop().run_in_executor(None, _probe.get)


# Sending a test event.


def _send() -> Iterator[Finding]:
    client = sentry_sdk.get_client()
    transport: Any = client.transport
    if transport is None:
        yield Finding("wrong", "No test event is sent: there is nowhere to send it.")
        return
    lost: list[str] = []
    # What is dropped on the way is told here, with the reason; what the server refuses there, first.
    transport.record_lost_event = lambda reason, *_, **__: lost.append(reason)
    transport.on_dropped_event = lambda reason: lost.insert(0, reason)
    event_id = sentry_sdk.capture_message("sentry-asgi doctor: a test event", level="info")
    began = time.monotonic()
    client.flush(timeout=_SEND_SECONDS)
    late = time.monotonic() - began >= _SEND_SECONDS
    if event_id is None or lost or late:
        why = _reason(lost[0]) if lost else ""
        why = why or (
            f"no answer within {_SEND_SECONDS:.0f} s"
            if late
            else "the SDK's own options dropped it"
        )
        yield Finding(
            "wrong", f"The test event was not taken: {why}.", "Check the DSN and the network."
        )
    else:
        yield Finding("fine", f"The server took the test event {event_id}.")


def _reason(code: str) -> str:
    """What the SDK calls a loss, in words."""
    known = {
        "network": "nobody answers at the DSN's address",
        "network_error": "nobody answers at the DSN's address",
        "sample_rate": "the option sample_rate left it out",
        "before_send": "the option before_send dropped it",
        "event_processor": "an event processor of the app dropped it",
        "status_429": "the server takes no more for now (429)",
        "status_413": "it is too large for the server (413)",
    }
    return known.get(code, code.replace("status_", "the server answered "))


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
