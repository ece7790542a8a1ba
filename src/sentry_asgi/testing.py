"""For tests of applications: what the app under test would have sent to Sentry, as dicts.

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
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.scope import Scope, use_isolation_scope, use_scope
from sentry_sdk.transport import Transport

from ._sdk.redirect import redirected

__all__ = ["Captured", "CapturedEvent", "CapturedEvents", "capture_events"]

_JSON = frozenset(
    {"event", "transaction", "span", "log", "trace_metric", "session", "sessions", "check_in"}
)
_DROPPING = {
    "event_processor": "an event processor",
    "callback_error": "a callback that raised",
    "sample_rate": "sampling",
}
_MOST = 80
_DSN = "https://test@sentry.invalid/1"


class CapturedEvent(dict[str, Any]):
    """An event as Sentry would get it: a dict, whose repr is a line."""

    def __repr__(self) -> str:
        """Say what failed, where, and in which request: `<KeyError 'bananas' stock.py:44 GET /stock/7>`."""
        request = self.get("request") or {}
        path = urlsplit(str(request.get("url") or "")).path
        asked = f"{request.get('method') or ''} {path}".strip()
        return f"<{' '.join(part for part in (_said(self), _place(self), asked) if part)}>"


class Captured(list[dict[str, Any]]):
    """What was captured of one kind; where there is nothing, it says why."""

    def __init__(self, entries: Iterable[dict[str, Any]], reason: str) -> None:
        super().__init__(entries)
        self._reason = reason

    def __repr__(self) -> str:
        """List it; or say why there is nothing."""
        return super().__repr__() if self else f"<nothing: {self._reason}>"

    def __getitem__(self, index: Any) -> Any:
        """Return one; of what is not there, say why it is not."""
        try:
            return super().__getitem__(index)
        except IndexError:
            raise IndexError(f"there is no [{index}] in {self!r}") from None


class CapturedEvents(list[dict[str, Any]]):
    """The errors and messages that would have been sent, oldest first, as Sentry would get them.

    Everything else that would have been sent is in the properties. What the SDK sends from a
    thread is waited for there. Where there is nothing, the repr says why: no client, tracing off, dropped.
    """

    def __init__(self) -> None:
        super().__init__()
        self._items: list[tuple[str, dict[str, Any]]] = []
        self._clients: list[Any] = []
        self._lost: Counter[tuple[str, str]] = Counter()
        self._options: dict[str, Any] = {}

    def __repr__(self) -> str:
        """List the events, a line each; or say why there is none."""
        return super().__repr__() if self else f"<no events: {self._why('error')}>"

    def __getitem__(self, index: Any) -> Any:
        """Return one; of what is not there, say why it is not."""
        try:
            return super().__getitem__(index)
        except IndexError:
            raise IndexError(f"there is no [{index}] in {self!r}") from None

    def only(self) -> dict[str, Any]:
        """Return the one event there is. Raises AssertionError, which lists them, if there is not exactly one."""
        if len(self) != 1:
            raise AssertionError(f"expected one event, got {len(self)}: {self!r}")
        event: dict[str, Any] = self[0]
        return event

    def exception(self, kind: type[BaseException] | str) -> dict[str, Any]:
        """Return the one event of an exception of that class (or of that name), itself or as a cause.

        Raises AssertionError, which lists what there is, if there is not exactly one.
        """
        name = kind if isinstance(kind, str) else kind.__name__
        found = [event for event in self if any(one.get("type") == name for one in _raised(event))]
        if len(found) != 1:
            raise AssertionError(f"expected one event of {name}, got {len(found)} in {self!r}")
        return found[0]

    @property
    def transactions(self) -> list[dict[str, Any]]:
        """Transactions, with their spans in `spans`."""
        return Captured(self._of("transaction"), self._why("transaction"))

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Streamed spans: those of SDKs that send no transactions."""
        return Captured(self._of_batches("span"), self._why("span"))

    @property
    def logs(self) -> list[dict[str, Any]]:
        """Structured logs."""
        return Captured(self._of_batches("log"), self._why("log_item"))

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

    def _why(self, category: str) -> str:
        """Why there is nothing of a category, as far as is known."""
        lost = [
            f"{_DROPPING.get(reason, reason)} dropped {count}"
            for (name, reason), count in self._lost.items()
            if name == category
        ]
        if lost:
            return ", ".join(lost)
        if self._clients and self._clients[-1].transport is None:
            return "the SDK's client was closed"
        options = self._clients[-1].options if self._clients else self._options
        traced = any(
            options.get(name) is not None for name in ("traces_sample_rate", "traces_sampler")
        )
        if category in {"transaction", "span"} and not traced:
            return "tracing is off (traces_sample_rate is not set)"
        if category == "log_item" and options.get("enable_logs") is False:
            return "logs are off (enable_logs is not set)"
        return "nothing was reported"

    def _of(self, kind: str) -> list[dict[str, Any]]:
        self._flush()
        return [payload for name, payload in self._items if name == kind]

    def _flush(self) -> None:
        for client in self._clients:
            client.flush(timeout=1)

    def _end(self) -> None:
        self._flush()
        self._options = dict(self._clients[-1].options) if self._clients else {}
        self._clients = []

    def _of_batches(self, kind: str) -> list[dict[str, Any]]:
        return [entry for batch in self._of(kind) for entry in batch.get("items", [])]

    def _add(self, kind: str, payload: dict[str, Any]) -> None:
        if kind == "event":
            self.append(CapturedEvent(payload))
        else:
            self._items.append((kind, payload))


def _said(event: dict[str, Any]) -> str:
    """The exception that was raised last, or the message."""
    raised = _raised(event)
    if raised:
        return f"{raised[-1].get('type')} {_short(str(raised[-1].get('value') or ''))}".strip()
    entry = event.get("logentry") or {}
    text = entry.get("formatted") or entry.get("message") or event.get("message") or ""
    return f"{event.get('level') or 'message'} {_short(str(text))!r}"


def _place(event: dict[str, Any]) -> str:
    """The innermost line of the app's own."""
    raised = _raised(event)
    frames = (raised[-1].get("stacktrace") or {}).get("frames") or [] if raised else []
    for frame in reversed(frames):
        if frame.get("in_app") or frame is frames[0]:
            path = str(frame.get("abs_path") or frame.get("filename") or "?")
            return f"{PurePath(path).name}:{frame.get('lineno')}"
    return ""


def _raised(event: dict[str, Any]) -> list[dict[str, Any]]:
    return (event.get("exception") or {}).get("values") or []


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST else f"{line[:_MOST]}…"


class _Capturing(Transport):
    def __init__(self, events: CapturedEvents) -> None:
        super().__init__({"dsn": _DSN})
        self._events = events

    def record_lost_event(
        self, reason: str, data_category: Any = None, item: Any = None, *, quantity: int = 1
    ) -> None:
        category = str(data_category or (item.data_category if item is not None else ""))
        self._events._lost[category, reason] += quantity  # noqa: SLF001

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
            events._end()  # noqa: SLF001


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
