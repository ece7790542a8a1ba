"""What a page shows of a request, as an event or as `dev` tells it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import parse_qs

from .exchanges import Exchange
from .values import MAX_LINE, MAX_LIST, Pairs, as_dict, as_line, as_pairs, as_text, clean, indented


@dataclass(frozen=True, slots=True)
class RequestView:
    """The request that an event happened in; `query` and `headers` are pairs as shown.

    `fields` are those of a body that is an object of texts, a form's most likely; None if it is
    none. `files` are the names of its other fields.
    """

    method: str
    url: str
    query: Pairs
    headers: Pairs
    cookies: Pairs
    body: str
    fields: Pairs | None
    files: tuple[str, ...]


def request_of(value: Any, exchange: Exchange | None = None) -> RequestView | None:
    """The request of an event; what `dev` recorded of it says more."""
    request = as_dict(value)
    if exchange is not None:
        request = _recorded(request, exchange)
    if not request:
        return None
    data = request.get("data")
    held = list(_fields(data)) if isinstance(data, dict) else []
    return RequestView(
        method=as_line(request.get("method"), 20),
        url=as_line(request.get("url"), MAX_LINE * 4),
        query=_query(request.get("query_string")),
        headers=as_pairs(request.get("headers")),
        cookies=_cookies(request.get("cookies")),
        body=_body(data),
        fields=tuple((name, as_text(text)) for name, text in held if isinstance(text, str))
        if isinstance(data, dict)
        else None,
        files=tuple(name for name, text in held if not isinstance(text, str)),
    )


def _fields(data: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values of a form; a name that is there more than once has a list."""
    for name, value in islice(data.items(), MAX_LIST):
        values = value if isinstance(value, list) else [value]
        yield from ((as_line(name), one) for one in values[:MAX_LIST])


def _query(value: Any) -> Pairs:
    """The query as sent, one pair a row; nothing is decoded, so nothing can be mistaken."""
    return _split(value, "&") if isinstance(value, str) else as_pairs(value)


def _cookies(value: Any) -> Pairs:
    return _split(value, ";") if isinstance(value, str) else as_pairs(value)


def _split(text: str, separator: str) -> Pairs:
    parts = (part.strip().partition("=") for part in text.split(separator, MAX_LIST))
    return tuple((clean(name), clean(value)) for name, _, value in parts if name or value)


def _body(value: Any) -> str:
    """A text as it was; what the SDK had decoded, as JSON for people."""
    return indented(value) if isinstance(value, dict | list) else as_text(value)


def _recorded(request: dict[str, Any], exchange: Exchange) -> dict[str, Any]:
    """A request as an event would tell it, with what was recorded of it."""
    headers = dict(exchange.request_headers)
    host = next((value for name, value in headers.items() if name.lower() == "host"), "")
    told: dict[str, Any] = {
        "method": exchange.method,
        "url": f"http://{host}{exchange.path}" if host else exchange.path,
        "query_string": exchange.query,
        "headers": headers,
        "data": _data(exchange, headers),
    }
    return {**request, **{name: value for name, value in told.items() if value}}


def _data(exchange: Exchange, headers: dict[str, str]) -> Any:
    body = exchange.request_body or ""
    kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    if kind.startswith("application/x-www-form-urlencoded"):
        return {name: held[0] if len(held) == 1 else held for name, held in parse_qs(body).items()}
    try:
        return json.loads(body) if "json" in kind else body
    except (RecursionError, ValueError):
        return body
