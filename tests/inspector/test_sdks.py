"""Real SDKs reach the inspector: Sentry's for JavaScript, in Node and in a browser, and Python's with Spotlight."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from playwright.sync_api import Browser
from sentry_sdk.scope import Scope, ScopeType, use_isolation_scope, use_scope
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from sentry_asgi.inspector.app import create_app
from sentry_asgi.inspector.running import PORT
from sentry_asgi.inspector.server import serve_in_thread
from sentry_asgi.inspector.store import Store

from .support import Inspector, wait_for

NPM = shutil.which("npm")
NODE = shutil.which("node")
PACKAGES = ["@sentry/node@10", "@sentry/browser@10", "esbuild@0.25"]
NOWHERE = "http://key@127.0.0.1:9/1"

APP = """
const Sentry = require("@sentry/node");
Sentry.init({
  dsn: process.env.DSN, spotlight: process.env.SPOTLIGHT || false, tracesSampleRate: 1, enableLogs: true,
  release: "front@1", defaultIntegrations: false,
});
Sentry.startSpan({ name: "brew tea", op: "task" }, () => {
  Sentry.startSpan({ name: "boil", op: "water" }, () => {});
  Sentry.logger.info("boiled", { cups: 2 });
  Sentry.captureException(new TypeError("no tea in JavaScript"));
});
Sentry.flush(5000).then(() => process.exit(0));
"""

PAGE = """<!doctype html><title>shop</title><script src="/files/sentry.js"></script><script>
const asked = new URLSearchParams(location.search);
Sentry.init({
  dsn: asked.get("dsn"), tracesSampleRate: 1, enableLogs: true, release: "front@1",
  integrations: asked.has("spotlight") ? [Sentry.spotlightBrowserIntegration({ sidecarUrl: asked.get("spotlight") })] : [],
});
Sentry.startSpan({ name: "brew tea", op: "task" }, () => {
  Sentry.startSpan({ name: "boil", op: "water" }, () => {});
  Sentry.logger.info("boiled", { cups: 2 });
});
setTimeout(() => { Sentry.flush(5000).then(() => { window.told = true; }); }, 50);
null.tea;
</script>"""

needs_npm = pytest.mark.skipif(NPM is None or NODE is None, reason="npm is not installed")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the SDKs; kept from run to run where the environment names one.

    Installed elsewhere and then moved: nobody finds half of them, whether npm is stopped or several tests install.
    """
    kept = os.environ.get("SENTRY_ASGI_TEST_NODE")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("node") / "packages"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent))
        install(made)
        try:
            made.rename(folder)
        except OSError:  # another test was faster
            shutil.rmtree(made)
    return folder


def install(folder: Path) -> None:
    """Install the SDKs into a folder, or skip the test."""
    options = ["--no-audit", "--no-fund", "--no-save", "--prefix", str(folder)]
    try:
        result = subprocess.run(
            [str(NPM), "install", *options, *PACKAGES],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    except subprocess.TimeoutExpired:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip("npm does not get through to its registry")
    if result.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"npm cannot install them: {result.stderr[-300:]}")
    (folder / "app.js").write_text(APP)
    (folder / "entry.mjs").write_text('export * from "@sentry/browser";')


@needs_npm
@pytest.mark.parametrize("way", ["dsn", "spotlight"])
def test_the_javascript_sdk_reaches_it(inspector: Inspector, packages: Path, way: str) -> None:
    environment = {
        **os.environ,
        "DSN": inspector.dsn if way == "dsn" else NOWHERE,
        "SPOTLIGHT": f"{inspector.url}/stream" if way == "spotlight" else "",
    }
    subprocess.run(
        [str(NODE), "app.js"],
        cwd=packages,
        env=environment,
        check=True,
        timeout=60,
        capture_output=True,
    )
    counts = wait_for(inspector.store.counts, lambda counts: len(counts) >= 3)
    assert (counts["error"], counts["request"], counts["log"]) == (1, 1, 1)
    (failure,) = inspector.errors()
    page = inspector.get(f"/traces/{failure.trace_id}").text
    for text in ("brew tea", "boil", "TypeError", "boiled", "front"):
        assert text in page
    assert "no tea in JavaScript" in inspector.get(f"/events/{failure.event_id}").text


@pytest.fixture(scope="module")
def website(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page with the SDK for browsers in it, bundled as its users bundle it."""
    site = tmp_path_factory.mktemp("site")
    subprocess.run(
        [str(packages / "node_modules" / ".bin" / "esbuild"), "entry.mjs", "--bundle", "--format=iife",
         "--global-name=Sentry", f"--outfile={site / 'sentry.js'}", "--log-level=error"],
        cwd=packages, check=True, timeout=60,
    )  # fmt: skip
    routes = [
        Route("/", lambda _request: HTMLResponse(PAGE)),
        Mount("/files", StaticFiles(directory=site)),
    ]
    with serve_in_thread(Starlette(routes=routes)) as url:
        yield url


@needs_npm
@pytest.mark.parametrize("way", ["dsn", "spotlight"])
def test_the_javascript_sdk_reaches_it_from_a_page_on_a_loopback_name(
    inspector: Inspector, website: str, browser: Browser, way: str
) -> None:
    asked = (
        f"dsn={inspector.dsn}"
        if way == "dsn"
        else f"dsn={NOWHERE}&spotlight={inspector.url}/stream"
    )
    page = browser.new_page()
    # Another origin, by another name.
    page.goto(f"{website.replace('127.0.0.1', 'localhost')}/?{asked}")
    page.wait_for_function("window.told")
    (failure,) = inspector.wait_for(1)
    page.close()
    assert failure.summary.title == "TypeError"
    counts = wait_for(inspector.store.counts, lambda counts: {"request", "log"} <= {*counts})
    assert (counts["error"], counts["log"]) == (1, 1)
    shown = inspector.get(f"/events/{failure.event_id}").text
    for text in ("Cannot read properties of null", "localhost", "sentry.javascript.browser"):
        assert text in shown


@needs_npm
def test_the_javascript_sdk_on_another_site_reaches_nothing(
    inspector: Inspector, website: str, browser: Browser
) -> None:
    page = browser.new_page()
    refused: list[str] = []
    page.on(
        "response", lambda answer: refused.append(f"{answer.status} {answer.url.split('?')[0]}")
    )
    page.on("requestfailed", lambda asked: refused.append(f"failed {asked.url.split('?')[0]}"))
    elsewhere = "http://shop.example"

    def serve(route: Any) -> None:
        url = website + route.request.url.removeprefix(elsewhere)
        route.fulfill(response=route.fetch(url=url))

    page.route(lambda url: url.startswith(elsewhere), serve)
    page.goto(f"{elsewhere}/?dsn={inspector.dsn}&spotlight={inspector.url}/stream")
    page.wait_for_function("window.told")
    page.close()
    assert f"failed {inspector.url}/api/1/envelope/" in refused
    assert inspector.store.totals() == (0, 0)


def test_the_python_sdk_with_spotlight_true_reaches_it(store: Store) -> None:
    """By the address that the SDK knows by itself: localhost, port 8969."""
    app = create_app(store)
    try:
        socket.create_server(("127.0.0.1", PORT)).close()
    except OSError:
        pytest.skip(f"port {PORT} is taken: somebody's inspector runs on this machine")
    with contextlib.ExitStack() as stack:
        stack.enter_context(serve_in_thread(app, port=PORT, ending=app.close))
        client = sentry_sdk.Client(dsn=NOWHERE, spotlight=True, default_integrations=False)
        stack.enter_context(use_isolation_scope(Scope(ty=ScopeType.ISOLATION)))
        stack.enter_context(use_scope(Scope(ty=ScopeType.CURRENT, client=client)))
        sentry_sdk.capture_message("seen without being told where")
        client.close(timeout=0)
        (listed,) = wait_for(lambda: store.errors(limit=9), bool)
    assert (listed.summary.title, listed.project) == ("seen without being told where", "spotlight")
