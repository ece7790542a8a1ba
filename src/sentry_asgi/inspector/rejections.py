"""Why a request was refused, as the response's body says it: `body.customer_id: not an integer`. Pure.

Known are the shapes of FastAPI and Django Ninja (`{"detail": [{"loc", "msg", "input"}]}`), Litestar
(`{"detail", "extra": [{"key", "source", "message"}]}`), Django REST framework
(`{"customer_id": ["…"]}`), RFC 9457 (`{"detail", "errors": [{"pointer", "detail"}]}`), and a bare
`{"detail": "…"}`. Any other body tells nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Any

from .exchanges import Exchange
from .values import as_dict, as_dicts, as_line, as_list

MAX_REASONS = 20
_REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})


@dataclass(frozen=True, slots=True)
class Reason:
    """`where` in the request (`body.customer_id`), what is wrong there, and what was given, if told."""

    where: str
    message: str
    given: str = ""

    def __str__(self) -> str:
        """For people, in one line."""
        given = f", got {self.given}" if self.given else ""
        said = f"{self.message}{given}"
        return f"{self.where}: {said}" if self.where else said


def reasons(exchange: Exchange | None) -> tuple[Reason, ...]:
    """Why this request was answered with 400 or 422; nothing if it was not, or if it is not told."""
    if exchange is None or exchange.status not in _REFUSED or not exchange.response_body:
        return ()
    try:
        body = as_dict(json.loads(exchange.response_body))
    except (RecursionError, ValueError):  # none, or only the beginning of it
        return ()
    return tuple(islice(_reasons(body), MAX_REASONS))


def _reasons(body: dict[str, Any]) -> Iterator[Reason]:
    found = False
    for one in _listed(body):
        found = True
        yield one
    detail = body.get("detail") or body.get("message") or body.get("error")
    if not found and isinstance(detail, str):
        yield Reason("", as_line(detail))
    elif not found:
        yield from _by_field(body)


def _listed(body: dict[str, Any]) -> Iterator[Reason]:
    for one in (*as_dicts(body.get("detail")), *as_dicts(body.get("errors"))):
        where = ".".join(as_line(part, 60) for part in as_list(one.get("loc")))
        where = where or as_line(one.get("pointer")).strip("#/").replace("/", ".")
        message = as_line(one.get("msg") or one.get("detail") or one.get("message"))
        if message:
            yield Reason(where, message, _given(one))
    for one in as_dicts(body.get("extra")):
        where = ".".join(filter(None, (as_line(one.get("source"), 60), as_line(one.get("key")))))
        if message := as_line(one.get("message")):
            yield Reason(where, message)


def _given(one: dict[str, Any]) -> str:
    # What is missing was not given: pydantic then shows all that stands around it.
    if "input" not in one or one.get("type") == "missing":
        return ""
    given = one["input"]
    quoted = isinstance(given, str | bool) or given is None
    return as_line(json.dumps(given, ensure_ascii=False) if quoted else given, 80)


def _by_field(body: dict[str, Any]) -> Iterator[Reason]:
    for name, messages in body.items():
        texts = [text for text in as_list(messages) if isinstance(text, str)]
        if texts and len(texts) == len(messages):
            yield Reason(as_line(name, 120), as_line(" ".join(texts)))
