"""The table of docs/privacy.md is what is seen here; `UPDATE_DOCS=1` writes it anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sentry_asgi import SentryMiddleware
from sentry_asgi._redaction.names import FILTERED

from .support import SDK_VERSION, Message, Scope, Sentry, http_scope, run

PAGE = Path(__file__).parent.parent / "docs" / "privacy.md"
BEGIN, END = "<!-- the table: begin -->\n", "<!-- the table: end -->"

OPTIONS: dict[str, dict[str, Any]] = {
    "`send_default_pii=False`": {},
    "`send_default_pii=True`": {"send_default_pii": True},
    "`data_collection={}`": {"data_collection": {}},
    "all of `data_collection` off": {
        "data_collection": {
            "user_info": False,
            "cookies": {"mode": "off"},
            "http_headers": {"request": {"mode": "off"}},
            "url_query_params": {"mode": "off"},
            "http_bodies": [],
            "stack_frame_variables": False,
        }
    },
}

ROWS: dict[str, Callable[[Any], Any]] = {
    "URL and method": lambda event: event["request"]["url"] and event["request"]["method"],
    "query parameter `page`": lambda event: pair(event["request"]["query_string"], "page"),
    "query parameter `token`": lambda event: pair(event["request"]["query_string"], "token"),
    "header `accept`": lambda event: event["request"]["headers"]["accept"],
    "header `x-api-key`": lambda event: event["request"]["headers"]["x-api-key"],
    "header `x-forwarded-for`": lambda event: event["request"]["headers"]["x-forwarded-for"],
    "cookie `theme`": lambda event: event["request"]["cookies"]["theme"],
    "cookie `session`": lambda event: event["request"]["cookies"]["session"],
    "body field `name`": lambda event: event["request"]["data"]["name"],
    "body field `password`": lambda event: event["request"]["data"]["password"],
    "client address": lambda event: event["request"]["env"]["REMOTE_ADDR"],
    'user\'s id, from `scope["user"]`': lambda event: event["user"]["id"],
    "response status and size": lambda event: event["contexts"]["response"]["status_code"],
    "response header `content-type`": lambda event: event["contexts"]["response"]["headers"][
        "content-type"
    ],
    "response header `set-cookie`": lambda event: event["contexts"]["response"]["headers"][
        "set-cookie"
    ],
    "ASGI facts": lambda event: event["contexts"]["asgi"]["http_version"],
    "variable of a frame": lambda event: variables(event)["page"],
    "variable that holds a secret of the request": lambda event: variables(event)["seen"],
    "variables of this middleware's frame": lambda event: own_frame(event)["vars"],
}


def pair(query: str, name: str) -> str:
    return dict(part.split("=") for part in query.split("&"))[name]


def variables(event: Any) -> Any:
    return event["exception"]["values"][0]["stacktrace"]["frames"][-1]["vars"]


def own_frame(event: Any) -> Any:
    return event["exception"]["values"][0]["stacktrace"]["frames"][-2]


async def failing(scope: Scope, receive: Any, send: Any) -> None:
    page = 2
    scope["user"] = {"id": "7"}
    await receive()
    seen = [value for name, value in scope["headers"] if name == b"x-api-key"]
    headers = [(b"content-type", b"text/html"), (b"set-cookie", b"session=abc")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    raise ValueError(page, len(seen))


def word(event: Any, look: Callable[[Any], Any]) -> str:
    """What became of one thing."""
    try:
        value = look(event)
    except (KeyError, IndexError):
        return "not sent"
    return "replaced" if FILTERED in str(value) else "sent"


def table(sentry: Sentry) -> str:
    columns = []
    scope = http_scope(
        "/",
        method="POST",
        query_string=b"page=2&token=abcdefgh",
        headers=[
            (b"host", b"example.org"),
            (b"accept", b"text/html"),
            (b"x-api-key", b"key-of-alice"),
            (b"x-forwarded-for", b"198.51.100.1"),
            (b"cookie", b"theme=dark; session=abc"),
            (b"content-type", b"application/json"),
        ],
    )
    body: Message = {"type": "http.request", "body": b'{"name": "alice", "password": "x"}'}
    for options in OPTIONS.values():
        sentry.init(**options)
        sentry.transport.envelopes.clear()
        with pytest.raises(ValueError, match="2"):
            run(SentryMiddleware(failing), dict(scope), [body])
        columns.append([word(sentry.event, look) for look in ROWS.values()])
    lines = [("", *OPTIONS), ("---",) * (len(OPTIONS) + 1), *zip(ROWS, *columns, strict=True)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@pytest.mark.skipif(not (2, 75) <= SDK_VERSION < (3, 0), reason="the SDK that has all options")
def test_the_table_says_what_is_sent(sentry: Sentry) -> None:
    seen = table(sentry)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    written, end, after = rest.partition(END)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(before + BEGIN + seen + END + after)
        written = seen
    assert (written, end) == (seen, END)
