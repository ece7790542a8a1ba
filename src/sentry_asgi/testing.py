"""For tests of applications: what the app under test would have sent to Sentry, as plain dicts.

The rules:

- The SDK stays configured as the app configured it: its options, its integrations, its
  `before_send` and its sampling decide what would be sent. Only where it is sent to changes, and
  only while the block runs.
- Where nobody initialised the SDK, the block does, and undoes it. An app that does it within the
  block, as app factories do, is heard as well, and stays initialised.
- Nothing leaves the process. What was reported before the block is not in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.scope import Scope, use_isolation_scope, use_scope
from sentry_sdk.transport import Transport

from ._sdk.redirect import redirected

__all__ = ["CapturedEvents", "capture_events"]

_JSON = frozenset(
    {"event", "transaction", "span", "log", "trace_metric", "session", "sessions", "check_in"}
)
_DSN = "https://test@sentry.invalid/1"


class CapturedEvents(list[dict[str, Any]]):
    """The errors and messages that would have been sent, oldest first, as Sentry would get them.

    Everything else that would have been sent is in the properties. What the SDK sends from a
    thread is waited for there.
    """

    def __init__(self) -> None:
        super().__init__()
        self._items: list[tuple[str, dict[str, Any]]] = []
        self._clients: list[Any] = []

    @property
    def transactions(self) -> list[dict[str, Any]]:
        """Transactions, with their spans in `spans`."""
        return self._of("transaction")

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Streamed spans: those of SDKs that send no transactions."""
        return self._of_batches("span")

    @property
    def logs(self) -> list[dict[str, Any]]:
        """Structured logs."""
        return self._of_batches("log")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Metrics."""
        return self._of_batches("trace_metric")

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """Sessions, one by one or counted."""
        return self._of("session") + self._of("sessions")

    @property
    def check_ins(self) -> list[dict[str, Any]]:
        """Check-ins of monitors."""
        return self._of("check_in")

    def wait(self, count: int = 1, timeout: float = 5) -> CapturedEvents:
        """Wait until there are so many events, for apps that run in another thread; returns itself.

        Raises TimeoutError if there are fewer after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while len(self) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self)} of {count} events came within {timeout} s")
            time.sleep(0.005)
        return self

    def _of(self, kind: str) -> list[dict[str, Any]]:
        self._flush()
        return [payload for name, payload in self._items if name == kind]

    def _flush(self) -> None:
        for client in self._clients:
            client.flush(timeout=1)

    def _of_batches(self, kind: str) -> list[dict[str, Any]]:
        return [entry for batch in self._of(kind) for entry in batch.get("items", [])]

    def _add(self, kind: str, payload: dict[str, Any]) -> None:
        if kind == "event":
            self.append(payload)
        else:
            self._items.append((kind, payload))


class _Capturing(Transport):
    def __init__(self, events: CapturedEvents) -> None:
        super().__init__({"dsn": _DSN})
        self._events = events

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            kind = str(item.headers.get("type"))
            if kind in _JSON:
                # Through JSON, as it would have gone: plain values, and none that changes later.
                self._events._add(kind, json.loads(item.payload.get_bytes()))  # noqa: SLF001


@contextmanager
def capture_events(**options: Any) -> Iterator[CapturedEvents]:
    """Collect what would be sent to Sentry while the block runs; the value fills as it comes.

        with capture_events() as events:
            TestClient(app, raise_server_exceptions=False).get("/orders/7")
        assert events[0]["exception"]["values"][0]["type"] == "ZeroDivisionError"

    `options` are for `sentry_sdk.init`; with any, the block's SDK has these, in place of the app's.
    It holds for the whole process, threads included: one block at a time.
    """
    events = CapturedEvents()
    with ExitStack() as stack:
        events._clients = stack.enter_context(redirected(_Capturing(events)))  # noqa: SLF001
        if options or not sentry_sdk.get_client().is_active():
            _use_new_client(stack, options)
        # What a test sets on its scopes is gone when it ends; what the process has set is there.
        stack.enter_context(use_isolation_scope(_copy(Scope.get_isolation_scope())))
        stack.enter_context(use_scope(_copy(Scope.get_current_scope())))
        try:
            yield events
        finally:
            events._flush()  # noqa: SLF001
            events._clients = []  # noqa: SLF001


def _copy(scope: Scope) -> Scope:
    copied = scope.fork()
    copied.clear_breadcrumbs()
    return copied


def _use_new_client(stack: ExitStack, options: dict[str, Any]) -> None:
    """A client of this block's own, for the whole process, until the stack ends."""
    process = sentry_sdk.get_global_scope()
    before = process.client
    client = sentry_sdk.Client(**{"dsn": _DSN, **options})
    process.set_client(client)

    def undo() -> None:
        # An app that initialised the SDK in the block has done so for good.
        if process.client is client:
            process.set_client(before)
        client.close(timeout=0)

    stack.callback(undo)
