"""`sentry-asgi demo`: an app that fails, and its failures in the inspector, in one command.

The inspector runs in a thread of this process, the app in a process of its own, both under uvicorn
on free loopback ports; the app's SDK reports over HTTP, as it would to any Sentry.
"""

from __future__ import annotations

import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import click

from .app import create_app
from .entries import REQUEST
from .envelope import json_object
from .findings import Finding
from .local import fetch
from .requests import RequestFacts, request_facts
from .server import serve_in_process, serve_in_thread
from .store import Filter, Listed, Store
from .views import EventView, event_view

PROJECT = "1"
_APP = "demo_shop"
# A folder of its own: the app is named as a user's would be, and is none of the package's modules.
_FOLDER = Path(__file__).parent / "shop"


@dataclass(frozen=True, slots=True)
class Expected:
    """One request to the demo app, and what it must lead to; no `title` means no event.

    `finding` is the rule by which its page is to say what is wrong with it.
    """

    method: str
    target: str
    status: int
    title: str = ""
    endpoint: str = ""
    tag: tuple[str, str] | None = None
    finding: str = ""

    def arrived_as(self, event: EventView, app_url: str) -> bool:
        """Whether an event is what this request should have led to, with the request in it."""
        path, _, query = self.target.partition("?")
        return (
            event.summary.title == self.title
            and event.summary.transaction == f"{_APP}.{self.endpoint}"
            and event.request is not None
            and (event.request.method, event.request.url) == (self.method, app_url + path)
            and "&".join("=".join(pair) for pair in event.request.query) == query
            and (self.tag is None or self.tag in event.tags)
        )


EXPECTED = (
    Expected("GET", "/orders/1", HTTPStatus.OK),
    Expected("GET", "/orders/7?coupon=TEA", 500, "ZeroDivisionError", "order"),
    Expected("POST", "/invoices/7", 500, "KeyError", "invoice", ("invoice", "7")),
    Expected("GET", "/baskets/1", HTTPStatus.OK, finding="n-plus-one"),
    Expected("GET", "/sales", HTTPStatus.OK, finding="slow-query"),
    Expected("GET", "/stock", HTTPStatus.OK, "Only 2 teapots left", "stock"),
    Expected("GET", "/prices", HTTPStatus.OK, "EventLoopBlocked", "prices"),
    Expected("GET", "/deliveries/7", HTTPStatus.OK, "RequestStuck", "delivery"),
)


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo: the inspector's URL, the app's URL, and the inspector's store."""

    url: str
    app_url: str
    store: Store

    def drive(self, expected: Expected) -> int:
        """Send one request to the app; returns the status of the response."""
        request = urllib.request.Request(self.app_url + expected.target, method=expected.method)  # noqa: S310
        try:
            with fetch(request, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def events(self) -> list[tuple[Listed, EventView]]:
        """What the inspector has, oldest first."""
        found = []
        for listed in reversed(self.store.errors(limit=100)):
            stored = self.store.event(listed.event_id)
            assert stored is not None
            found.append((listed, event_view(json_object(stored.payload, "The event"))))
        return found

    def requests(self) -> list[RequestFacts]:
        """The requests that the inspector has, oldest first."""
        found = self.store.entries(Filter([REQUEST]), limit=100)
        return [request_facts(self.store, listed) for listed in reversed(found)]

    def missing(self) -> list[Expected]:
        """Of which expected requests something is not in the inspector: the event, the page, the finding."""
        views = [view for _, view in self.events()]
        found = {one.listed.summary.title: one.findings for one in self.requests()}
        return [one for one in EXPECTED if not self._is_there(one, views, found)]

    def _is_there(
        self, one: Expected, views: list[EventView], found: dict[str, tuple[Finding, ...]]
    ) -> bool:
        name = f"{one.method} {one.target.partition('?')[0]}"
        rules = {finding.rule for finding in found.get(name, ())}
        told = not one.title or any(one.arrived_as(view, self.app_url) for view in views)
        return name in found and told and (not one.finding or one.finding in rules)

    def wait(self, seconds: float) -> list[Expected]:
        """As missing(), once nothing is, or after so many seconds."""
        deadline = time.monotonic() + seconds
        while (missing := self.missing()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return missing


@contextmanager
def running(target: str = f"{_APP}:app") -> Iterator[Demo]:
    """The inspector and the demo app, up and listening while the block runs.

    Raises ServerError if one of them does not start.
    """
    with tempfile.TemporaryDirectory(prefix="sentry-asgi-") as folder:
        store = Store(Path(folder) / "events.sqlite3")
        try:
            app = create_app(store)
            with serve_in_thread(app, ending=app.close) as url:
                dsn = f"{url.replace('://', '://demo@')}/{PROJECT}"
                path = os.pathsep.join(filter(None, (str(_FOLDER), os.environ.get("PYTHONPATH"))))
                environment = {**os.environ, "SENTRY_DSN": dsn, "PYTHONPATH": path}
                with serve_in_process(target, environment) as app_url:
                    yield Demo(url, app_url, store)
        finally:
            store.close()


def run(demo: Demo, *, seconds: float = 10) -> bool:
    """Drive the demo's requests and print what came of them; whether all went as it should."""
    answers = [_report_request(demo, expected) for expected in EXPECTED]
    click.echo("\nWhat arrived in the inspector:\n")
    missing = demo.wait(seconds)
    for listed, view in demo.events():
        _report_event(demo, listed, view)
    for facts in demo.requests():
        _report_findings(demo, facts)
    for expected in missing:
        wanted = expected.title or expected.finding
        what = f"no {wanted!r} with its request" if wanted else "no trace"
        _fail(f"{expected.method} {expected.target}: {what} arrived.")
    if missing or not all(answers):
        return False
    click.secho("Everything arrived.", fg="green", bold=True)
    return True


def _report_request(demo: Demo, expected: Expected) -> bool:
    status = demo.drive(expected)
    colour = "green" if status < HTTPStatus.BAD_REQUEST else "red"
    click.echo(f"  {expected.method:4} {expected.target:24} {click.style(status, fg=colour)}")
    if status != expected.status:
        _fail(f"{expected.method} {expected.target}: {expected.status} was expected.")
    return status == expected.status


def _report_event(demo: Demo, listed: Listed, view: EventView) -> None:
    about = view.summary
    colour = "red" if about.level == "error" else "yellow"
    click.echo(f"  {click.style(about.title, fg=colour, bold=True)} {about.detail}")
    if view.request:
        click.echo(f"    {view.request.method} {view.request.url}  →  {about.transaction}")
    for frame in (frame for error in view.exceptions[:1] for frame in error.frames[:1]):
        source = next((line.text.strip() for line in frame.lines if line.current), "")
        click.echo(f"    {frame.function}, line {frame.lineno}: {click.style(source, bold=True)}")
    click.echo(click.style(f"    {demo.url}/events/{listed.event_id}\n", dim=True))


def _report_findings(demo: Demo, facts: RequestFacts) -> None:
    """What stands out in a request, but for what was an event already."""
    found = [one for one in facts.findings if not one.event_id]
    for one in found:
        click.echo(f"  {click.style(one.title, fg='yellow', bold=True)}")
        click.echo(
            f"    {facts.listed.summary.title}  →  {one.where or facts.listed.summary.transaction}"
        )
    if found:
        click.echo(click.style(f"    {demo.url}/requests/{facts.listed.span_id}\n", dim=True))


def _fail(text: str) -> None:
    click.echo(click.style(text, fg="red", bold=True), err=True)
