from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from sentry_asgi.inspector.app import create_app
from sentry_asgi.inspector.envelope import Limits
from sentry_asgi.inspector.server import serve_in_thread
from sentry_asgi.inspector.store import Store

from .support import Inspector

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
# Small, so that tests can exceed them.
LIMITS = Limits(body=100_000, decompressed=200_000, items=5)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "events.sqlite3")
    yield store
    store.close()


class Current:
    """Whichever app is current: one server serves many tests, each with an app of its own."""

    app: Any

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Current]]:
    current = Current()
    with serve_in_thread(current) as url:
        yield url, current


@pytest.fixture
def inspector(server: tuple[str, Current], store: Store) -> Iterator[Inspector]:
    """An empty inspector under a real uvicorn."""
    url, current = server
    current.app = create_app(store, limits=LIMITS)
    with Inspector(url, store) as inspector:
        yield inspector


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    flags = [
        "--no-sandbox",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        # Newer browsers ask before pages reach this machine: what stands here has to hold without that.
        "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
    ]
    # Playwright's own event loop runs in this thread: tests of other modules want none.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, inspector: Inspector) -> Iterator[Page]:
    """A page on the inspector; whatever the console says of errors fails the test."""
    context = browser.new_context(
        base_url=inspector.url, permissions=["clipboard-read", "clipboard-write"]
    )
    context.set_default_timeout(5000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda failure: complaints.append(str(failure)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    assert [text for text in complaints if "404" not in text] == []
