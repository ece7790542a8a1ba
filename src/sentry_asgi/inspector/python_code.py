"""A request as Python: a call of httpx, and a test for pytest. Pure.

The rules:

- Whatever the request contained, what is pasted does this and nothing else: each text is written as `repr` writes it,
  names are made of ASCII letters and digits, and a comment is one line.
- What the client works out itself (the host, the body's length) is left out. No redirect is followed.
- The test fails as the request did, while the app does: it asks that nothing is reported, and that the answer is none
  of 400 and above; or, where that was so, the same status. It passes once the app is mended.
- Nothing is made up: what was filtered stays filtered. What the code lacks, it tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from .curl import OWN, Command, address_of, curl, kind_of
from .editing import as_it_was
from .exchanges import Exchange
from .values import Pairs
from .views import RequestView

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_MAX_NAME = 60
_FAILED = 400


@dataclass(frozen=True, slots=True)
class Served:
    """The app that `dev` serves: `target` is `module:attribute`, which is called if it is a `factory`.

    `wrapped`: SentryMiddleware is in it; `lifespan`: it has a start-up that is to be run.
    """

    target: str
    factory: bool = False
    wrapped: bool = False
    lifespan: bool = False


UNKNOWN = Served("main:app", wrapped=True)


def as_httpx(request: RequestView, exchange: Exchange | None = None) -> Command:
    """The call of httpx that sends such a request again."""
    call = "\n".join(_call("httpx.request", request, exchange))
    text = f"import httpx\n\nresponse = {call}\nprint(response.status_code, response.text)\n"
    return Command(text, curl(request).lacks)


def as_pytest(
    request: RequestView, exchange: Exchange | None, served: Served | None, failed: Iterable[str]
) -> Command:
    """The test that fails as such a request did; `failed` says in words what went wrong in it."""
    lacks = (*curl(request).lacks, *_changed_headers(request))
    status = exchange.status if exchange else None
    imports, app = _app(served or UNKNOWN)
    client = f"TestClient({app}, raise_server_exceptions=False, follow_redirects=False)"
    lifespan = served is not None and served.lifespan
    call = _call("client.request", request, exchange)
    lines = [
        *(_comment(f"It was: {said}") for said in failed),
        *(_comment(f"Not quite the same request: {lack}.") for lack in lacks),
        *(
            [_comment("Where is the app? It is not served by `sentry-asgi dev` now.")]
            * (not served)
        ),
        f"with {client} as client:" if lifespan else f"client = {client}",
        *_indented(["response = " + call[0], *call[1:]], 1 if lifespan else 0),
        "assert sentry_events == []",
        _asked_status(status),
    ]
    head = "\n".join(["from starlette.testclient import TestClient", "", *imports])
    test = "\n".join(_indented(lines))
    return Command(f"{head}\n\n\ndef {_test_name(request)}(sentry_events):\n{test}\n", lacks)


def _asked_status(status: int | None) -> str:
    if status is None:
        return f"assert response.status_code < {_FAILED}"
    if status >= _FAILED:
        return f"assert response.status_code < {_FAILED}  # it was {status}"
    return f"assert response.status_code == {status}"


def _app(served: Served) -> tuple[list[str], str]:
    """The imports of the app, and the expression that is it."""
    module, _, attribute = served.target.partition(":")
    if not (_NAME.fullmatch(module) and _NAME.fullmatch(attribute)):
        module, _, attribute = UNKNOWN.target.partition(":")
    imports = [f"from {module} import {attribute.partition('.')[0]}"]
    app = f"{attribute}()" if served.factory else attribute
    if served.wrapped:
        return imports, app
    return ["from sentry_asgi import SentryMiddleware", *imports], f"SentryMiddleware({app})"


def _test_name(request: RequestView) -> str:
    path = re.sub(r"^\w*://[^/]*", "", request.url)
    words = re.findall(r"[a-z0-9]+", f"{request.method} {path}".lower())
    return "_".join(["test", *words])[:_MAX_NAME].rstrip("_")


# The call.


def _call(function: str, request: RequestView, exchange: Exchange | None) -> list[str]:
    address = _address(request, exchange)
    arguments = [literal(request.method or "GET"), literal(address)]
    headers = list(_headers(request, multipart=_is_multipart(request, exchange)))
    if headers:
        arguments.append("headers=" + _pairs(headers))
    arguments += _content(request, exchange)
    lines = [line for one in arguments for line in f"{one},".split("\n")]
    return [f"{function}(", *_indented(lines), ")"]


def _address(request: RequestView, exchange: Exchange | None) -> str:
    host = re.match(r"https?://[^/?#]*", request.url)
    return host[0] + as_it_was(exchange).target if exchange and host else address_of(request)


def _headers(request: RequestView, *, multipart: bool) -> Iterator[tuple[str, str]]:
    dropped = {
        *OWN,
        *({"content-type"} if multipart else ()),
        *({"cookie"} if request.cookies else ()),
    }
    for name, value in request.headers:
        if name.lower() not in dropped:
            yield name, value
    if request.cookies:
        yield "cookie", "; ".join(f"{name}={value}" for name, value in request.cookies)


def _changed_headers(request: RequestView) -> Iterator[str]:
    """Starlette's TestClient writes headers in UTF-8: what they were in is not kept, if it was another."""
    for name, value in _headers(request, multipart=False):
        try:
            value.encode("latin-1", "ignore").decode()
        except UnicodeDecodeError:
            yield f"the header {name} was not in UTF-8"


def _pairs(headers: Pairs | list[tuple[str, str]]) -> str:
    """A dict, or pairs where a name comes twice."""
    rows = [(_header(name), _header(value)) for name, value in headers]
    if len({name.lower() for name, _ in headers}) < len(headers):
        return "\n".join(["[", *_indented([f"({one}, {value})," for one, value in rows]), "]"])
    return "\n".join(["{", *_indented([f"{one}: {value}," for one, value in rows]), "}"])


def _content(request: RequestView, exchange: Exchange | None) -> Iterator[str]:
    if _is_multipart(request, exchange):
        fields = [
            f"({literal(name)}, (None, {literal(value)}))," for name, value in request.fields or ()
        ]
        yield "\n".join(["files=[", *_indented(fields), "]"])
        return
    body = request.body
    if exchange is not None:
        body = exchange.request_body or ""
    elif kind_of(request) == "application/x-www-form-urlencoded" and request.fields is not None:
        body = urlencode(request.fields)
    if body:
        yield f"content={_lines_of(body)}"


def _is_multipart(request: RequestView, exchange: Exchange | None) -> bool:
    known = exchange is None and request.fields is not None
    return known and kind_of(request) == "multipart/form-data"


# Literals.


def literal(text: str) -> str:
    """A text as Python has it; in double quotes where that needs nothing else."""
    plain = repr(text)
    return plain if '"' in plain or "'" in plain[1:-1] else f'"{plain[1:-1]}"'


def _header(text: str) -> str:
    """A header's name or value: httpx takes no text beyond ASCII, but bytes."""
    if text.isascii():
        return literal(text)
    try:
        return repr(text.encode("latin-1"))
    except UnicodeEncodeError:
        return repr(text.encode("utf-8", "replace"))


def _lines_of(text: str) -> str:
    """A text of many lines as so many literals."""
    lines = text.split("\n")
    pieces = [f"{line}\n" for line in lines[:-1]] + [lines[-1]] * bool(lines[-1])
    if len(pieces) == 1:
        return literal(text)
    return "\n".join(["(", *_indented(map(literal, pieces)), ")"])


def _comment(text: str) -> str:
    return "# " + "".join(one if one.isprintable() else " " for one in text)


def _indented(lines: Iterable[str], deep: int = 1) -> list[str]:
    return [f"{'    ' * deep}{line}" for one in lines for line in one.split("\n")]
