"""What docs/sdk-versions.md says, run on the SDK that is installed."""

from __future__ import annotations

import ast
import logging
import re
from importlib.metadata import requires
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration

from sentry_asgi import SentryMiddleware

from .support import SDK_VERSION, Scope, Sentry, exception_values, http_scope, respond, run

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "sdk-versions.md").read_text()
BLOCKS = re.findall(r"(?:^    .*\n)+", PAGE, re.MULTILINE)
IS_3 = SDK_VERSION >= (3, 0)

only_3 = pytest.mark.skipif(not IS_3, reason="SDK 3")
from_2_75 = pytest.mark.skipif(SDK_VERSION < (2, 75), reason="the option is younger")

VALUES: dict[str, Any] = {
    "send_default_pii": False,
    "include_local_variables": False,
    "include_source_context": False,
    "event_scrubber": None,
    "before_send_transaction": lambda event, hint: event,
    "profiles_sample_rate": 1.0,
    "enable_tracing": False,
    "enable_logs": True,
}
GONE = re.findall(r"^\| `(\w+)[^|]*\| (.*) \|$", PAGE.partition("| SDK 2 |")[2], re.MULTILINE)


async def app(scope: Scope, receive: Any, send: Any) -> None:
    scope["user"] = SimpleNamespace(id=7, username="ada", is_authenticated=True)
    variable = "shown"
    raise ValueError(f"nope, {len(variable)}")


HEADERS = [
    (b"host", b"example.org"),
    (b"accept", b"text/html"),
    (b"cookie", b"theme=dark"),
    (b"x-forwarded-for", b"203.0.113.7"),
    (b"x-real-ip", b"203.0.113.7"),
    (b"via", b"1.1 proxy"),
]


def reported(sentry: Sentry, **options: Any) -> dict[str, Any]:
    sentry.transport.envelopes.clear()
    sentry.init(**options)
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app), http_scope(headers=HEADERS))
    return sentry.event


def frame_of(event: dict[str, Any]) -> dict[str, Any]:
    frames = event["exception"]["values"][-1]["stacktrace"]["frames"]
    (frame,) = (one for one in frames if one["function"] == "app")
    found: dict[str, Any] = frame
    return found


def test_the_range_is_what_the_page_says() -> None:
    (core,) = (one for one in requires("sentry-asgi") or [] if "extra ==" not in one)
    assert set(re.findall("[<>=]+[0-9.]+", core)) == {">=2.47.0", "<4"}
    assert "from 2.47 up to, but not with, 4" in PAGE


def test_the_page_names_the_versions_that_the_sessions_install() -> None:
    sessions = (ROOT / "noxfile.py").read_text()
    named = re.findall(r"^\| (\S+) \| all tests", PAGE, re.MULTILINE)
    sdk = re.findall(r'^SDK = "(.*)"', sessions, re.MULTILINE)
    others = re.findall(r"^OTHER_SDKS = (.*)", sessions, re.MULTILINE)
    assert sorted(named) == sorted([*sdk, *ast.literal_eval(others[0])])


@pytest.mark.parametrize("option", [name for name, _ in GONE])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_options_that_are_gone_are_refused_by_sdk_3_and_taken_by_sdk_2(
    sentry: Sentry, option: str
) -> None:
    if IS_3:
        with pytest.raises(TypeError, match=option):
            sentry.init(**{option: VALUES[option]})
    else:
        sentry.init(**{option: VALUES[option]})


def test_the_page_has_all_options_that_concern_a_request() -> None:
    assert {name for name, _ in GONE} == set(VALUES)


@from_2_75
@pytest.mark.filterwarnings("ignore:The `before_send_span` parameter")
def test_what_takes_their_place_is_there(sentry: Sentry) -> None:
    taken = {name for _, text in GONE for name in re.findall(r"`(\w+)`", text)}
    values = {
        "data_collection": {},
        "before_send_span": lambda span, hint: span,
        "profile_session_sample_rate": 0.0,
        "traces_sample_rate": 0.0,
    }
    assert taken == set(values)
    sentry.init(**values)


@from_2_75
def test_variables_and_source_lines_are_left_out_as_the_page_says(sentry: Sentry) -> None:
    told = dict(GONE)
    usual = frame_of(reported(sentry, data_collection={}))
    assert usual["vars"]["variable"] == "'shown'"
    assert usual["context_line"]
    for option, missing in (
        ("include_local_variables", "vars"),
        ("include_source_context", "context_line"),
    ):
        new = ast.literal_eval(told[option].strip("`").partition("=")[2])
        assert not frame_of(reported(sentry, data_collection=new)).get(missing)


def test_errors_are_the_same(sentry: Sentry) -> None:
    event = reported(sentry)
    assert exception_values(event) == [("ValueError", "nope, 5")]
    assert event["request"]["url"] == "http://example.org/"
    assert event["exception"]["values"][-1]["mechanism"]["handled"] is False


def test_sdk_3_sends_more_by_default(sentry: Sentry) -> None:
    event = reported(sentry)
    assert (event.get("user") == {"id": "7", "username": "ada"}) is IS_3
    assert ("env" in event["request"]) is IS_3
    assert ("cookies" in event["request"]) is IS_3
    address = event["request"]["headers"]["x-forwarded-for"]
    assert address == ("203.0.113.7" if IS_3 else "[Filtered]")


@from_2_75
def test_the_pages_data_collection_sends_what_sdk_2_sends_by_default(sentry: Sentry) -> None:
    as_before = ast.literal_eval(BLOCKS[0].strip().partition("=")[2])
    event = reported(sentry, data_collection=as_before)
    assert "user" not in event
    assert event["request"] == {
        "url": "http://example.org/",
        "method": "GET",
        "headers": {
            "host": "example.org",
            "accept": "text/html",
            "cookie": "[Filtered]",
            "x-forwarded-for": "[Filtered]",
            "x-real-ip": "[Filtered]",
            "via": "[Filtered]",
        },
    }
    if not IS_3:
        assert event["request"] == reported(sentry)["request"]


@from_2_75
def test_user_info_alone_leaves_the_address_in_the_header(sentry: Sentry) -> None:
    event = reported(sentry, data_collection={"user_info": False})
    assert "user" not in event
    assert "env" not in event["request"]
    assert event["request"]["headers"]["x-forwarded-for"] == "203.0.113.7"


@only_3
def test_traces_are_streamed_spans_whatever_trace_lifecycle_says(sentry: Sentry) -> None:
    assert not hasattr(sentry_sdk, "start_transaction")
    sentry.init(traces_sample_rate=1.0, trace_lifecycle="static")
    start_span: Any = sentry_sdk.start_span

    async def fine(scope: Scope, receive: Any, send: Any) -> None:
        with start_span(name="mine") as span:
            span.set_attribute("cups", 2)
        await respond(send)

    run(SentryMiddleware(fine))
    assert len(sentry.segments) == 1
    assert sentry.transport.items("transaction") == []


@from_2_75
def test_streamed_spans_are_there_before_sdk_3(sentry: Sentry) -> None:
    from sentry_sdk import traces

    sentry.init(traces_sample_rate=1.0, trace_lifecycle="stream", data_collection={})

    async def fine(scope: Scope, receive: Any, send: Any) -> None:
        with traces.start_span(name="mine") as span:
            span.set_attribute("cups", 2)
        await respond(send)

    run(SentryMiddleware(fine))
    assert len(sentry.segments) == 1


async def logs_and_fails(scope: Scope, receive: Any, send: Any) -> None:
    logging.getLogger("shop").error("logged")
    raise ValueError("raised")


def test_logged_errors_make_no_events_with_sdk_3_but_what_is_raised_does(sentry: Sentry) -> None:
    with pytest.raises(ValueError, match="raised"):
        run(SentryMiddleware(logs_and_fails))
    raised = [event for event in sentry.events if "exception" in event]
    assert len(raised) == 1
    assert len(sentry.events) == (1 if IS_3 else 2)
    assert bool(raised[0].get("breadcrumbs", {}).get("values")) is not IS_3


@only_3
def test_the_pages_integration_brings_events_back_and_sends_no_logs(sentry: Sentry) -> None:
    names = {"LoggingIntegration": LoggingIntegration, "logging": logging}
    integrations = eval(BLOCKS[1].strip().partition("=")[2], names)
    sentry.init(integrations=integrations)
    with pytest.raises(ValueError, match="raised"):
        run(SentryMiddleware(logs_and_fails))
    try:
        raise ValueError("raised again")
    except ValueError as error:
        failure = error

    async def fails(scope: Scope, receive: Any, send: Any) -> None:
        raise failure

    with pytest.raises(ValueError, match="raised again"):
        run(SentryMiddleware(fails))
    logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=failure)
    sentry_sdk.flush()
    assert (
        len(sentry.events) == 3
    )  # the logged one and two that were raised; the server's record is none
    assert sentry.transport.items("log") == []
