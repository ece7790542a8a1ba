"""What a client can make the removal of secrets cost, and what it can make it take away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware, _privacy
from sentry_asgi._texts import clean_text

from .support import Scope, Sentry, http_scope, run


def growth(work: Callable[[int], Any], small: int, factor: int) -> float:
    """How many times the processor time of a small input a larger one takes; the least of three tries."""

    def took(size: int) -> float:
        times = []
        for _ in range(3):
            start = time.process_time()
            work(size)
            times.append(time.process_time() - start)
        return max(min(times), 1e-4)

    return took(small * factor) / took(small)


SHAPES: dict[str, Callable[[int], str]] = {
    "refused values": lambda size: "jwt\n  [type=a, input_value=" * (size // 25),
    "refused names": lambda size: "token\n  " + "[type=a, input_value=" * (size // 21),
    "assignments": lambda size: "token=abcd " * (size // 11),
    "percents": lambda size: "token=" + "%25" * (size // 3),
    "brackets": lambda size: "token=" + "[(" * (size // 2),
    "options": lambda size: "--password " * (size // 11),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_texts_are_cleaned_in_time_that_grows_with_them(shape: str) -> None:
    assert growth(lambda size: clean_text(SHAPES[shape](size)), 4_000, 8) < 8 * 4


def test_names_are_judged_in_time_that_grows_with_them() -> None:
    def judge(size: int) -> None:
        _privacy._canonical("\u0315\u0300" * (size // 2))

    assert growth(judge, 2_000, 16) < 16 * 4


def test_an_event_is_looked_through_up_to_a_bound(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        for number in range(50):
            sentry_sdk.add_breadcrumb(message=f"{number} " + "token=abcd " * 1_000)
        sentry_sdk.capture_message("hello")

    run(SentryMiddleware(app))
    messages = [one["message"] for one in sentry.event["breadcrumbs"]["values"]]
    assert len(messages) == 50
    assert messages[0].startswith("0 token=[Filtered]")
    assert messages[-1] == "[Filtered]"
    assert not any("abcd" in one for one in messages)


@pytest.mark.parametrize(
    "query", ["token=ConnectionRefusedError", "token=sentry_sdk", "token=builtins", "token=asgi"]
)
def test_a_client_does_not_blank_what_code_calls_things(sentry: Sentry, query: str) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise ConnectionRefusedError("nope")

    with pytest.raises(ConnectionRefusedError):
        run(SentryMiddleware(app), http_scope(query_string=query.encode()))
    (value,) = sentry.event["exception"]["values"]
    assert value["type"] == "ConnectionRefusedError"
    assert value["mechanism"]["type"] == "asgi"


def test_a_client_does_not_blank_the_name_of_a_route(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        scope["endpoint"] = app
        raise ValueError("nope")

    query = f"token={__name__}".encode()
    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app), http_scope(query_string=query))
    assert sentry.event["transaction"].startswith(f"{__name__}.")


def test_what_the_application_gives_as_a_whole_holds_no_cut_piece(sentry: Sentry) -> None:
    headers = [
        (b"authorization", b"Basic Z2FicmllbGE6aGVsbG8xMjM="),
        (b"x-api-key", b"acmecorp_live_0123456789"),
    ]

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.set_user({"username": "gabriela"})
        sentry_sdk.set_tag("tenant", "acmecorp")
        sentry_sdk.set_tag("key", "acmecorp_live_0123456789")
        raise ValueError("nope")

    with pytest.raises(ValueError, match="nope"):
        run(SentryMiddleware(app), http_scope(headers=headers))
    assert sentry.event["user"]["username"] == "gabriela"
    assert sentry.event["tags"] == {"tenant": "acmecorp", "key": "[Filtered]"}


def test_a_long_name_is_judged_by_its_ends() -> None:
    assert _privacy.is_secret("x" * 1_000 + "_password")
