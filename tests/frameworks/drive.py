"""Drives one framework's application, in that framework's environment, and prints what was reported as JSON.

python -m tests.frameworks.drive starlette          with the SDK's integrations for what is installed
python -m tests.frameworks.drive starlette --plain  without them
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.metadata
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import sentry_sdk
from sentry_sdk.transport import Transport

from sentry_asgi import SentryMiddleware
from sentry_asgi._connection import naming as _naming

DSN = "https://public@sentry.invalid/1"
CELLS = [
    "raise",
    "sync",
    "mounted",
    "websocket",
    "startup",
    "background",
    "stream",
    "handled",
    "left",
]


class Keeping(Transport):
    def __init__(self) -> None:
        super().__init__({"dsn": DSN})
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            if item.headers.get("type") == "event":
                self.events.append(json.loads(item.payload.get_bytes()))


def scope_of(cell: str) -> dict[str, Any]:
    path = "/sub/42/raise" if cell == "mounted" else f"/{cell}"
    scope: dict[str, Any] = {
        "type": "websocket" if cell == "websocket" else "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws" if cell == "websocket" else "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"example.org")],
        "client": ("203.0.113.7", 50000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    if cell == "websocket":
        return {**scope, "subprotocols": []}
    if cell == "left":
        scope["headers"].append((b"content-length", b"100"))
    return {**scope, "method": "POST" if cell == "left" else "GET"}


def messages_of(cell: str) -> list[dict[str, Any]]:
    if cell == "websocket":
        return [{"type": "websocket.connect"}]
    if cell == "left":
        part = {"type": "http.request", "body": b"part", "more_body": True}
        return [part, {"type": "http.disconnect"}]
    return [{"type": "http.request", "body": b"", "more_body": False}]


async def call(app: Any, scope: Any, messages: list[Any]) -> bool:
    """Plays the server; whether the app raised."""

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        await asyncio.sleep(0.5)
        gone = "websocket.disconnect" if scope["type"] == "websocket" else "http.disconnect"
        return {"type": gone, "code": 1006}

    async def send(message: Any) -> None:
        pass

    try:
        await asyncio.wait_for(app(scope, receive, send), 10)
    except Exception:
        return True
    return False


async def with_lifespan(app: Any, cell: str) -> bool:
    """Starts the app, has it serve one request, and stops it; whether it raised."""
    started, stop = asyncio.Event(), asyncio.Event()
    failed = False

    async def receive() -> Any:
        if not started.is_set():
            return {"type": "lifespan.startup"}
        await stop.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        started.set()

    async def live() -> None:
        nonlocal failed
        try:
            await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
        except Exception:
            failed = True
        started.set()

    lifespan = asyncio.create_task(live())
    await asyncio.wait_for(started.wait(), 10)
    await asyncio.sleep(0.01)
    raised = failed
    if cell != "startup":
        raised = await call(app, scope_of(cell), messages_of(cell))
        await asyncio.sleep(0.05)
    stop.set()
    with contextlib.suppress(Exception):
        await asyncio.wait_for(lifespan, 10)
    return raised


def facts(event: Any) -> dict[str, Any]:
    values = (event.get("exception") or {}).get("values") or [{}]
    mechanism = values[-1].get("mechanism") or {}
    return {
        "exceptions": [f"{value.get('type')}: {value.get('value')}" for value in values],
        "message": (event.get("logentry") or {}).get("message") or event.get("message"),
        "handled": mechanism.get("handled"),
        "by": mechanism.get("type"),
        "url": (event.get("request") or {}).get("url"),
        "transaction": event.get("transaction"),
        "handler": (event.get("extra") or {}).get("handler"),
        "phase": ((event.get("contexts") or {}).get("asgi") or {}).get("phase"),
    }


def with_handler(event: Any, hint: Any) -> Any:
    """Adds what the event would be called by the other style."""
    connection = getattr(sentry_sdk.get_isolation_scope(), "asgi_connection", None)
    if connection is not None:
        event.setdefault("extra", {})["handler"] = _naming.endpoint(connection)
    return event


def cell_of(module: Any, cell: str, auto: bool, style: Any) -> dict[str, Any]:
    transport = Keeping()
    sentry_sdk.init(
        dsn=DSN,
        transport=transport,
        auto_enabling_integrations=auto,
        auto_session_tracking=False,
        before_send=with_handler,
    )
    app = SentryMiddleware(module.make(cell == "startup"), transaction_style=style)
    raised = asyncio.run(with_lifespan(app, cell))
    return {"raised": raised, "events": [facts(event) for event in transport.events]}


def cells_of(module: Any) -> list[str]:
    without: set[str] = getattr(module, "WITHOUT", set())
    return [cell for cell in CELLS if cell not in without]


def in_a_process_of_its_own(name: str, cell: str, auto: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.frameworks.drive", name, "--cell", cell]
    with tempfile.TemporaryDirectory() as directory:
        # Not by what it prints: frameworks print, too, and what they start may still do so when it ends.
        out = Path(directory) / "result.json"
        command += ["--out", str(out), *([] if auto else ["--plain"])]
        subprocess.run(command, check=True, timeout=60, stdout=subprocess.DEVNULL)
        result: dict[str, Any] = json.loads(out.read_text())["cells"][cell]
    return result


def main(name: str, auto: bool, only: str | None) -> dict[str, Any]:
    module = importlib.import_module(f"tests.frameworks.apps.{name}")
    alone = getattr(module, "ALONE", False) and only is None
    cells: dict[str, Any] = {}
    for cell in [only] if only else cells_of(module):
        if alone:
            cells[cell] = in_a_process_of_its_own(name, cell, auto)
        else:
            # By the route's template; the other style is told from the same facts.
            cells[cell] = cell_of(module, cell, auto, "route")
            cells[cell]["template"] = getattr(module, "ROUTES", {}).get(cell, f"/{cell}")
    return {"version": importlib.metadata.version(name), "cells": cells}


if __name__ == "__main__":
    arguments = sys.argv[1:]
    printed, sys.stdout = sys.stdout, io.StringIO()  # some frameworks print
    only = arguments[arguments.index("--cell") + 1] if "--cell" in arguments else None
    result = main(arguments[0], "--plain" not in arguments, only)
    if "--out" in arguments:
        Path(arguments[arguments.index("--out") + 1]).write_text(json.dumps(result))
    else:
        print(json.dumps(result), file=printed)
