"""Whatever fails while an event is cleaned: no event leaves with a secret in it."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

import sentry_asgi
from sentry_asgi import SentryMiddleware
from sentry_asgi._connection import address, naming, request, url
from sentry_asgi._connection.request import Connection
from sentry_asgi._events import contexts, event as _event
from sentry_asgi._redaction import names, redact, rules, secrets, texts
from sentry_asgi._sdk import (
    clients as sdk_clients,
    events as sdk_events,
    scopes as sdk_scopes,
    spans as sdk_spans,
)

from .support import Scope, Sentry, http_scope, run

FOLDER = str(Path(sentry_asgi.__file__).parent)
SECRET = "".join(map(chr, range(98, 118)))  # no literal: source lines are no data
SCOPE = http_scope(
    "/reset/1",
    headers=[(b"x-api-key", SECRET.encode()), (b"cookie", b"theme=dark; sid=" + SECRET.encode())],
    query_string=f"next=%2Fin%3Ftoken%3D{SECRET}".encode(),
)


def functions() -> Iterator[tuple[Any, str]]:
    """Every function and method that cleaning an event may call, as its owner and its name."""
    for module in (
        _event,
        redact,
        texts,
        secrets,
        rules,
        names,
        request,
        address,
        naming,
        url,
        contexts,
        sdk_clients,
        sdk_events,
        sdk_scopes,
        sdk_spans,
    ):
        owners = [module, *(one for one in vars(module).values() if is_class_of(one, module))]
        for owner in owners:
            for name, one in vars(owner).items():
                if inspect.isfunction(one) and one.__module__ == module.__name__:
                    yield owner, name


def is_class_of(one: Any, module: Any) -> bool:
    return inspect.isclass(one) and one.__module__ == module.__name__


# They are the guards themselves, or run outside of any event.
NOT_CALLED = {"describe", "protect", "<lambda>"}
FUNCTIONS = [
    pytest.param(owner, name, id=f"{owner.__name__}.{name}")
    for owner, name in functions()
    if name not in NOT_CALLED
]


def broken(*args: Any, **more: Any) -> Any:
    raise RuntimeError("broken")


@pytest.mark.parametrize(("owner", "name"), FUNCTIONS)
def test_a_function_that_always_fails_lets_no_secret_out(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.set_tag("key", SECRET)
        sentry_sdk.set_context("mine", {"key": SECRET})
        sentry_sdk.add_breadcrumb(message=f"see {SECRET}")
        raise ValueError(f"no: {SECRET}")

    sentry.init(attach_stacktrace=True)
    wrapped = SentryMiddleware(app)
    function = getattr(owner, name)
    monkeypatch.setattr(owner, name, broken)
    for module in [one for key, one in sys.modules.items() if key.startswith("sentry_asgi.")]:
        if vars(module).get(name) is function:
            monkeypatch.setattr(module, name, broken)
    with pytest.raises(ValueError, match="no: "):
        run(wrapped, dict(SCOPE))
    for one in sentry.events:
        assert SECRET not in json.dumps(one)
    sentry.transport.envelopes.clear()  # what is left need not be what Sentry takes whole


def event() -> dict[str, Any]:
    frame = {"function": "f", "module": "app", "vars": {"a": f"'{SECRET}'"}}
    raised = {"type": "ValueError", "value": SECRET, "stacktrace": {"frames": [frame]}}
    return {
        "exception": {"values": [raised]},
        "extra": {"a": [SECRET]},
        "tags": {"a": SECRET},
        "message": f"{SECRET} token={SECRET}",
        "transaction": f"/reset/{SECRET}",
        "contexts": {"trace": {"trace_id": "a" * 32, "data": {"url": SECRET}}, "mine": {}},
    }


class FailingCall:
    """Raises in the call of that number, of those that the package makes or receives."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, frame: Any, kind: str, argument: Any) -> None:
        if kind in {"call", "c_call"} and frame.f_code.co_filename.startswith(FOLDER):
            if frame.f_code.co_name == "protect":
                return  # the guard itself
            self.left -= 1
            if self.left == 0:
                raise RuntimeError("broken")


# Before 3.12 a generator that is closed is a call too; what is raised there goes to nobody.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_call_that_fails_lets_a_secret_out() -> None:
    connection = Connection(SCOPE)
    number, failed = 0, 0
    while True:
        number += 1
        failing, given, cleaned = FailingCall(number), event(), None
        sys.setprofile(failing)
        try:
            cleaned = _event.protect(connection, given, {})
        finally:
            sys.setprofile(None)
        assert SECRET not in json.dumps(cleaned, default=sdk_events.plain), number
        if failing.left > 0:
            break
        failed += 1
    assert failed > 300
