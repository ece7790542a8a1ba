"""Exceptions whose own code raises, exits, lies or never ends: the event is made, and nothing else leaves."""

from __future__ import annotations

import ast
import contextlib
import tracemalloc
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.scope import global_event_processors as processors

from sentry_asgi import SentryMiddleware

from .support import CORE, Scope, Sentry, call, exception_values, http_scope, respond, run

READ = (
    *("__cause__", "__context__", "__suppress_context__", "__traceback__", "__notes__"),
    *("__class__", "__dict__", "args", "exceptions", "errno", "message", "detail"),
)


def broken(name: str, error: type[BaseException], kind: type[BaseException] = Exception) -> Any:
    """A class of exceptions, one attribute of which raises when it is read."""

    def get(_: Any) -> Any:
        raise error

    return type("Broken", (kind,), {name: property(get)})


def raising(method: str, error: type[BaseException]) -> Any:
    """A class of exceptions, one method of which raises."""

    def called(*_: Any) -> Any:
        raise error

    return type("Broken", (Exception,), {method: called})


def falsy() -> Any:
    return type("Falsy", (Exception,), {"__len__": lambda _: 0})


CLASSES = {
    "falsy": falsy(),
    **{
        f"{name} raises {error.__name__}": broken(name, error)
        for name in READ
        for error in (RuntimeError, SystemExit)
    },
    **{
        f"{name} raises {error.__name__}": raising(name, error)
        for name in ("__str__", "__repr__", "__eq__", "__bool__", "__len__")
        for error in (RuntimeError, SystemExit)
    },
    "odd names": type("Odd", (Exception,), {"__module__": ["no", "name"]}),
}


@pytest.mark.parametrize("way", ["raised", "answered", "chained", "in a group"])
@pytest.mark.parametrize("name", CLASSES)
def test_an_exception_of_whatever_class_makes_its_event(
    sentry: Sentry,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    way: str,
) -> None:
    # Those of integrations that other tests have enabled ask such an exception for its class; then SDK 3 sends nothing.
    own = [one for one in processors if not one.__module__.startswith("sentry_sdk.integrations")]
    monkeypatch.setattr(sentry_sdk.scope, "global_event_processors", own)
    exception = CLASSES[name]("nope")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if way == "chained":
            raise ValueError("outer") from exception
        if way == "in a group":
            raise ExceptionGroup("several", [exception, ValueError("other")])
        try:
            raise exception
        except Exception:
            if way == "raised":
                raise
            await respond(send, status=500)

    seen: list[BaseException] = []
    try:
        # Not by asyncio, in which a task that fails with one of these never ends.
        with contextlib.suppress(StopIteration):
            call(SentryMiddleware(app), http_scope()).send(None)
    except Exception as error:
        seen.append(error)
    assert len(seen) == (way != "answered")
    if way == "raised":
        assert seen[0] is exception
    (event,) = sentry.events
    assert type(exception).__qualname__ in [kind for kind, _ in exception_values(event)]
    assert [one for one in caplog.records if one.name == "sentry_sdk.errors.asgi"] == []


def deep_group(kind: Any, leaf: BaseException) -> Any:
    """A group that holds another twice, and so on: 2 ** 40 leaves for who visits each."""
    for _ in range(40):
        leaf = kind("both", [leaf, leaf])
    return leaf


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_framework_around_is_looked_for_whatever_reading_the_status_raises(
    sentry: Sentry, error: type[BaseException]
) -> None:
    exception = broken("status_code", error)("nope")

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise exception

    with pytest.raises(type(exception)):
        call(SentryMiddleware(app), http_scope()).send(None)
    assert exception_values(sentry.event) == [("Broken", "nope")]


@pytest.mark.parametrize("kind", [ExceptionGroup, BaseExceptionGroup])
def test_groups_that_hold_others_twice_are_looked_at_once(sentry: Sentry, kind: Any) -> None:
    leaf: Any = ValueError("leaf") if kind is ExceptionGroup else KeyboardInterrupt()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise deep_group(kind, leaf)

    with pytest.raises(
        BaseExceptionGroup
    ):  # not by asyncio, whose tasks show all of it on CPython 3.11
        call(SentryMiddleware(app), http_scope()).send(None)
    assert len(sentry.events) == (1 if kind is ExceptionGroup else 0)


class Counted(Exception):
    """Counts how often it is asked for its text."""

    def __init__(self, text: str = "counted") -> None:
        super().__init__()
        self.text, self.asked = text, 0

    def __str__(self) -> str:
        self.asked += 1
        return self.text


def test_a_failure_is_asked_for_its_text_once(sentry: Sentry) -> None:
    exception = Counted()

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise exception

    with pytest.raises(Counted):
        run(SentryMiddleware(app))
    assert sentry.events
    assert exception.asked == 1


def test_a_long_text_is_not_copied(sentry: Sentry) -> None:
    size = 20_000_000
    exception = Counted("x" * size)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        raise exception

    asgi = SentryMiddleware(app)
    tracemalloc.start()
    try:
        with pytest.raises(Counted):
            run(asgi)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size
    ((_, told),) = exception_values(sentry.events[0])
    assert len(told) < 10_000


def test_what_an_exception_stores_is_read_in_one_module() -> None:
    names = {"__traceback__", "__context__", "__cause__", "__suppress_context__", "exceptions"}
    for path in CORE:
        found = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and node.attr in names
        }
        allowed = {"exceptions"} if path.name == "traceback.py" else set[str]()
        if path.name == "unwinding.py":  # of its own error
            allowed.add("__traceback__")
        assert found <= allowed, path
