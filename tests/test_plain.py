"""Transactions that write themselves: what comes out is what the SDK's serialiser makes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
import sentry_sdk
from hypothesis import given, strategies as st
from sentry_sdk import serializer
from sentry_sdk._types import AnnotatedValue

from sentry_asgi import SentryMiddleware
from sentry_asgi._sdk import events as sdk_events, serializer as _serializer
from sentry_asgi._sdk.serializer import PlainEvent, plain

from .support import SDK_VERSION, Sentry, http_scope, respond, run

pytestmark = pytest.mark.skipif(SDK_VERSION >= (3, 0), reason="transactions")


def both(event: dict[str, Any], **options: Any) -> tuple[Any, Any]:
    """As it writes itself, and as the SDK writes it."""
    return serializer.serialize(PlainEvent(event), **options), serializer.serialize(
        dict(event), **options
    )


class Odd:
    def __repr__(self) -> str:
        return "<odd>"


class Text(str):
    __slots__ = ()


CYCLE: dict[str, Any] = {}
CYCLE["again"] = CYCLE
DEEP: Any = "bottom"
for _ in range(30):
    DEEP = {"deeper": DEEP}

EVENTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "plain": {"contexts": {"trace": {"data": {"a": 1, "b": 2.5, "c": None, "d": True}}}},
    "lists and tuples": {"sdk": {"integrations": ["a", "b"], "pair": (1, ("x", [None]))}},
    "times": {
        "timestamp": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        "start_timestamp": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=-7))),
    },
    "no number": {"contexts": {"x": {"nan": float("nan"), "inf": float("inf")}}},
    "long text": {"contexts": {"x": {"long": "x" * 5000}}},
    "wide text": {"contexts": {"x": {"long": "\N{SNOWMAN}" * 400}}},
    "long description": {"spans": [{"description": "SELECT " * 1000, "data": {"rows": 3}}]},
    "bytes": {"tags": {"b": b"\xff"}},
    "objects": {"contexts": {"x": {"odd": Odd(), "set": {1}, "text": Text("t"), "date": date(2026, 1, 1)}}},
    "a name that is empty": {"contexts": {"x": {"": AnnotatedValue("v", {"rem": [["!", "s"]]})}}},
    "other keys": {"tags": {1: "one", None: "none"}},
    "many": {"contexts": {"x": {str(n): n for n in range(100)}}},
    "cycle": {"contexts": {"x": CYCLE}},
    "deep": {"contexts": {"x": DEEP}},
    "extra, small": {"extra": {"argv": ["a", "b"], "n": {"m": 1}}},
    "extra, wide": {"extra": {str(n): n for n in range(40)}},
    "extra, wide within": {"extra": {"x": list(range(40))}},
    "extra, deep": {"extra": DEEP},
    "body": {"request": {"method": "POST", "data": {str(n): n for n in range(40)}}},
    "breadcrumbs": {"breadcrumbs": {"values": [{"data": {str(n): n for n in range(40)}}]}},
    "unknown": {"whatever": {"x": list(range(40))}},
    "marked": {
        "request": {"headers": {"cookie": sdk_events.annotated("[Filtered]", {"rem": [["!config", "s"]]})}},
        "spans": sdk_events.annotated([{"op": "x"}], {"len": 7}),
        "user": sdk_events.annotated({"id": sdk_events.annotated("", {"len": 2})}, {"rem": [["!config", "x"]]}),
        "tags": {"list": [sdk_events.annotated("x", {"len": 1}), 2]},
        "extra": {"long": sdk_events.annotated("x", {"len": 1}), "many": list(range(40))},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("longest", [None, 40, 3000])
def test_an_event_writes_itself_as_the_sdk_would(sentry: Sentry, name: str, longest: Any) -> None:
    options = {} if longest is None else {"max_value_length": longest}
    sentry.init(**options)
    ours, theirs = both(EVENTS[name], **options)
    assert ours == theirs or repr(ours) == repr(theirs)


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=400)
    | st.datetimes(
        min_value=datetime(1900, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC) | st.just(timezone(timedelta(hours=3)))
    )
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=14)
        | st.dictionaries(st.text(max_size=9), inner, max_size=14)
        | st.builds(
            lambda value: sdk_events.annotated(value, {"len": 3}), inner
        )
    ),
    max_leaves=30,
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(
            ["contexts", "spans", "extra", "request", "tags", "user", "breadcrumbs", "x"]
        ),
        st.dictionaries(st.sampled_from(["data", "headers", "values", "a"]), values, max_size=3)
        | values,
    )
)
def test_whatever_an_event_holds(event: dict[str, Any]) -> None:
    ours, theirs = both(event)
    assert ours == theirs


@pytest.fixture
def processor() -> Iterator[None]:
    before = list(serializer.global_repr_processors)
    serializer.add_global_repr_processor(
        lambda value, hint: "seen" if value == "x" else NotImplemented
    )
    yield
    serializer.global_repr_processors[:] = before


def test_those_who_render_values_are_asked(processor: None) -> None:
    event = {
        "spans": [{"data": {"v": "x"}}],
        "extra": {"v": "x"},
        "tags": {"v": "x"},
        "contexts": {},
    }
    ours, theirs = both(event)
    assert ours == theirs
    assert ours["extra"] == {"v": "seen"}


def test_an_event_that_cannot_be_walked_through_is_the_sdks_to_write(
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd = sdk_events.annotated(1, {})
    odd.metadata = 7
    event = {"contexts": {"x": odd}, "tags": {"a": "b"}}
    ours, _ = both(event)
    assert ours["tags"] == {"a": "b"}
    assert "writing an event failed" in caplog.text


def test_only_transactions_and_errors_write_themselves() -> None:
    assert type(plain({"type": "transaction"}, {})) is PlainEvent
    assert type(plain({"message": "x"}, {})) is PlainEvent
    assert type(plain({"type": "check_in"}, {})) is dict


@pytest.mark.parametrize("broken", ["differs", "raises"])
def test_where_the_sdk_writes_something_else_events_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def serialize(event: Any, **options: Any) -> Any:
        if broken == "raises":
            raise RuntimeError(broken)
        return type(event)

    monkeypatch.setattr(serializer, "serialize", serialize)
    _serializer._works.cache_clear()
    try:
        assert type(plain({"type": "transaction"}, {})) is dict
    finally:
        _serializer._works.cache_clear()


def test_a_transaction_is_written_here_whole(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes through the SDK's serialiser costs ten times as much: of an ordinary request's, nothing does."""
    sentry.init(traces_sample_rate=1.0, release="1", auto_session_tracking=True)
    plain({"type": "transaction"}, {})
    parts: list[Any] = []
    serialize = serializer.serialize

    def watched(event: Any, **options: Any) -> Any:
        parts.append(event)
        return serialize(event, **options)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with sentry_sdk.start_span(op="db", name="SELECT 1") as span:
            span.set_data("rows", 1)
        await respond(send)

    monkeypatch.setattr(serializer, "serialize", watched)
    monkeypatch.setattr(serializer, "global_repr_processors", [])  # integrations of other tests
    monkeypatch.setattr(sys, "argv", ["uvicorn", "app:app"])
    headers = [(b"host", b"example.org"), (b"cookie", b"sid=1"), (b"user-agent", b"curl")]
    run(SentryMiddleware(app), http_scope(query_string=b"a=b", headers=headers))
    (transaction,) = sentry.transport.items("transaction")
    assert parts == []
    assert transaction["spans"][0]["data"]["rows"] == 1
    assert transaction["request"]["query_string"] == "a=b"
