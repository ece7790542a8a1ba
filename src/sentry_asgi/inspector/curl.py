"""A request as a command line for curl. Pure.

The rules:

- Whoever pastes it into a shell runs curl and nothing else, whatever the request contained: every
  word is quoted, and what a terminal could take for a key is written as an escape.
- It sends one request: curl's own patterns (`{a,b}`, `[1-9]`) are off where a URL has such letters.
- It reads no file: uploads are left out, since their names came with the request.
- Nothing is made up: values that the SDK filtered stay filtered. What a command lacks, it tells.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from .values import FILTERED
from .views import RequestView

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# curl works these out itself, and a wrong one breaks the request.
OWN = frozenset({"content-length", "host", "connection", "transfer-encoding", "accept-encoding"})
_PATTERN = re.compile(r"[{}\[\]]")
_BODILESS = frozenset({"", "GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, and what of the request is missing in it, in words."""

    text: str
    lacks: tuple[str, ...]


def curl(request: RequestView) -> Command:
    """The command that sends such a request again."""
    return Command(" \\\n  ".join(["curl", *_words(request)]), tuple(_lacks(request)))


def _words(request: RequestView) -> Iterator[str]:
    address = address_of(request)
    if address.startswith("-"):  # it would be an option
        address = f"./{address}"
    if request.method.upper() not in {"", "GET"}:
        yield f"-X {_quoted(request.method)}"
    if _PATTERN.search(address):
        yield "--globoff"
    yield _quoted(address)
    multipart = kind_of(request) == "multipart/form-data" and request.fields is not None
    for name, value in request.headers:
        replaced = {"cookie": bool(request.cookies), "content-type": multipart}
        if name.lower() not in OWN and not replaced.get(name.lower()):
            yield f"-H {_quoted(f'{name}: {value}')}"
    if request.cookies:
        cookies = "; ".join(f"{name}={value}" for name, value in request.cookies)
        yield f"-H {_quoted(f'Cookie: {cookies}')}"
    yield from _body(request)


def _body(request: RequestView) -> Iterator[str]:
    kind, fields = kind_of(request), request.fields
    if kind == "multipart/form-data" and fields is not None:
        # Not -F, which would read a file where a value begins with @.
        yield from (f"--form-string {_quoted(f'{name}={value}')}" for name, value in fields)
    elif kind == "application/x-www-form-urlencoded" and fields is not None:
        yield f"--data-raw {_quoted(urlencode(fields))}"
    elif request.body:
        yield f"--data-raw {_quoted(request.body)}"


def _lacks(request: RequestView) -> Iterator[str]:
    for what, pairs in (
        ("parameter", request.query),
        ("header", request.headers),
        ("cookie", request.cookies),
    ):
        yield from (f"the {what} {name} is filtered" for name, value in pairs if FILTERED in value)
    if FILTERED in request.body:
        yield "parts of the body are filtered"
    yield from (f"the file {name} is not kept" for name in request.files)
    if not request.body and _had_body(request):
        yield "the body is not kept"


def _had_body(request: RequestView) -> bool:
    length = _header(request, "content-length")
    if length or _header(request, "transfer-encoding"):
        return length != "0"
    return request.method.upper() not in _BODILESS and bool(_header(request, "content-type"))


def kind_of(request: RequestView) -> str:
    """The type of its body, in lower case, without parameters."""
    return _header(request, "content-type").partition(";")[0].strip().lower()


def _header(request: RequestView, wanted: str) -> str:
    return next((value for name, value in request.headers if name.lower() == wanted), "")


def address_of(request: RequestView) -> str:
    """Its URL with its query."""
    query = "&".join(f"{name}={value}" if value else name for name, value in request.query)
    return request.url if not query or "?" in request.url else f"{request.url}?{query}"


def _quoted(text: str) -> str:
    if not _CONTROL.search(text):
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _CONTROL.sub(lambda found: _escape(found[0]), escaped) + "'"


def _escape(character: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character) or "".join(
        f"\\x{byte:02x}" for byte in character.encode()
    )
