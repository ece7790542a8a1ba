"""Runs the tests within Pyodide, which has no threads, sockets or processes, and no modules that are compiled.

The rules:

- A test that asks for one of these is skipped, and says for which. Where it is the package that asks, the test fails.
- asyncio gets a loop that sleeps: Pyodide's own is JavaScript's, and cannot wait within a test.
- The SDK collects streamed spans and logs for a thread to send. Here they wait until a test flushes.
- That too few ran is a failure: `LEAST`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import Any

import pytest

LEAST = 2_500
FILES = [
    f"tests/test_{name}.py"
    for name in [
        *["middleware", "isolation", "exchange", "request", "request_data", "transparency"],
        *["swallowed", "traceback", "hostile_exceptions", "budget", "own_failures", "what_stays"],
        *["tracing", "tracing_sampling", "tracing_websockets", "ids", "sessions", "queue"],
        *["secrets", "shapes", "texts", "redaction_budget", "own_secrets", "privacy", "scrub"],
        *["logging", "testing", "hostile", "invariants", "side_by_side", "corpus"],
    ]
]
LACKING = {
    "test_profiles_are_taken_of_sampled_requests": "a thread, which the SDK profiles in",
    "test_the_continuous_profiler_follows_traces": "a thread, which the SDK profiles in",
    "test_an_open_websocket_holds_neither_span_nor_filled_scopes": "a thread: the SDK tries with each "
    "request to start one, which fills the scopes",
    "test_to_log_fills_no_scope_and_starts_no_span": "a thread, as the one before",
    "test_a_library_that_is_built_on_the_one_that_answers_may_have_caught": "FastAPI and Channels",
    "test_a_text_that_was_not_cut_holds_no_piece_of_a_secret": "a clock of microseconds, by which "
    "breadcrumbs are sorted",
}
_WANTING: dict[type[BaseException], tuple[str, str]] = {
    RuntimeError: ("can't start new thread", "a thread"),
    OSError: ("emscripten does not support processes", "a process"),
    AttributeError: ("module 'time' has no attribute 'thread_time'", "a clock for each thread"),
}


class _Sleep:
    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing is left that could happen")
        time.sleep(timeout)
        return []


class SleepingLoop(asyncio.BaseEventLoop):
    """An event loop of timers and callbacks alone."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Sleep()

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def _collect(batcher: Any) -> bool:
    batcher._flusher = threading.Thread()
    return bool(batcher._running)


class Plugin:
    """Skips what cannot run here, and counts what has run."""

    def __init__(self) -> None:
        self.passed = 0

    def pytest_addoption(self, parser: pytest.Parser) -> None:
        parser.addini("timeout", "pytest-timeout's, which needs a signal or a thread")

    def pytest_configure(self, config: pytest.Config) -> None:
        config.addinivalue_line("markers", "timeout(seconds): pytest-timeout's")

    def pytest_sessionstart(self) -> None:
        # Now: what is imported before pytest's own plugins, these cannot rewrite.
        from sentry_sdk._batcher import Batcher
        from sentry_sdk._span_batcher import SpanBatcher

        batchers: list[Any] = [Batcher, SpanBatcher]
        for batcher in batchers:
            batcher._ensure_thread = _collect

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            lacking = LACKING.get(getattr(item, "originalname", item.name))
            if lacking:
                item.add_marker(pytest.mark.skip(reason=f"needs {lacking}"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report = yield
        wanted = "" if call.excinfo is None else wanting(call.excinfo)
        if report.failed and wanted:
            report.outcome = "skipped"
            report.longrepr = (str(item.path), 0, f"Skipped: needs {wanted}")
        self.passed += report.when == "call" and report.passed
        return report


def wanting(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """Return what Pyodide lacks for a test, if it is the test (or a library) that asked for it."""
    error = excinfo.value
    if isinstance(error, ModuleNotFoundError):
        return "" if "sentry_asgi" in str(error.name) else str(error.name)
    text, wanted = _WANTING.get(type(error), ("", ""))
    asking = [one for one in excinfo.traceback if "python314.zip" not in str(one.path)][-1]
    return wanted if text and text in str(error) and "/sentry_asgi/" not in str(asking.path) else ""


def main(options: list[str]) -> int:
    """Run the tests with pytest's options; return the exit status."""
    asyncio.set_event_loop(None)
    asyncio.events._set_running_loop(None)
    for module in (asyncio, asyncio.events):
        module.new_event_loop = SleepingLoop  # type: ignore[attr-defined]
    plugin = Plugin()
    usual = ["-p", "no:cacheprovider", "-o", "addopts=--strict-markers -rfE", "--tb=short", "-q"]
    status = int(pytest.main([*usual, *(options or FILES)], plugins=[plugin]))
    print(f"CPython {sys.version.split()[0]}, {sys.platform}")
    if status == 0 and not options and plugin.passed < LEAST:
        print(f"only {plugin.passed} tests have run, expected at least {LEAST}")
        return 1
    return status
