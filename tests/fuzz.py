"""Parsers of what anybody can send, fed with what nobody should: no exception, no hang, no growth.

`python -m tests.fuzz 600` goes on for ten minutes; the tests do it for a moment.
"""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from sentry_asgi._connection import address as _address, body as _body, queue, request
from sentry_asgi._connection.exchange import Exchange
from sentry_asgi._connection.settings import Settings
from sentry_asgi._events import contexts, event, user
from sentry_asgi._redaction import names as _names, redact, secrets as _secrets

from .support import http_scope

HANG: Final = 2.0
"""Seconds that nothing may take."""

GROWTH: Final = 500_000
"""Bytes that may be left behind, however much was parsed: caches of names, and the like."""

TYPES: Final = [
    "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b",
    'multipart/form-data; boundary=""', "text/plain; charset=utf-16", "text/html; charset=rot13", ";", "",
]  # fmt: skip
WORDS: Final = [
    b'{"password":', b'"', b"\\", b"[", b"]", b"{", b"}", b",", b":", b"null", b"1e999", b"&", b";", b"=", b"%",
    b"%70", b"token", b"--b", b"\r\n", b'Content-Disposition: form-data; name="a"; filename="b"', b"\r\n\r\n",
    b"--b--", b"Basic ", b"Bearer ", b"for=", b'"[::1]:80"', b"://a:b@", b"?", b"'", b"\xff", b"\x00",
]  # fmt: skip
data = st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=60).map(b"".join)
many = st.builds(
    lambda piece, times: (piece * times)[:50_000], data, st.sampled_from([1, 1, 1, 1_000])
)
inputs = st.tuples(st.sampled_from(TYPES), many, st.booleans())


async def _nothing() -> Any:
    return None


def feed(content_type: str, sent: bytes, *, cut: bool) -> None:
    """Has every parser read the same input."""
    started = time.perf_counter()
    text = sent.decode("latin-1")
    allowed = _names.privacy({"send_default_pii": True})
    body = _body.understand(sent, content_type, cut=cut)
    _names.clean_data(body.data)
    secrets = set(_secrets.of_body(body.raw, body.data))
    names = (
        b"authorization",
        b"cookie",
        b"referer",
        b"x-forwarded-for",
        b"forwarded",
        b"x-request-start",
        b"host",
        sent[:20],
    )
    headers = [(name, sent[:4_000]) for name in names]
    scope = http_scope(text[:50], query_string=sent[:4_000], headers=headers, raw_path=sent[:50])
    exchange = Exchange(scope, _nothing, lambda message: _nothing(), Settings(trusted_hops=1))
    exchange.response_headers, exchange.first_byte_at = headers, 0.0
    secrets.update(_secrets.of_headers(request.header_pairs(exchange)))
    event.request_data(exchange, allowed)
    contexts.contexts(exchange, allowed)
    _address.client_address(exchange)
    queue.milliseconds(exchange)
    user.describe({"id": text})
    redact.redact({"extra": {"text": text, "repr": repr(sent)}, "message": text}, secrets)
    took = time.perf_counter() - started
    assert took < HANG, (took, content_type, sent)


def fuzz(examples: int) -> None:
    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(given=inputs)
    def run(given: tuple[str, bytes, bool]) -> None:
        content_type, sent, cut = given
        feed(content_type, sent, cut=cut)

    run()


def left_behind() -> int:
    """Bytes that the package holds and has allocated since tracing began."""
    gc.collect()
    ours = tracemalloc.Filter(inclusive=True, filename_pattern="*/sentry_asgi/*")
    traces = tracemalloc.take_snapshot().filter_traces([ours])
    return sum(trace.size for trace in traces.traces)


def main(seconds: float) -> None:
    until = time.monotonic() + seconds
    fuzz(500)  # fills the caches
    tracemalloc.start()
    rounds = 0
    while time.monotonic() < until:
        fuzz(500)
        rounds += 1
        left = left_behind()
        print(f"{rounds * 500} inputs, {left:,} bytes left behind", flush=True)  # noqa: T201
        assert left < GROWTH


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60)
