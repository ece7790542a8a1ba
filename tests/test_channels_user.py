"""Channels' middlewares put the user into a copy of the scope, which is nowhere but in the frames that work with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sentry_sdk
from channels.consumer import AsyncConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.middleware import BaseMiddleware
from channels.routing import URLRouter
from django.urls import path
from django.utils.functional import SimpleLazyObject

from sentry_asgi import SentryMiddleware
from sentry_asgi._events import user as _user

from .apps import django  # whose settings Channels needs
from .support import SDK_VERSION, Scope, Sentry, call, http_scope, pii, websocket_scope


class Person:
    def __init__(self) -> None:
        self.pk, self.username, self.email = 7, "alice", "alice@example.org"


class Authenticated(BaseMiddleware):  # type: ignore[misc]
    """As Channels' documentation writes one of one's own, and as its `AuthMiddleware` is."""

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> Any:
        scope = dict(scope)
        lazy = SimpleLazyObject(Person)
        assert lazy.username == "alice"
        scope["user"] = lazy
        return await super().__call__(scope, receive, send)


class Chat(AsyncWebsocketConsumer):  # type: ignore[misc]
    async def connect(self) -> None:
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        sentry_sdk.capture_message(f"told of {text_data}")
        raise ValueError("nope")


class Plain(AsyncConsumer):  # type: ignore[misc]
    async def http_request(self, message: Any) -> None:
        raise ValueError("nope")


def serve(sentry: Sentry, consumer: Any, scope: Scope, *messages: Any) -> list[Any]:
    django()
    routes = URLRouter([path("", consumer.as_asgi())])
    with pytest.raises(ValueError, match="nope"):
        asyncio.run(call(SentryMiddleware(Authenticated(routes)), scope, messages))
    return [event.get("user") for event in sentry.events]


ALICE = {"id": "7", "username": "alice", "email": "alice@example.org"}


def who(user: Any) -> Any:
    return {name: value for name, value in (user or {}).items() if name != "ip_address"}


def test_who_asked_is_told_of_what_a_consumer_reports_and_raises(sentry: Sentry) -> None:
    sentry.init(**pii(on=True))
    users = serve(
        sentry,
        Chat,
        websocket_scope("/"),
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "hello"},
    )
    assert [who(user) for user in users] == [ALICE, ALICE]


def test_who_asked_is_told_of_an_http_consumer_too(sentry: Sentry) -> None:
    sentry.init(**pii(on=True))
    assert [who(user) for user in serve(sentry, Plain, http_scope("/"))] == [ALICE]


@pytest.mark.skipif(SDK_VERSION >= (3, 0), reason="there user_info is on")
def test_nobody_is_looked_for_unasked(sentry: Sentry) -> None:
    assert [who(user) for user in serve(sentry, Plain, http_scope("/"))] == [{}]


def test_another_requests_scope_tells_nothing_of_this_one() -> None:
    original = http_scope()
    scope: Scope = {**original, "user": Person(), "sentry_asgi": id(original)}
    assert scope["user"]
    assert _user.of_copied_scope(object(), None) is None
    assert _user.of_copied_scope(original, None) is scope["user"]
    assert _user.of_copied_scope(object(), "no exc_info") is None


def test_a_frame_that_cannot_be_looked_at_tells_nothing() -> None:
    class Odd(dict[str, Any]):
        def get(self, *args: Any) -> Any:
            raise RuntimeError("odd")

    class Hostile:
        def values(self) -> Any:
            raise RuntimeError("odd")

    scope = Odd(user=1)
    assert scope
    assert _user.of_copied_scope(Hostile(), (1, 2, 3)) is None
