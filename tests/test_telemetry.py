"""Logs, metrics and streamed spans leave without secrets, though no event processor sees them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._events import telemetry
from sentry_asgi.privacy import FILTERED, Secrets

from .support import SDK_VERSION, Scope, Sentry, http_scope, respond, run

pytestmark = pytest.mark.skipif(SDK_VERSION < (2, 75), reason="metrics and spans are younger")

KNOWN = "0a1B2c3D4e5F6g7H"
HEADERS = [(b"host", b"example.org"), (b"x-api-key", KNOWN.encode())]
OPTIONS: dict[str, Any] = {"traces_sample_rate": 1.0}
if SDK_VERSION < (3, 0):
    OPTIONS |= {"enable_logs": True, "trace_lifecycle": "stream"}

Say = Callable[..., None]


def log(said: str, **attributes: Any) -> None:
    sentry_sdk.logger.info("{said}", said=said, attributes=attributes)


def metric(said: str, **attributes: Any) -> None:
    sentry_sdk.metrics.count("orders", 1, attributes={"said": said, **attributes})


def span(said: str, **attributes: Any) -> None:
    with sentry_sdk.traces.start_span(said, attributes=attributes):
        pass


KINDS: dict[str, Say] = {"log": log, "trace_metric": metric, "span": span}
kinds = pytest.mark.parametrize("kind", KINDS)


def serve(kind: str, said: str, headers: Any = HEADERS, **options: Any) -> None:
    """Has a request say something in one of the ways."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        KINDS[kind](said, note=said, page=2)
        await respond(send)

    run(SentryMiddleware(app, **options), http_scope(headers=headers))


def sent(sentry: Sentry, kind: str) -> list[dict[str, Any]]:
    """Those of a kind, but for the request's own segment."""
    sentry_sdk.flush()
    items = [one for batch in sentry.transport.items(kind) for one in batch["items"]]
    return [one for one in items if not one.get("is_segment")]


@kinds
@pytest.mark.parametrize(
    "said", [f"it was {KNOWN}", "with password=hunter2of", "ghp_" + "a1B2c3D4e5F6" * 3]
)
def test_each_kind_is_cleaned_within_a_request(sentry: Sentry, kind: str, said: str) -> None:
    sentry.init(**OPTIONS)
    serve(kind, said)
    (item,) = sent(sentry, kind)
    assert item["attributes"]["page"]["value"] == 2
    assert FILTERED in item["attributes"]["note"]["value"]
    for secret in (KNOWN, "hunter2of", "ghp_"):
        assert secret not in json.dumps(item)


@kinds
def test_names_of_attributes_tell_secrets(sentry: Sentry, kind: str) -> None:
    sentry.init(**OPTIONS)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        KINDS[kind]("fine", **{"db.password": "x", "tokens": 512, "session": ""})
        await respond(send)

    run(SentryMiddleware(app))
    (item,) = sent(sentry, kind)
    told = {name: one["value"] for name, one in item["attributes"].items()}
    assert (told["db.password"], told["tokens"], told["session"]) == (FILTERED, 512, "")


@kinds
def test_outside_of_requests_what_is_secret_by_itself_goes(sentry: Sentry, kind: str) -> None:
    sentry.init(**OPTIONS)
    serve(kind, "fine", secrets=Secrets(names=["tenant_code"]))
    sentry_sdk.flush()
    sentry.transport.envelopes.clear()
    if kind == "span":  # a segment, for there is no other
        with sentry_sdk.traces.start_span("job", attributes={"note": "tenant_code=abcdef1"}):
            pass
        (item,) = sentry.segments
    else:
        KINDS[kind]("fine", note="tenant_code=abcdef1")
        (item,) = sent(sentry, kind)
    assert item["attributes"]["note"]["value"] == f"tenant_code={FILTERED}"


@kinds
def test_the_users_hook_is_given_what_is_cleaned_once(sentry: Sentry, kind: str) -> None:
    seen: list[Any] = []

    def hook(item: Any, hint: Any) -> Any:
        seen.append(json.dumps(item))
        if not item.get("is_segment"):
            item["attributes"]["page"] = 3
        return item

    name = f"before_send_{kind.removeprefix('trace_')}"
    sentry.init(**OPTIONS, **{name: hook})
    for _ in range(2):
        serve(kind, f"it was {KNOWN}")
    items = sent(sentry, kind)
    assert len(seen) == len(items) + (2 if kind == "span" else 0)
    assert not [one for one in seen if KNOWN in one]
    assert [one["attributes"]["page"]["value"] for one in items] == [3, 3]


@kinds
def test_a_hook_that_raises_sends_nothing_that_was_not_cleaned(sentry: Sentry, kind: str) -> None:
    def hook(item: Any, hint: Any) -> Any:
        raise RuntimeError("broken")

    sentry.init(**OPTIONS, **{f"before_send_{kind.removeprefix('trace_')}": hook})
    serve(kind, f"it was {KNOWN}")
    assert KNOWN not in json.dumps(sent(sentry, kind))
    assert len(sent(sentry, kind)) == (1 if kind == "span" else 0)


@kinds
def test_what_cannot_be_looked_at_goes_without_its_texts(
    sentry: Sentry, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(telemetry, "clean", broken)
    sentry.init(**OPTIONS)
    with caplog.at_level(logging.DEBUG):
        serve(kind, f"it was {KNOWN}")
    (item,) = sent(sentry, kind)
    assert KNOWN not in json.dumps(item)
    assert "removing secrets from a log, metric or span" in caplog.text


def test_a_span_in_which_nothing_is_found_is_sent_as_it_was(sentry: Sentry) -> None:
    for debug in (False, True):
        sentry.init(**OPTIONS, debug=debug)
        serve("span", "fine")
        (item,) = sent(sentry, "span")
        assert (item["name"], item["attributes"]["note"]["value"]) == ("fine", "fine")
        sentry.transport.envelopes.clear()


def test_what_the_application_puts_on_the_requests_own_segment_is_cleaned(sentry: Sentry) -> None:
    async def app(scope: Scope, receive: Any, send: Any) -> None:
        segment: Any = sentry_sdk.traces.get_current_span()
        segment.set_attribute("said", f"it was {KNOWN}")
        await respond(send)

    sentry.init(**OPTIONS)
    run(SentryMiddleware(app), http_scope(headers=HEADERS))
    (segment,) = sentry.segments
    assert segment["attributes"]["said"]["value"] == f"it was {FILTERED}"


def test_a_client_that_nobody_serves_keeps_its_hooks(sentry: Sentry) -> None:
    client = sentry.init(**OPTIONS)
    assert client.options["before_send_log"] is None
    assert telemetry.given_hook(client.options, "before_send_log") is None
    serve("log", "fine")
    assert client.options["before_send_log"] is not None
    assert telemetry.given_hook(client.options, "before_send_log") is None


def test_where_transactions_are_sent_no_hook_is_put_for_spans(sentry: Sentry) -> None:
    if SDK_VERSION >= (3, 0):
        pytest.skip("all spans are streamed")
    client = sentry.init(traces_sample_rate=1.0)
    serve("log", "fine")
    assert client.options.get("before_send_span") is None
