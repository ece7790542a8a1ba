"""Runs combinations, each in a forked process, and writes down what was asked, what was reported and what is left.

    python -m tests.invariants.drive jobs.json

where a job is `[combination, whether it is bare, path of the result]`. A bare one has neither the middleware nor the SDK.

All requests overlap: each pauses in the middlewares, and while its body or message is awaited. What a request says of
itself (user, tags, breadcrumbs, logs, spans, exceptions) holds its own id, and no other request's.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import importlib
import json
import logging
import os
import random
import re
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import sentry_sdk
from sentry_sdk.transport import Transport

from tests.frameworks import failing
from tests.support import pii

from . import otel
from .positions import assemble
from .requests import Request, request_of

Combination = dict[str, str]

CELLS = ("raise", "sync", "mounted", "handled", "stream", "websocket", "left", "fine")
ROUNDS = 4
# (framework, cell): its thread runs without the request's context, so nothing there can say whose it is.
UNSUITED = {("falcon", "sync"), ("microdot", "sync"), ("nexios", "sync")}
# Takes a body that is no JSON for a failure of its own.
UNSUITED |= {("ravyn", "fine")}
# How Socket.IO calls a connection, by chance, within a text that is a string of JSON.
SOCKET = re.compile(r'\\"sid\\":\\"[\w-]+\\"')
PARENT = "fedcba9876543210"

RID: contextvars.ContextVar[str] = contextvars.ContextVar("rid")
log = logging.getLogger("invariants.app")


class Keeping(Transport):
    """Keeps what a client would send, under the client's name."""

    def __init__(self, name: str, kept: list[Any]) -> None:
        super().__init__({"dsn": dsn_of(name)})
        self.name, self.kept = name, kept

    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            kind = item.headers.get("type")
            payload = json.loads(item.payload.get_bytes())
            for one in payload["items"] if kind in {"log", "span"} else [payload]:
                self.kept.append({"kind": kind, "client": self.name, "payload": one})


def dsn_of(name: str) -> str:
    return f"https://{name}@sentry.invalid/1"


class Driver:
    def __init__(self, combination: Combination, *, bare: bool) -> None:
        self.combination, self.bare = combination, bare
        self.reports: list[Any] = []
        self.requests: dict[str, Any] = {}
        self.dice = random.Random(7)
        self.module = importlib.import_module(app_module(combination))
        self.request_of = getattr(self.module, "request_of", request_of)
        self.other = self.client("other")

    # The SDK

    def options(self, name: str) -> dict[str, Any]:
        tracing, way = self.combination["tracing"], self.combination["integrations"]
        options: dict[str, Any] = {
            "dsn": dsn_of(name),
            "transport": Keeping(name, self.reports),
            "release": "r@1",
            "auto_enabling_integrations": way == "auto",
            "default_integrations": way != "bare",
            **({"enable_logs": True} if self.combination["sdk"] < "3" else {}),
            **pii(on=True),
        }
        if tracing != "off":
            options["traces_sample_rate"] = 1.0
        if tracing == "streamed" and self.combination["sdk"] < "3":
            options["trace_lifecycle"] = "stream"
        if way == "quiet":
            from sentry_sdk.integrations.logging import LoggingIntegration

            options["integrations"] = [LoggingIntegration(event_level=None)]
        if way == "otlp":
            from sentry_sdk.integrations.otlp import OTLPIntegration

            options["integrations"] = [OTLPIntegration(setup_otlp_traces_exporter=False)]
        return options

    def client(self, name: str) -> Any:
        return None if self.bare else sentry_sdk.Client(**self.options(name))

    def init(self, name: str = "main") -> None:
        if not self.bare:
            sentry_sdk.init(**self.options(name))
        sentry_sdk.set_tag("process", "started")

    # What the application's own code does

    def mark(self, name: str) -> None:
        """Say who the request is, as a middleware or a handler called `name`."""
        rid = RID.get()
        sentry_sdk.set_tag(name, rid)
        asked = self.requests[rid]
        asked["tags"].append(name)
        if self.combination["integrations"] == "otlp" and not asked["trace"]:
            asked["trace"] = otel.trace_here()
        sentry_sdk.add_breadcrumb(message=f"{name} {rid}")
        if self.combination["clients"] == name and asked["number"] % 2:
            asked["client"] = "other"
            if self.other:
                sentry_sdk.get_isolation_scope().set_client(self.other)
        log.info("%s logs of %s", name, rid)

    def user(self) -> None:
        self.requests[RID.get()]["user"] = True
        sentry_sdk.set_user({"id": f"user-{RID.get()}"})

    async def pause(self) -> None:
        await asyncio.sleep(self.dice.random() / 50)

    @contextlib.contextmanager
    def span(self, said_by: str) -> Iterator[None]:
        """Have a span around, if the SDK makes any: streamed ones only within a request, for others are segments."""
        tracing, name = self.combination["tracing"], f"work of {RID.get()}"
        if self.bare or tracing == "off" or (tracing == "streamed" and said_by == "outer"):
            yield
        elif tracing == "streamed":
            with sentry_sdk.traces.start_span(name=name):
                yield
        else:
            with sentry_sdk.start_span(op="work", name=name):
                yield

    def message_of(self, cell: str) -> str | None:
        """Stand in for what the applications fail with."""
        if cell == "startup":
            self.init()
            return None
        self.mark("handler")
        return f"{cell} of {RID.get()}"

    def is_told(self, cell: str) -> bool:
        """Return whether a request fails, and something tells of it."""
        return cell not in {"left", "fine"}

    # The server's part

    async def request(self, app: Any, number: int, cell: str) -> None:
        rid = f"rq{number:03}z"
        RID.set(rid)
        trace = md5(rid.encode()).hexdigest() if number % 2 else None
        asked: dict[str, Any] = {"rid": rid, "number": number, "cell": cell, "trace": trace}
        request = self.request_of(cell)
        asked |= {"tags": [], "user": False, "client": "main", "path": request.path, "sent": []}
        asked |= {"asked_again": 0, "raised": None, "fails": self.is_told(cell)}
        self.requests[rid] = asked
        messages = list(request.messages)
        over = asyncio.Event()

        async def receive() -> Any:
            await self.pause()
            if messages:
                return messages.pop(0)
            asked["asked_again"] += 1
            if cell != "left" or asked["asked_again"] > 3:
                # The client stays until it has its answer. Some framework asks for ever, whoever is gone.
                await asyncio.wait_for(over.wait(), 30)
            return {"type": gone(cell), "code": 1006}

        async def send(message: Any) -> None:
            asked["sent"].append(shown(message))
            if message["type"] == "websocket.accept":
                asked["tags_at_accept"] = list(asked["tags"])
                asked["client_at_accept"] = asked["client"]
            if message["type"] == "websocket.close" or is_last(message):
                # Not at once: Django takes a client that is gone before it has returned for one that left early.
                asyncio.get_running_loop().call_later(0.1, over.set)
            await asyncio.sleep(0)

        before = contextvars.copy_context()
        try:
            await asyncio.wait_for(app(scope_of(asked, request), receive, send), 20)
        except Exception as error:
            asked["raised"] = f"{type(error).__name__}: {error}"
        now = contextvars.copy_context()
        asked["variables"] = sorted(
            var.name for var, value in now.items() if before.get(var, before) is not value
        )

    async def serve(self, app: Any) -> dict[str, Any]:
        """Start the application, have all requests overlap, stop it; return what is left in the loop."""
        async with self.lifespan(app):
            if self.combination["init"] == "twice":
                await asyncio.create_task(self.request(app, 0, "fine"))
                self.requests.clear()
                self.init()
            name = self.combination["framework"]
            without: set[str] = getattr(self.module, "WITHOUT", set())
            without = {cell for cell in CELLS if (name, cell) in UNSUITED} | without
            cells = [cell for cell in CELLS if cell not in without]
            # Back and forth: each cell has odd numbers and even ones.
            cells = [*cells, *reversed(cells)] * (ROUNDS // 2)
            await asyncio.gather(
                *(
                    asyncio.create_task(self.request(app, number, cell))
                    for number, cell in enumerate(cells, 1)
                )
            )
            self.check_served()
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.05)
        running = asyncio.all_tasks() - {asyncio.current_task()}
        return {"tasks": sorted(str(task.get_coro().__qualname__) for task in running)}  # type: ignore[union-attr]

    def check_served(self) -> None:
        """Raise if a request that was to fail has come to no handler, by a wrong path for instance."""
        missed = {
            asked["cell"]
            for asked in self.requests.values()
            if asked["cell"] not in {"left", "fine"} and "handler" not in asked["tags"]
        }
        if missed:
            raise LookupError(f"no handler was asked for {sorted(missed)}")

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any) -> Any:
        started, stop = asyncio.Event(), asyncio.Event()

        async def receive() -> Any:
            if not started.is_set():
                return {"type": "lifespan.startup"}
            await stop.wait()
            return {"type": "lifespan.shutdown"}

        async def send(message: Any) -> None:
            started.set()

        async def live() -> None:
            scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
            with contextlib.suppress(Exception):  # the application has no lifespan
                await app(scope, receive, send)
            started.set()

        task = asyncio.create_task(live())
        await asyncio.wait_for(started.wait(), 10)
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait_for(task, 10)

    def run(self) -> dict[str, Any]:
        init, position = self.combination["init"], self.combination["position"]
        failing.message_of = self.message_of
        logging.getLogger("invariants").setLevel(logging.INFO)
        if init == "before":
            self.init()
        if init == "twice":
            self.init("first")
        if self.combination["integrations"] == "otlp":
            otel.begin()
        app = assemble(self, self.module, self.combination["framework"], position, bare=self.bare)
        if init == "after":
            self.init()
        left = asyncio.run(self.serve(app))
        del app  # the last reference: what the middleware has begun, it ends
        if not self.bare:
            sentry_sdk.flush(5)
            self.other.flush(5)
        for _ in range(3):
            gc.collect()
        time.sleep(0.05)  # threads that were told to end, by now, do so
        left["exceptions"] = sum(isinstance(one, BaseException) for one in failing.alive)
        left["frames"] = len(failing.alive) - left["exceptions"]
        left["threads"] = sorted(
            {re.sub(r"\d+", "N", thread.name) for thread in threading.enumerate()}
        )
        left["tools"] = [tool for tool in map(tool_of, range(6)) if tool]
        return {
            "combination": self.combination,
            "requests": self.requests,
            "reports": self.reports,
            "left": left,
        }


def app_module(combination: Combination) -> str:
    """Return where a framework's application is: here, or in the matrix."""
    name = combination["framework"]
    here = Path(__file__).with_name("apps") / f"{name}.py"
    return f"tests.{'invariants' if here.exists() else 'frameworks'}.apps.{name}"


def tool_of(number: int) -> str | None:
    monitoring = getattr(sys, "monitoring", None)
    return monitoring.get_tool(number) if monitoring else None


def gone(cell: str) -> str:
    return "websocket.disconnect" if cell == "websocket" else "http.disconnect"


def is_last(message: Any) -> bool:
    return message["type"].endswith("response.body") and not message.get("more_body")


def scope_of(asked: dict[str, Any], request: Request) -> dict[str, Any]:
    query = f"rid={asked['rid']}{request.query}".encode()
    headers = [(b"host", b"example.org"), (b"x-rid", asked["rid"].encode()), *request.headers]
    if asked["trace"]:
        headers.append((b"sentry-trace", f"{asked['trace']}-{PARENT}-1".encode()))
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": asked["path"],
        "raw_path": asked["path"].encode(),
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": ("203.0.113.7", 50000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    if asked["cell"] == "websocket":
        del scope["method"]
        scope |= {"type": "websocket", "scheme": "ws", "subprotocols": []}
    return scope


def shown(message: Any) -> Any:
    """Return a message as JSON, without what differs from run to run."""
    headers = [
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in message.get("headers") or ()
        if name.lower() != b"date"
    ]
    body = bytes(message.get("body") or b"").decode("latin-1")
    rest = {key: message[key] for key in message if key not in {"headers", "body"}}
    told = json.dumps({**rest, "headers": headers, "body": body}, default=str)
    return json.loads(SOCKET.sub("", told))


def main(jobs: Path) -> int:
    """Run each of `[combination, bare, path of its result]` in a child; return how many of them failed."""
    warnings.simplefilter("ignore")
    failed = 0  # a child for each: what the SDK and the frameworks keep is kept for a process
    planned = json.loads(jobs.read_text())
    for combination, _, _ in planned:  # imported once for all
        importlib.import_module(app_module(combination))
    with contextlib.suppress(ImportError):
        importlib.import_module("sentry_sdk.spotlight")  # takes Django with it
    for combination, bare, out in planned:
        child = os.fork()  # no thread is running yet: nothing has been initialised here
        if child == 0:
            code = 1
            try:
                signal.alarm(90)
                run_one(combination, Path(out), bare=bare)
                code = 0
            finally:
                os._exit(code)
        failed += os.waitpid(child, 0)[1] != 0
    return failed


def run_one(combination: Combination, out: Path, *, bare: bool) -> None:
    try:
        result = Driver(combination, bare=bare).run()
    except Exception:
        out.with_suffix(".error").write_text(traceback.format_exc())
        raise
    out.write_text(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])) and 1)
