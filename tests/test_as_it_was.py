"""What others get wrong about a request: it is told here as it was, and without what nobody should learn."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._redaction.names import FILTERED

from .support import Message, Scope, Sentry, failing, http_scope, pii, respond, run

PII = [pytest.param(False, id="without PII"), pytest.param(True, id="with PII")]
SECRET = "".join(map(chr, range(98, 118)))  # no literal: source lines are no data


def event_of(sentry: Sentry, app: Any = failing, messages: Any = (), **changes: Any) -> Any:
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app), http_scope("/", **changes), messages)
    return sentry.event


def test_a_query_is_told_as_it_was_sent_and_never_taken_apart_decoded(sentry: Sentry) -> None:
    assert event_of(sentry, query_string=b"a=1%26b%3D2")["request"]["query_string"] == "a=1%26b%3D2"


def test_cookies_in_several_headers_are_one_list_of_cookies(sentry: Sentry) -> None:
    sentry.init(**pii(on=True))
    headers = [
        (b"cookie", b"theme=dark"),
        (b"accept", b"a"),
        (b"Cookie", b"lang=de"),
        (b"accept", b"b"),
    ]
    request = event_of(sentry, headers=headers)["request"]
    assert request["cookies"] == {"theme": "dark", "lang": "de"}
    assert request["headers"]["cookie"] in {
        "theme=dark; lang=de",
        FILTERED,
    }  # SDK 3 replaces the header
    assert request["headers"]["accept"] == "a, b"


def test_a_handler_that_never_reads_its_body_waits_for_nobody(sentry: Sentry) -> None:
    async def unread(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.capture_message("unread")
        await respond(send)

    async def receive() -> Message:
        raise AssertionError("nobody has asked")

    async def main() -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope = http_scope("/", method="POST", headers=[(b"content-length", b"9")])
        await asyncio.wait_for(SentryMiddleware(unread)(scope, receive, send), 5)
        return sent

    assert asyncio.run(main())[-1]["body"] == b"ok"
    assert "data" not in sentry.event["request"]


def test_a_body_that_broke_off_is_no_whole_body(sentry: Sentry) -> None:
    async def reading(scope: Scope, receive: Any, send: Any) -> None:
        assert (await receive())["more_body"]
        assert (await receive())["type"] == "http.disconnect"
        raise ValueError("nope")

    messages = [
        {"type": "http.request", "body": b"x=1&y", "more_body": True},
        {"type": "http.disconnect"},
    ]
    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    event = event_of(sentry, reading, messages, headers=headers)
    assert event["request"]["data"] == {"x": "1"}
    assert event["contexts"]["asgi"]["body_complete"] is False
    assert event["contexts"]["asgi"]["client_left"] is True


@pytest.mark.parametrize(
    "odd",
    [
        {"client": None},
        {"client": ()},
        {"client": (None, None)},
        {"query_string": b"\xff\xfe=%ff&token=\xff"},
        {"path": "/\udcff", "raw_path": b"/\xff"},
        {"headers": [(b"\xff", b"\xff"), (b"cookie", b"\xff=\xff"), (b"host", b"\xff")]},
        {"server": None, "scheme": None},
    ],
)
def test_a_request_with_odd_facts_is_served_and_reported(sentry: Sentry, odd: Any) -> None:
    sentry.init(**pii(on=True))

    async def fine(scope: Scope, receive: Any, send: Any) -> None:
        await respond(send)

    assert run(SentryMiddleware(fine), http_scope("/", **odd))[-1]["body"] == b"ok"
    assert event_of(sentry, **odd)["request"]["method"] == "GET"


def test_a_streamed_page_is_passed_on_piece_by_piece(sentry: Sentry) -> None:
    order: list[Any] = []

    async def streaming(scope: Scope, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(3):
            order.append(f"app: {number}")
            await send(
                {"type": "http.response.body", "body": b"<p>%d</p>" % number, "more_body": True}
            )
        await send({"type": "http.response.body"})

    async def send(message: Message) -> None:
        order.append(message.get("body", message["type"]))

    asyncio.run(SentryMiddleware(streaming)(http_scope("/"), None, send))  # type: ignore[arg-type]
    pieces = [entry for number in range(3) for entry in (f"app: {number}", b"<p>%d</p>" % number)]
    assert order == ["http.response.start", *pieces, "http.response.body"]


@pytest.mark.parametrize("size", ["small", "medium", "always"])
@pytest.mark.parametrize("content_type", [b"application/json", b"text/plain"])
def test_a_body_of_five_megabytes_is_not_in_the_event(
    sentry: Sentry, size: str, content_type: bytes
) -> None:
    sentry.init(max_request_body_size=size)

    async def reading(scope: Scope, receive: Any, send: Any) -> None:
        count = len((await receive())["body"])
        raise ValueError("nope", count)

    body = json.dumps(["x" * 40] * 110_000).encode()
    assert len(body) > 4_800_000
    event = event_of(
        sentry,
        reading,
        [{"type": "http.request", "body": body}],
        method="POST",
        headers=[(b"content-type", content_type)],
    )
    assert len(json.dumps(event)) < 150_000
    assert event["contexts"]["asgi"]["body_read"] == len(body)


@pytest.mark.parametrize("on", PII)
def test_tokens_of_the_query_are_sent_neither_there_nor_in_the_referer(
    sentry: Sentry, on: bool
) -> None:
    sentry.init(**pii(on=on))
    query = f"page=2&token={SECRET}&password={SECRET}".encode()
    headers = [(b"referer", b"https://example.org/a?" + query)]
    event = event_of(sentry, query_string=query, headers=headers)
    cleaned = f"page=2&token={FILTERED}&password={FILTERED}"
    assert event["request"]["query_string"] == cleaned
    assert event["request"]["headers"]["referer"] == f"https://example.org/a?{cleaned}"
    assert SECRET not in json.dumps(event)


@pytest.mark.parametrize("on", PII)
@pytest.mark.parametrize(
    "name",
    [
        "x-auth-token",
        "x-amz-security-token",
        "x-session-token",
        "x-csrftoken",
        "x-api-key",
        "X_API_KEY",
    ],
)
def test_headers_that_hold_tokens_are_replaced(sentry: Sentry, on: bool, name: str) -> None:
    sentry.init(**pii(on=on))
    event = event_of(sentry, headers=[(name.encode(), SECRET.encode())])
    assert event["request"]["headers"] == {name.lower(): FILTERED}
    assert SECRET not in json.dumps(event)


def test_the_client_is_whom_the_server_knows_and_not_what_anybody_wrote(sentry: Sentry) -> None:
    sentry.init(**pii(on=True))
    headers = [
        (b"x-forwarded-for", b"6.6.6.6"),
        (b"forwarded", b"for=6.6.6.6"),
        (b"x-real-ip", b"6.6.6.6"),
    ]
    event = event_of(sentry, headers=headers)
    assert event["request"]["env"] == {"REMOTE_ADDR": "203.0.113.7"}
    assert (event.get("user") or {}).get("ip_address") in {None, "203.0.113.7"}


@pytest.mark.parametrize("on", PII)
def test_authorization_and_session_cookies_are_nowhere_in_an_event(
    sentry: Sentry, on: bool
) -> None:
    sentry.init(**pii(on=on))
    headers = [
        (b"authorization", f"Bearer {SECRET}".encode()),
        (b"cookie", f"session={SECRET}".encode()),
    ]
    event = event_of(sentry, headers=headers)
    assert event["request"]["headers"]["authorization"] == FILTERED
    assert SECRET not in json.dumps(event)


# What goes on beside it.


def test_a_user_agent_is_no_user(sentry: Sentry) -> None:
    headers = [(b"user-agent", b"Mozilla/5.0"), (b"x-remote-user", b"alice")]
    shown = event_of(sentry, headers=headers)["request"]["headers"]
    assert shown["user-agent"] == "Mozilla/5.0"


def test_what_before_send_adds_is_the_apps_own_and_stays(sentry: Sentry) -> None:
    seen: list[str] = []

    def before_send(event: Any, hint: Any) -> Any:
        seen.append(event["extra"]["by the app"])
        event["extra"]["by before_send"] = SECRET
        return event

    def processor(event: Any, hint: Any) -> Any:
        event["extra"]["by a processor"] = SECRET
        return event

    def late(event: Any, hint: Any) -> Any:
        event["extra"]["by a late one"] = SECRET
        return event

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.set_extra("by the app", SECRET)
        sentry_sdk.get_isolation_scope().add_event_processor(processor)
        sentry_sdk.get_current_scope().add_event_processor(late)
        raise ValueError("nope")

    sentry.init(before_send=before_send)
    event = event_of(sentry, app, headers=[(b"x-api-key", SECRET.encode())])
    assert seen == [FILTERED]  # it is given what has been cleaned
    assert event["extra"]["by a processor"] == FILTERED
    assert event["extra"]["by a late one"] == SECRET
    assert event["extra"]["by before_send"] == SECRET


def test_the_sdks_own_scrubber_has_the_last_word(sentry: Sentry) -> None:
    scrubber = pytest.importorskip("sentry_sdk.scrubber", reason="SDK 3 has none")

    sentry.init(event_scrubber=scrubber.EventScrubber(denylist=["colour"], recursive=True))

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        sentry_sdk.set_extra("colour", "red")
        raise ValueError("nope")

    event = event_of(sentry, app, headers=[(b"x-api-key", SECRET.encode())])
    assert event["extra"]["colour"] == FILTERED
    assert event["request"]["headers"]["x-api-key"] == FILTERED
