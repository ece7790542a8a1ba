"""Release health: each request is a session, counted as the SDK counts."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.threading import ThreadingIntegration

from sentry_asgi import SentryMiddleware
from sentry_asgi._scopes import isolation, sessions
from sentry_asgi._scopes.public import PublicScopes
from sentry_asgi._sdk import clients as sdk_clients

from .support import Scope, Sentry, http_scope, respond, run


async def app(scope: Scope, receive: Any, send: Any) -> None:
    if scope["path"] == "/crash":
        raise ValueError("nope")
    if scope["path"] == "/error":
        try:
            raise ValueError("caught")
        except ValueError as exception:
            sentry_sdk.capture_exception(exception)
    if scope["path"] == "/tag":
        sentry_sdk.set_tag("a", "b")
    if scope["path"] == "/message":
        sentry_sdk.capture_message("hello")
    await respond(send)


def serve(wrapped: Any, path: str) -> None:
    try:
        run(wrapped, http_scope(path))
    except ValueError:
        assert path == "/crash"


def counts(sentry: Sentry) -> dict[str, int]:
    """All sessions that were sent, added up by outcome."""
    sentry_sdk.flush()
    total: dict[str, int] = {}
    for batch in sentry.transport.items("sessions"):
        assert batch["attrs"] == {"release": "app@1", "environment": "production"}
        for bucket in batch["aggregates"]:
            for outcome in bucket.keys() - {"started"}:
                total[outcome] = total.get(outcome, 0) + bucket[outcome]
    return total


PATHS = ["/", "/crash", "/error", "/", "/tag", "/message", "/crash", "/"]
EXPECTED = {"exited": 5, "crashed": 2, "errored": 1}


def test_requests_are_counted_by_how_they_ended(sentry: Sentry) -> None:
    sentry.init(release="app@1", auto_session_tracking=True)
    wrapped = SentryMiddleware(app)
    for path in PATHS:
        serve(wrapped, path)
    assert counts(sentry) == EXPECTED


def test_the_sdks_own_middleware_counts_the_same(sentry: Sentry) -> None:
    from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

    sentry.init(release="app@1", auto_session_tracking=True)
    wrapped = SentryAsgiMiddleware(app)
    for path in PATHS:
        serve(wrapped, path)
    assert counts(sentry) == EXPECTED


def test_the_thread_that_sends_the_counts_holds_no_request(sentry: Sentry) -> None:
    """The SDK's threading integration has a thread keep the scopes in which it is started."""
    sentry.init(release="app@1", auto_session_tracking=True, integrations=[ThreadingIntegration()])
    held = FailureState()
    seen = weakref.ref(held)
    run(SentryMiddleware(app), {**http_scope("/tag"), "state": {"held": held}})
    del held
    gc.collect()
    assert counts(sentry) == {"exited": 1}
    assert seen() is None


class FailureState:
    pass


def test_counting_goes_on_after_a_flush_and_in_another_minute(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentry.init(release="app@1", auto_session_tracking=True)
    wrapped = SentryMiddleware(app)
    serve(wrapped, "/")
    sentry_sdk.flush()
    for path in PATHS:
        serve(wrapped, path)
    monkeypatch.setattr(sessions, "now", lambda: -1000.0)  # the next bucket is over at once
    for path in PATHS:
        serve(wrapped, path)
    assert counts(sentry) == {"exited": 11, "crashed": 4, "errored": 2}


def test_the_public_scopes_count_the_same(sentry: Sentry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "_chosen", lambda: PublicScopes)
    sentry.init(release="app@1", auto_session_tracking=True)
    wrapped = SentryMiddleware(app)
    for path in PATHS:
        serve(wrapped, path)
    assert counts(sentry) == EXPECTED


def test_where_the_buckets_are_not_to_be_found_each_goes_through_the_sdk(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk_clients, "session_aggregate", lambda client: (None, None))
    sentry.init(release="app@1", auto_session_tracking=True)
    wrapped = SentryMiddleware(app)
    for path in PATHS:
        serve(wrapped, path)
    assert counts(sentry) == EXPECTED


def test_the_sdk_still_has_the_buckets(sentry: Sentry) -> None:
    """If this fails, a new SDK has moved them: sessions are still counted, by the slower way."""
    client = sentry.init(release="app@1", auto_session_tracking=True)
    assert sdk_clients.session_aggregate(client) == (None, None)
    serve(SentryMiddleware(app), "/")
    aggregates, bucket = sdk_clients.session_aggregate(client)
    assert aggregates is client.session_flusher.pending_aggregates
    assert bucket["exited"] == 1
    client.session_flusher.pending_aggregates = {"odd": None}
    assert sdk_clients.session_aggregate(client) == (None, None)
    client.session_flusher.pending_aggregates = {}


@pytest.mark.parametrize(
    "options", [{"release": None, "auto_session_tracking": True}, {"release": "app@1"}]
)
def test_without_a_release_or_auto_session_tracking_none_are_counted(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    client = sentry.init(**options)
    client.options["release"] = options["release"]  # the SDK takes the commit of where it runs
    for path in PATHS:
        serve(SentryMiddleware(app), path)
    assert counts(sentry) == {}


def test_excluded_paths_count_for_nothing(sentry: Sentry) -> None:
    sentry.init(release="app@1", auto_session_tracking=True)
    wrapped = SentryMiddleware(app, exclude=["/tag", "/crash"])
    for path in PATHS:
        serve(wrapped, path)
    assert counts(sentry) == {"exited": 4, "errored": 1}


def test_the_processs_own_session_does_not_end_with_a_request(sentry: Sentry) -> None:
    sentry.init(release="app@1", auto_session_tracking=True)
    process = sentry_sdk.get_isolation_scope()
    process.start_session(session_mode="application")
    serve(SentryMiddleware(app), "/tag")
    assert process._session is not None
    assert process._session.status == "ok"
    assert counts(sentry) == {"exited": 1}


def test_a_counter_that_fails_is_no_problem_of_the_apps(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = sentry.init(release="app@1", auto_session_tracking=True)
    wrapped = SentryMiddleware(app)

    def broken(session: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(client, "capture_session", broken)
    serve(wrapped, "/")
    assert "counting a session failed" in caplog.text
