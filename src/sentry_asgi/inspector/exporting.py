"""An error as a page of one file, to send to somebody: its style within, its secrets removed.

The removal is the package's own (`sentry_asgi.privacy.scrub`), again: what reports here may not have done it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from .store import Listed
from .views import summarize

_STYLE = Path(__file__).parent / "static" / "inspector.css"


def scrubbed(listed: Listed, event: dict[str, Any]) -> tuple[Listed, dict[str, Any]]:
    """The event without secrets, and what a list says of that."""
    from sentry_asgi.privacy import scrub  # noqa: PLC0415  # it brings the SDK

    clean = scrub(event)
    return replace(listed, summary=summarize(clean)), clean


@cache
def style() -> str:
    """The inspector's style sheet."""
    return _STYLE.read_text()
