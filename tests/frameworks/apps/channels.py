from __future__ import annotations

from typing import Any

from ..failing import fail
from . import django

ROUTES = {"websocket": "/websocket"}
# The HTTP part of it is Django's.
WITHOUT = {"raise", "sync", "mounted", "startup", "background", "stream", "handled", "left"}


def make(startup_fails: bool) -> Any:
    inner = django.make(startup_fails)
    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.routing import ProtocolTypeRouter, URLRouter
    from django.urls import path

    class Consumer(AsyncWebsocketConsumer):
        async def connect(self) -> None:
            await self.accept()
            fail("websocket")

    return ProtocolTypeRouter(
        {"http": inner, "websocket": URLRouter([path("websocket", Consumer.as_asgi())])}
    )
