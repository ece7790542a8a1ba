"""The table of docs/threads.md, made by running each row; the page must say what the run says.

`python -m tests.test_threads_doc` writes it anew.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio.to_thread
import asgiref.sync
import pytest
import sentry_sdk
from sentry_sdk.integrations.threading import ThreadingIntegration

from sentry_asgi import SentryMiddleware
from sentry_asgi.executor import ContextPreservingExecutor

from .support import SDK_VERSION, Scope, Sentry, call, http_scope, respond

PAGE = Path(__file__).parent.parent / "docs" / "threads.md"

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Seen:
    """What one piece of work in a thread could see, and what its request saw of it."""

    def __init__(self) -> None:
        self.variable = ""

    def work(self) -> None:
        self.variable = variable.get()
        sentry_sdk.set_tag("thread", "yes")
        sentry_sdk.capture_message("from the thread")


async def to_thread(work: Callable[[], None]) -> None:
    await asyncio.to_thread(work)


async def anyio_to_thread(work: Callable[[], None]) -> None:
    await anyio.to_thread.run_sync(work)


async def run_in_executor(work: Callable[[], None]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, work)


async def sync_to_async(work: Callable[[], None]) -> None:
    await asgiref.sync.sync_to_async(work)()


async def submit(work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        await asyncio.wrap_future(pool.submit(work))


async def submit_preserving(work: Callable[[], None]) -> None:
    with ContextPreservingExecutor(1) as pool:
        await asyncio.wrap_future(pool.submit(work))


async def thread(work: Callable[[], None]) -> None:
    started = threading.Thread(target=work)
    started.start()
    started.join()


async def thread_in_copy(work: Callable[[], None]) -> None:
    started = threading.Thread(target=contextvars.copy_context().run, args=(work,))
    started.start()
    started.join()


ROWS: dict[str, tuple[Callable[[Callable[[], None]], Any], bool]] = {
    "`asyncio.to_thread(f)`": (to_thread, False),
    "`anyio.to_thread.run_sync(f)`": (anyio_to_thread, False),
    "`asgiref.sync.sync_to_async(f)`": (sync_to_async, False),
    "`loop.run_in_executor(None, f)`": (run_in_executor, False),
    "`loop.run_in_executor(None, f)`, with this executor as default": (run_in_executor, True),
    "`ThreadPoolExecutor().submit(f)`": (submit, False),
    "`ContextPreservingExecutor().submit(f)`": (submit_preserving, False),
    "`threading.Thread(target=f)`": (thread, False),
    "`threading.Thread(target=copy_context().run, args=(f,))`": (thread_in_copy, False),
}
HEAD = [
    "| how `f` gets into a thread | ContextVars | its events are the request's | its tags are on the request's later events |",
    "|---|---|---|---|",
]


def row(sentry: Sentry, label: str) -> str:
    """Runs one row in a request; says what held, with the SDK's ThreadingIntegration and without."""
    start, as_default = ROWS[label]
    found = []
    for integrated in (True, False):
        sentry.transport.envelopes.clear()
        client = sentry.init(default_integrations=integrated)
        assert (client.get_integration(ThreadingIntegration) is not None) is integrated
        seen = Seen()

        async def app(scope: Scope, receive: Any, send: Any, seen: Seen = seen) -> None:
            variable.set("the request's")
            if as_default:
                asyncio.get_running_loop().set_default_executor(ContextPreservingExecutor(1))
            await start(seen.work)
            sentry_sdk.capture_message("from the request")
            await respond(send)

        asyncio.run(call(SentryMiddleware(app), http_scope()))
        theirs, later = sentry.events
        held = [
            seen.variable == "the request's",
            theirs.get("request", {}).get("url") == "http://example.org/",
            later.get("tags") == {"thread": "yes"},
        ]
        found.append(held)
    cells = [
        "yes"
        if both == (True, True)
        else "no"
        if both == (False, False)
        else "only with ThreadingIntegration"
        for both in zip(*found, strict=True)
    ]
    return f"| {label} | {' | '.join(cells)} |"


def table(sentry: Sentry) -> list[str]:
    return HEAD + [row(sentry, label) for label in ROWS]


@pytest.mark.parametrize("label", ROWS)
@pytest.mark.skipif(SDK_VERSION != (2, 75), reason="the page speaks of this version")
def test_the_table_says_what_happens(sentry: Sentry, label: str) -> None:
    assert row(sentry, label) in PAGE.read_text()


def test_the_page_has_these_rows_and_no_others() -> None:
    rows = re.findall(r"^\| (.*?) \|", PAGE.read_text(), re.MULTILINE)
    assert rows[1:] == list(ROWS)


if __name__ == "__main__":
    lines = table(Sentry())
    text = PAGE.read_text()
    PAGE.write_text(re.sub(r"(?m)(^\|.*\n)+", "\n".join(lines) + "\n", text, count=1))
    sys.stdout.write("\n".join(lines) + "\n")
