"""Attachments of text, cleaned before they are sent with an event.

The rules:

- Text is what decodes as UTF-8 and holds no NUL. Up to so many bytes it is cleaned as a text of the event is. Longer
  ones, and what is no text, go as they are: whoever attaches a dump wants it whole.
- An attachment belongs to a scope and goes with many events, so a cleaned one takes its place in this event alone.
- One that cannot be read or cleaned is not sent.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Final

from sentry_asgi._redaction import redact
from sentry_asgi._redaction.rules import Rules
from sentry_asgi._redaction.secrets import Found
from sentry_asgi._sdk.diagnostics import log_failure

LONGEST: Final = 256_000
"""Bytes of an attachment that is cleaned."""


def clean_attachments(hint: Any, known: Found, rules: Rules) -> None:
    """Has an event's hint hold its attachments without their secrets."""
    given = hint.get("attachments") if isinstance(hint, dict) else None
    if given:
        cleaned = (_cleaned(one, known, rules) for one in given)
        hint["attachments"] = [one for one in cleaned if one is not None]


def _cleaned(attachment: Any, known: Found, rules: Rules) -> Any:
    """The attachment, or one in its place; None if it is not to be sent."""
    try:
        data = _bytes_of(attachment)
        if data is None:
            return attachment
        text = _text(data) if len(data) <= LONGEST else None
        cleaned = data if text is None else _cleaned_text(text, known, rules).encode()
        if cleaned == data and not callable(attachment.bytes):
            return attachment
        replaced = copy.copy(attachment)
        replaced.bytes = cleaned
        return replaced
    except Exception:
        log_failure("removing secrets from an attachment")
        return None


def _bytes_of(attachment: Any) -> bytes | None:
    """What is attached; None for a file that is too long to be looked at."""
    if attachment.bytes is None:
        path = Path(attachment.path)
        return path.read_bytes() if path.stat().st_size <= LONGEST else None
    given: Any = attachment.bytes
    if not callable(given):
        return bytes(given)
    made: Any = given()
    return bytes(made)


def _cleaned_text(text: str, known: Found, rules: Rules) -> str:
    event: dict[str, Any] = {"extra": {"attachment": text}}
    redact.redact(event, known, rules)
    cleaned: str = event["extra"]["attachment"]
    return cleaned


def _text(data: bytes) -> str | None:
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
