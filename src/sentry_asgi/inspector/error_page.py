"""The page of an error for a browser that asked for something else: as the inspector shows it, in one file.

In the app's process; blocking, to be called in a thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import suppress
from html import escape
from http.client import HTTPException

from .local import fetch
from .unseen import unseen

# An event is sent from a thread, and arrives a moment later.
_PATIENCE = 2.0
_LOOK = 0.05
_MAX_PAGE = 8 * 1024 * 1024
_QUALITY = re.compile(r";\s*q=([0-9.]+)")
_NOTE = (
    '<p style="padding:.6rem 1rem;margin:0"><a href="{}">In the inspector</a>, with its trace and its logs.'
    " <code>sentry-asgi dev</code> shows this page in place of a bare 500.</p>"
)


def prefers_html(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether a client wants a page above all, as a browser does where a person looks."""
    accepted = ",".join(value for name, value in headers if name == "accept")
    ranges = [one.strip() for one in accepted.split(",") if one.strip()]
    best = max(ranges, key=_quality, default="")
    return best.partition(";")[0].strip().lower() in {"text/html", "application/xhtml+xml"}


def _quality(media_range: str) -> float:
    found = _QUALITY.search(media_range)
    try:
        return float(found[1]) if found else 1.0
    except ValueError:
        return 0.0


def fetch_page(url: str, event_id: str) -> bytes | None:
    """The page of an event, when it has arrived; None if it does not in good time."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError, HTTPException), unseen():
            with fetch(f"{url}/events/{event_id}/export", timeout=_PATIENCE) as response:
                page: bytes = response.read(_MAX_PAGE)
            note = _NOTE.format(escape(f"{url}/events/{event_id}", quote=True)).encode()
            return page.replace(b"<body>", b"<body>" + note, 1)
        time.sleep(_LOOK)
    return None
