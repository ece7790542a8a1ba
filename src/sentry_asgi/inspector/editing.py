"""A request that is to be sent again, as it was or as a form has it. Pure.

The rules:

- The form shows what was kept of the request, which has no secrets.
- What is not edited is named in `unedited`: the process that serves the app puts in what it really was (`merging.py`).
- A header is a line, `name: value`. Those that are of a connection or of a body's length are made anew.
- A browser ends lines of a form with CRLF: an edited body ends them as the kept one did.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, quote

from .exchanges import MAX_BODY, Exchange
from .questions import QuestionError
from .values import FILTERED, Pairs

PATH, QUERY, BODY = ":path", ":query", ":body"
"""What is no header, in `unedited`: no header's name begins with a colon."""

_FIELDS = ("method", "target", "headers", "body")
_OWN = frozenset({"connection", "content-length", "transfer-encoding", "expect", "upgrade", "te"})
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_QUERY = "!$&'()*+,;=:@/?%~[]{}|^`\\\"<>"
_MAX_METHOD = 20


@dataclass(frozen=True, slots=True)
class Form:
    """What a person edits, as texts."""

    method: str
    target: str
    headers: str
    body: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request to send; `unedited` is None if none of it is edited. `whole`: of the body there is all."""

    method: str
    path: str
    query: str
    headers: Pairs
    body: str
    unedited: frozenset[str] | None = None
    whole: bool = True

    @property
    def target(self) -> str:
        """The path with its query, in letters that a request's line may have."""
        query = f"?{quote(self.query, safe=_QUERY)}" if self.query else ""
        return quote(self.path, safe="!$&'()*+,;=:@/%~[]") + query

    def wire_headers(self) -> Iterator[tuple[str, bytes]]:
        """Those to send: without what is filtered and not edited, which would be wrong."""
        for name, value in self.headers:
            known = self.unedited is None or name.lower() in self.unedited
            if not (known and FILTERED in value):
                yield name, _encoded(value)
        if self.body or self.method not in _BODILESS:
            yield "content-length", str(len(self.body.encode())).encode()

    def lacks(self) -> dict[str, str]:
        """What of it is not what it was, for people; by header, or `:path`, `:query`, `:body`."""
        parts = (
            *((name.lower(), value, f"the header {name}") for name, value in self.headers),
            (PATH, self.path, "parts of the path"),
            (QUERY, self.query, "parts of the query"),
            (BODY, self.body, "parts of the body"),
        )
        found = {key: words for key, text, words in parts if FILTERED in text}
        if not self.whole:
            found[BODY] = "the end of the body" if self.body else "the body"
        return found


def as_it_was(exchange: Exchange) -> Outgoing:
    """A request as it is kept."""
    body, size = exchange.request_body or "", exchange.request_body_size or 0
    return Outgoing(
        exchange.method,
        quote(exchange.path, safe="!$&'()*+,;=:@/~[]"),
        exchange.query,
        _sendable(exchange.request_headers),
        body,
        whole=bool(body) == bool(size) and size <= MAX_BODY,
    )


def form_of(was: Outgoing) -> Form:
    """A request for the form."""
    target = f"{was.path}?{was.query}" if was.query else was.path
    return Form(was.method, target, "\n".join(map(": ".join, was.headers)), was.body)


def read_form(data: bytes, shown: Form) -> Form | None:
    """What was posted; a field that is missing is as it was shown. None if there is no field.

    Raises QuestionError if it is no form.
    """
    try:
        given = dict(parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError as error:
        raise QuestionError("An edited request must be a form in UTF-8.") from error
    changes = {name: given[name] for name in _FIELDS if name in given}
    return replace(shown, **changes) if changes else None


def edited(was: Outgoing, form: Form) -> Outgoing:
    """A request as the form has it. Raises QuestionError where it cannot be sent."""
    method, target = form.method.strip(), form.target.strip()
    if not _TOKEN.fullmatch(method) or len(method) > _MAX_METHOD:
        raise QuestionError(f"The method must be a word such as POST, got {method[:40]!r}.")
    if not target.startswith("/"):
        raise QuestionError(f"The path must begin with a slash, got {target[:40]!r}.")
    path, _, query = target.partition("?")
    headers, body = _sendable(tuple(_headers(form.headers))), _body(form.body, was.body)
    parts = ((PATH, path, was.path), (QUERY, query, was.query), (BODY, body, was.body))
    same = {name for name, now, before in parts if now == before}
    same |= _same(headers, was.headers)
    return Outgoing(
        method, path, query, headers, body, frozenset(same), was.whole or BODY not in same
    )


def _headers(text: str) -> Iterator[tuple[str, str]]:
    for line in filter(None, map(str.strip, _lines(text).split("\n"))):
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise QuestionError(f"A header must be a line `name: value`, got {line[:40]!r}.")
        yield name, value.strip()


def _sendable(headers: Pairs) -> Pairs:
    return tuple((name, value.strip()) for name, value in headers if name.lower() not in _OWN)


def _same(now: Pairs, before: Pairs) -> set[str]:
    """The names of the headers whose values are all as they were."""
    then = _by_name(before)
    return {name for name, values in _by_name(now).items() if then.get(name) == values}


def _by_name(headers: Pairs) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    return found


def _body(text: str, before: str) -> str:
    body = _lines(text)
    if body == _lines(before):
        return before
    return body.replace("\n", "\r\n") if "\r\n" in before else body


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _encoded(value: str) -> bytes:
    try:
        return value.encode("latin-1")  # as it was read
    except UnicodeEncodeError:
        return value.encode()
