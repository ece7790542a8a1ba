"""capture_events() and the fixture: what would be sent, and nothing else is touched."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.consts import DEFAULT_OPTIONS
from sentry_sdk.transport import Transport

from sentry_asgi import SentryMiddleware
from sentry_asgi.testing import CapturedEvent, capture_events

from .support import SDK_VERSION, Sentry, call, exception_values, http_scope

pytest_plugins = ["pytester"]


async def failing(scope: Any, receive: Any, send: Any) -> None:
    sentry_sdk.set_tag("shop", "tea")
    raise ValueError("no tea")


def fail() -> None:
    with pytest.raises(ValueError, match="no tea"):
        asyncio.run(call(SentryMiddleware(failing), http_scope("/tea")))


def test_the_error_of_an_app_is_there_as_a_dict() -> None:
    with capture_events() as events:
        assert events == []
        fail()
    (event,) = events
    assert isinstance(event, dict)
    assert json.loads(json.dumps(event)) == event
    assert exception_values(event) == [("ValueError", "no tea")]
    assert event["request"]["url"] == "http://example.org/tea"
    assert event["tags"] == {"shop": "tea"}


def test_where_nobody_initialised_the_sdk_nobody_did_afterwards() -> None:
    assert not sentry_sdk.get_client().is_active()
    with capture_events():
        assert sentry_sdk.get_client().is_active()
    assert not sentry_sdk.get_client().is_active()


def test_the_apps_own_options_decide_and_its_transport_gets_nothing(sentry: Sentry) -> None:
    def before_send(event: Any, hint: Any) -> Any:
        return None if event.get("message") == "noise" else {**event, "release": "mine"}

    client = sentry.init(before_send=before_send, environment="test")
    with capture_events() as events:
        assert sentry_sdk.get_client() is client
        sentry_sdk.capture_message("noise")
        sentry_sdk.capture_message("signal")
    assert [(event["message"], event["environment"], event["release"]) for event in events] == [
        ("signal", "test", "mine"),
    ]  # fmt: skip
    assert sentry.transport.envelopes == []
    assert client.transport is sentry.transport
    sentry_sdk.capture_message("after")
    assert [event["message"] for event in sentry.events] == ["after"]
    assert len(events) == 1


def test_options_of_the_block_stand_in_for_the_apps_and_go_with_it(sentry: Sentry) -> None:
    client = sentry.init(environment="test")
    global_client = sentry_sdk.get_global_scope().client
    with capture_events(environment="block") as events:
        sentry_sdk.capture_message("here")
    assert [event["environment"] for event in events] == ["block"]
    assert sentry_sdk.get_client() is client
    assert sentry_sdk.get_global_scope().client is global_client
    assert sentry.transport.envelopes == []


def test_what_a_block_sets_on_scopes_is_gone_after_it(sentry: Sentry) -> None:
    sentry.init()
    sentry_sdk.set_tag("outer", "1")
    with capture_events() as events:
        sentry_sdk.set_tag("inner", "1")
        sentry_sdk.capture_message("inside")
    sentry_sdk.capture_message("outside")
    assert events[0]["tags"] == {"outer": "1", "inner": "1"}
    assert sentry.event["tags"] == {"outer": "1"}


def test_what_is_waiting_when_the_block_begins_is_not_in_it(sentry: Sentry) -> None:
    if SDK_VERSION < (2, 35):
        pytest.skip("no structured logs")
    sentry.init(enable_logs=True) if SDK_VERSION < (3, 0) else sentry.init()
    sentry_sdk.logger.info("before")
    with capture_events() as events:
        sentry_sdk.logger.info("within")
        assert [log["body"] for log in events.logs] == ["within"]
        sentry_sdk.logger.info("late")
    assert [log["body"] for log in events.logs] == ["within", "late"]


def test_transactions_sessions_check_ins_and_attachments_have_their_place() -> None:
    with capture_events(traces_sample_rate=1.0) as events:
        if SDK_VERSION < (3, 0):
            with sentry_sdk.start_transaction(name="brew"), sentry_sdk.start_span(op="boil"):
                pass
            assert [(one["transaction"], len(one["spans"])) for one in events.transactions] == [
                ("brew", 1)
            ]
        sentry_sdk.get_current_scope().add_attachment(bytes=b"{}not json", filename="a.txt")
        sentry_sdk.get_current_scope().add_attachment(bytes=b"leaves", filename="b.txt")
        from sentry_sdk.crons import capture_checkin

        capture_checkin("nightly", status="ok")
        sentry_sdk.capture_message("hello")
    assert [one["monitor_slug"] for one in events.check_ins] == ["nightly"]
    assert [one["message"] for one in events] == ["hello"]
    assert (events.sessions, events.metrics, events.spans) == ([], [], [])


def test_other_threads_are_waited_for_and_told_when_they_are_late() -> None:
    with capture_events() as events:
        thread = threading.Timer(0.05, sentry_sdk.capture_message, ["late"])
        thread.start()
        assert events.wait()[0]["message"] == "late"
        with pytest.raises(TimeoutError, match="1 of 2 events came"):
            events.wait(2, timeout=0.05)
        thread.join()


def test_a_client_that_speaks_spotlight_is_silent_in_the_block(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Nowhere(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            raise AssertionError

    before = sentry_sdk.get_global_scope().client
    client = sentry_sdk.Client(
        dsn="https://k@sentry.invalid/1", transport=Nowhere, spotlight="http://127.0.0.1:1/stream",
        default_integrations=False,
    )  # fmt: skip
    sentry_sdk.get_global_scope().set_client(client)
    try:
        spotlight = client.spotlight
        with capture_events() as events, caplog.at_level(logging.WARNING):
            sentry_sdk.capture_message("quiet")
        assert client.spotlight is spotlight is not None
    finally:
        sentry_sdk.get_global_scope().set_client(before)
        client.close(timeout=0)
    assert len(events) == 1
    assert "Failed to send" not in caplog.text


def test_the_fixture_is_there_for_whoever_installed_the_package(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sentry_sdk

        def test_one(sentry_events):
            sentry_sdk.capture_message("one")
            assert [event["message"] for event in sentry_events] == ["one"]

        def test_other_tests_are_left_alone():
            assert not sentry_sdk.get_client().is_active()
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)


def test_the_plugin_imports_nothing_until_it_is_asked_for() -> None:
    code = "import sys, pytest_sentry_asgi; print({'sentry_sdk', 'sentry_asgi'} & {*sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout == "set()\n"


def test_an_app_that_initialises_the_sdk_within_the_block_is_heard_and_sends_nothing() -> None:
    class Nowhere(Transport):
        def __init__(self, options: Any = None) -> None:
            super().__init__({"dsn": options["dsn"]})

        def capture_envelope(self, envelope: Any) -> None:
            raise AssertionError

    before = sentry_sdk.get_global_scope().client
    try:
        with capture_events() as events:
            sentry_sdk.init(
                dsn="https://k@sentry.invalid/1", transport=Nowhere, environment="app",
                spotlight="http://127.0.0.1:1/stream", auto_enabling_integrations=False,
            )  # fmt: skip
            fail()
        client = sentry_sdk.get_client()
        # As it would be had the block not been there.
        assert client.options["environment"] == "app"
        assert isinstance(client.transport, Nowhere)
        assert client.spotlight is not None
        assert [event["environment"] for event in events] == ["app"]
    finally:
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.get_global_scope().set_client(before)


def test_an_app_without_a_dsn_is_tested_all_the_same() -> None:
    before = sentry_sdk.get_global_scope().client
    sentry_sdk.init(dsn=None, auto_enabling_integrations=False)
    try:
        with capture_events() as events:
            fail()
        assert sentry_sdk.get_client().transport is None
    finally:
        sentry_sdk.get_global_scope().set_client(before)
    assert [exception_values(event) for event in events] == [[("ValueError", "no tea")]]


def test_blocks_within_blocks_end_in_order() -> None:
    with capture_events() as outer:
        with capture_events() as inner:
            sentry_sdk.capture_message("inner")
        sentry_sdk.capture_message("outer")
    assert [event["message"] for event in inner] == ["inner"]
    assert [event["message"] for event in outer] == ["outer"]
    assert not sentry_sdk.get_client().is_active()


# What a failing test says.


def boom() -> None:
    raise KeyError("bananas")


def test_events_are_a_line_each() -> None:
    with capture_events() as events:
        fail()
        sentry_sdk.capture_message("only 2 teapots left")
        try:
            boom()
        except KeyError as error:
            sentry_sdk.capture_exception(error)
    line = boom.__code__.co_firstlineno + 1
    raised, message, caught = events
    assert repr(raised).startswith("<ValueError no tea test_testing.py:")
    assert repr(raised).endswith(" GET /tea>")
    assert repr(message) == "<info 'only 2 teapots left'>"
    assert repr(caught) == f"<KeyError 'bananas' test_testing.py:{line}>"
    assert repr(events) == f"[{raised!r}, {message!r}, {caught!r}]"
    frames = [{"filename": "a.py", "lineno": 1}, {"filename": "b.py", "lineno": 2}]
    raised = {"type": "E", "value": "x" * 500, "stacktrace": {"frames": frames}}
    odd = [CapturedEvent(), CapturedEvent(exception={"values": [raised]})]
    assert [len(repr(one)) < 100 for one in odd] == [True, True]


def test_one_event_is_asked_for_by_itself_or_by_its_exception() -> None:
    with capture_events() as events:
        fail()
        assert events.only() is events[0]
        assert events.exception(ValueError) is events.exception("ValueError") is events[0]
        with pytest.raises(
            AssertionError, match=r"expected one event of KeyError, got 0 in \[<ValueError"
        ):
            events.exception(KeyError)
        sentry_sdk.capture_message("another")
        with pytest.raises(AssertionError, match=r"expected one event, got 2: \[<ValueError"):
            events.only()


def test_where_there_is_nothing_it_says_why(sentry: Sentry) -> None:
    def drop(event: Any, hint: Any) -> None:
        return None

    for options, because in (
        ({}, "nothing was reported"),
        ({"before_send": drop}, "before_send dropped 1"),
        ({"sample_rate": 0.0}, "sampling dropped 1"),
    ):
        with capture_events(**options) as events:
            if options:
                sentry_sdk.capture_message("tea")
            assert repr(events) == f"<no events: {because}>"
            with pytest.raises(IndexError, match=because):
                events[0]
        assert repr(events) == f"<no events: {because}>"
    with capture_events() as events:
        sentry_sdk.get_client().close(timeout=0)
        assert repr(events) == "<no events: the SDK's client was closed>"


def test_where_there_is_no_trace_and_no_log_it_says_why() -> None:
    has_switch = "enable_logs" in DEFAULT_OPTIONS
    with capture_events(**({"enable_logs": False} if has_switch else {})) as events:
        assert (
            repr(events.transactions) == "<nothing: tracing is off (traces_sample_rate is not set)>"
        )
        assert repr(events.spans) == repr(events.transactions)
        with pytest.raises(IndexError, match="tracing is off"):
            events.transactions[0]
        why = "logs are off (enable_logs is not set)" if has_switch else "nothing was reported"
        assert repr(events.logs) == f"<nothing: {why}>"
    with capture_events(traces_sample_rate=1.0) as events:
        fail()
        traced = events.transactions or events.spans
        assert traced[0]
        assert repr(traced) == f"[{traced[0]!r}]"


def test_a_marker_gives_options(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest, sentry_sdk

        @pytest.mark.sentry_options(environment="kitchen")
        def test_marked(sentry_events):
            sentry_sdk.capture_message("tea")
            assert sentry_events.only()["environment"] == "kitchen"

        def test_unmarked(sentry_events):
            assert len(sentry_events) == 1
        """
    )
    result = pytester.runpytest("--strict-markers", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*0 = len(<no events: nothing was reported>)*"])
