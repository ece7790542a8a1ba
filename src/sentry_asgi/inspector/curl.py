"""A request as a command line for curl. Pure.

The rules:

- Whoever pastes it into a shell runs curl and nothing else, whatever the request contained: every
  word is quoted, and what a terminal could take for a key is written as an escape.
- Nothing is made up: values that the SDK filtered stay filtered.
"""

from __future__ import annotations

import re
import shlex

from .views import RequestView

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# curl works these out itself, and a wrong one breaks the request.
_OWN = frozenset({"content-length", "host", "connection", "transfer-encoding", "accept-encoding"})


def curl(request: RequestView) -> str:
    """The command that sends such a request again."""
    parts = ["curl"]
    if request.method.upper() not in {"", "GET"}:
        parts.append(f"-X {_quoted(request.method)}")
    parts.append(_quoted(_address(request)))
    parts += [
        f"-H {_quoted(f'{name}: {value}')}"
        for name, value in request.headers
        if name.lower() not in _OWN and not (name.lower() == "cookie" and request.cookies)
    ]
    if request.cookies:
        cookies = "; ".join(f"{name}={value}" for name, value in request.cookies)
        parts.append(f"-H {_quoted(f'Cookie: {cookies}')}")
    if request.body:
        parts.append(f"--data-raw {_quoted(request.body)}")
    return " \\\n  ".join(parts)


def _address(request: RequestView) -> str:
    query = "&".join(f"{name}={value}" if value else name for name, value in request.query)
    address = request.url if not query or "?" in request.url else f"{request.url}?{query}"
    # What begins with a dash would be an option.
    return f"./{address}" if address.startswith("-") else address


def _quoted(text: str) -> str:
    if not _CONTROL.search(text):
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _CONTROL.sub(lambda found: _escape(found[0]), escaped) + "'"


def _escape(character: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character) or "".join(
        f"\\x{byte:02x}" for byte in character.encode()
    )
