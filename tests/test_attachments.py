"""Attachments leave without the request's secrets, or not at all."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from sentry_asgi import SentryMiddleware
from sentry_asgi._events.attachments import LONGEST
from sentry_asgi._redaction import redact
from sentry_asgi.privacy import FILTERED

from .support import Scope, Sentry, http_scope, run

KNOWN = "0a1B2c3D4e5F6g7H"


def sent(sentry: Sentry, **attachment: Any) -> list[bytes]:
    """What is attached to the event of a request with a known secret."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        sentry_sdk.get_isolation_scope().add_attachment(**attachment)
        raise LookupError("no such thing")

    with pytest.raises(LookupError):
        run(SentryMiddleware(app), http_scope(headers=[(b"x-api-key", KNOWN.encode())]))
    (envelope,) = [one for one in sentry.transport.envelopes if one.get_event()]
    return [item.get_bytes() for item in envelope.items if item.type == "attachment"]


TEXT = f"bob said {KNOWN}\npassword=hunter2of\n".encode()
CLEAN = f"bob said {FILTERED}\npassword={FILTERED}\n".encode()


@pytest.mark.parametrize("given", [TEXT, lambda: TEXT], ids=["bytes", "function"])
def test_an_attached_text_is_cleaned(sentry: Sentry, given: Any) -> None:
    assert sent(sentry, bytes=given, filename="log.txt") == [CLEAN]


def test_an_attached_file_is_cleaned_and_left_alone(sentry: Sentry, tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(TEXT)
    assert sent(sentry, path=str(path)) == [CLEAN]
    assert path.read_bytes() == TEXT


def test_what_the_scope_has_is_left_alone(sentry: Sentry) -> None:
    sent(sentry, bytes=TEXT, filename="log.txt")
    sentry.transport.envelopes.clear()
    assert sent(sentry, bytes=b"fine", filename="a.txt") == [b"fine"]


@pytest.mark.parametrize(
    "given",
    [b"\x00" + TEXT, b"\xff" + TEXT, TEXT.ljust(LONGEST + 1)],
    ids=["nul", "latin-1", "long"],
)
def test_what_is_no_text_and_what_is_long_goes_as_it_is(
    sentry: Sentry, tmp_path: Path, given: bytes
) -> None:
    path = tmp_path / "dump"
    path.write_bytes(given)
    for attachment in ({"bytes": given}, {"bytes": lambda: given}, {"path": str(path)}):
        sentry.transport.envelopes.clear()
        assert sent(sentry, filename="dump", **attachment) == [given]


def test_a_file_that_is_gone_is_not_sent_and_its_event_is(
    sentry: Sentry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert sent(sentry, path=str(tmp_path / "gone")) == []
    assert "removing secrets from an attachment" in caplog.text


def test_nothing_is_attached_to_an_event_that_cannot_be_cleaned(
    sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(redact, "redact", broken)
    assert sent(sentry, bytes=TEXT, filename="log.txt") == []
    assert sentry.event["exception"]["values"][0]["value"] == FILTERED
