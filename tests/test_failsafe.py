"""What goes wrong in here is said, once, and never the application's problem."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi._connection.request import Connection
from sentry_asgi._events import event as _event
from sentry_asgi._sdk import diagnostics

from .support import Sentry, http_scope


def fail(what: str) -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        diagnostics.log_failure(what)


def test_a_failure_is_logged_once_with_its_exception(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        fail("testing")
    (record,) = caplog.records
    assert record.name == "sentry_sdk.errors.asgi"
    assert record.exc_info is not None
    assert "testing failed; the application is not affected" in record.getMessage()
    assert sentry.events == []  # and Sentry's logging integration leaves it alone


def test_what_was_left_out_is_said_the_next_time(
    sentry: Sentry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        fail("testing")
    monkeypatch.setattr(diagnostics, "QUIET", 0.0)
    fail("testing")
    assert "(4 more like it were not logged)" in caplog.records[-1].getMessage()


def test_failures_of_different_kinds_are_all_logged(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    fail("one thing")
    fail("another")
    assert len(caplog.records) == 2


def test_of_one_thing_that_fails_in_two_places_both_are_logged(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        fail("testing")
        with diagnostics.if_possible("testing", broken_context):
            pass
    assert len(caplog.records) == 2


@contextlib.contextmanager
def broken_context() -> Iterator[None]:
    yield
    raise RuntimeError("broken")


def test_failures_in_ever_new_places_do_not_flood_the_log(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    for line in range(1000):
        try:
            exec(compile("\n" * line + "1 / 0", "<made up>", "exec"), {})
        except ZeroDivisionError:
            diagnostics.log_failure("testing")
    assert len(caplog.records) == diagnostics.SITES + 1
    assert len(diagnostics._last) <= diagnostics.SITES + 1


def test_what_can_neither_begin_nor_end_does_not_stop_what_is_within(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(contextlib.ExitStack):
        def __enter__(self) -> Any:
            raise RuntimeError("broken")

    done = []
    with diagnostics.if_possible("testing", Broken):
        done.append(True)
    assert done == [True]
    assert "testing failed" in caplog.text


def test_without_an_exception_at_hand_what_was_being_done_is_logged(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        diagnostics.log_failure("testing")
    assert len(caplog.records) == 1


def test_a_log_handler_that_raises_does_no_harm(sentry: Sentry) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("the handler is broken")

    handler = Broken()
    diagnostics.logger.addHandler(handler)
    try:
        fail("testing")
    finally:
        diagnostics.logger.removeHandler(handler)


@pytest.mark.parametrize("debug", [False, True])
def test_what_the_sdk_keeps_to_itself_is_said_once_unless_the_sdk_says_it(
    sentry: Sentry, caplog: pytest.LogCaptureFixture, debug: bool
) -> None:
    def broken(event: Any, hint: Any) -> Any:
        raise RuntimeError("broken")

    sentry.init(before_send=broken, debug=debug)
    for _ in range(10):
        sentry_sdk.capture_message("hello")
    told = [record for record in caplog.records if record.name == diagnostics.logger.name]
    assert len(told) == (0 if debug else 1)
    assert debug or "sentry_sdk, or a hook" in told[0].getMessage()
    assert sentry.events == []


def test_what_fails_on_the_network_is_the_sdks_to_count(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    sentry.init(dsn="http://key@127.0.0.1:9/1", transport=None)
    sentry_sdk.capture_message("hello")
    sentry_sdk.flush(5)
    assert [one for one in caplog.records if one.name == diagnostics.logger.name] == []


def test_a_record_that_cannot_be_judged_is_let_through(sentry: Sentry) -> None:
    record = logging.LogRecord("sentry_sdk.errors", 40, "", 1, "odd", (), None)
    record.exc_info = (ValueError, ValueError(), "no traceback")  # type: ignore[assignment]
    assert diagnostics._Listener().filter(record) is True


def test_an_event_whose_request_cannot_be_described_is_sent_all_the_same(
    sentry: Sentry, caplog: pytest.LogCaptureFixture
) -> None:
    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("hostile")

    event = _event.describe(Connection(http_scope(endpoint=Hostile())), {}, {})
    assert event is not None
    assert event["request"]["url"] == "http://example.org/"
    assert "describing the request failed" in caplog.text
