"""Real SDKs reach the inspector: Sentry's for JavaScript too; skipped where npm is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .support import Inspector, wait_for

NPM = shutil.which("npm")
NODE = shutil.which("node")
SDK = "@sentry/node@10"

SCRIPT = """
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

pytestmark = pytest.mark.skipif(NPM is None or NODE is None, reason="npm is not installed")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the SDK; kept from run to run where the environment names one."""
    kept = os.environ.get("SENTRY_ASGI_TEST_NODE")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("node")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules" / "@sentry" / "node").exists():
        install = [
            str(NPM),
            "install",
            "--no-audit",
            "--no-fund",
            "--no-save",
            "--prefix",
            str(folder),
            SDK,
        ]
        try:
            result = subprocess.run(
                install, capture_output=True, text=True, timeout=100, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm does not get through to its registry")
        if result.returncode:
            pytest.skip(f"npm cannot install it: {result.stderr[-300:]}")
    (folder / "app.js").write_text(SCRIPT)
    return folder


@pytest.mark.parametrize("way", ["dsn", "spotlight"])
def test_the_javascript_sdk_reaches_it(inspector: Inspector, node: Path, way: str) -> None:
    elsewhere = "http://key@127.0.0.1:9/1"
    environment = {
        **os.environ,
        "DSN": inspector.dsn if way == "dsn" else elsewhere,
        "SPOTLIGHT": f"{inspector.url}/stream" if way == "spotlight" else "",
    }
    subprocess.run(
        [str(NODE), "app.js"],
        cwd=node,
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
