"""What may leave the process, and the one place where secrets are removed.

The rules:

- The SDK's options say what is wanted: `data_collection` where the user gave it (SDK 2.75 and 3), else
  `send_default_pii`.
- Secrets go whatever the options say: the value of any header or query parameter whose name speaks of a
  password, token, key, session or the like. Names are compared without regard to case, and `-` and `_` are the same.
- Without PII, so do the headers that name the client: forwarded addresses and users.
- Values are replaced by `[Filtered]`; names and structure stay. Query strings are cut on their raw
  bytes and put together again untouched: percent-encoding can neither hide a name nor split a value.
- URLs inside headers (Referer, Origin, Location) lose secret parameters and credentials too.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus

FILTERED: Final = "[Filtered]"

# Names after `-`, `.` and space have become `_`. The first part matches anywhere in a name, the second
# whole words of it. "auth" is one, but for "author" and "authority", of which "authorization" is none.
_SECRET: Final = re.compile(
    r"passw|passphrase|pwd|secret|token|api_?key|access_?key|private_?key|credential|session"
    r"|csrf|xsrf|cookie|bearer|jwt|saml|signature|auth(?!or(?!i[sz]))"
    r"|(?:^|_)(?:key|pass|sid|sess|sso|otp|pin|cvv|cvc|ssn|sig|code_verifier)(?:_|$)"
    r"|sessid|sess_id"
)
_PERSONAL: Final = re.compile(r"forwarded|(?:^|_)ip(?:_|$)|remote_|(?:^|_)user(?:_|$)|^via$")
_URL_HEADERS: Final = frozenset(
    {"referer", "origin", "location", "content-location", "x-original-url"}
)


@functools.lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Whether a header, cookie, parameter or key of that name holds a secret."""
    return _SECRET.search(_canonical(name)) is not None


@functools.lru_cache(maxsize=1024)
def _is_personal(name: str) -> bool:
    return _PERSONAL.search(_canonical(name)) is not None


def _canonical(name: str) -> str:
    return re.sub(r"[-. \[\]]", "_", name.lower())


@dataclass(frozen=True, slots=True)
class Privacy:
    """What the options of one client allow: `user_info` is about addresses and users."""

    user_info: bool
    keep_header: Callable[[str], bool] | None
    keep_parameter: Callable[[str], bool] | None

    def headers(self, headers: Mapping[str, str]) -> dict[str, str] | None:
        """Headers (lower-case names) as they may be sent; None if none may."""
        if self.keep_header is None:
            return None
        return {name: self._header(name, value) for name, value in headers.items()}

    def _header(self, name: str, value: str) -> str:
        assert self.keep_header is not None  # headers() asked
        if name == "cookie" and self.user_info and self.keep_header(name):
            return clean_cookies(value)
        if is_secret(name) or not self.keep_header(name):
            return FILTERED
        return self.url(value) if name in _URL_HEADERS else value

    def query_string(self, query: str) -> str | None:
        """A raw query string as it may be sent; None if it may not."""
        keep = self.keep_parameter
        if keep is None:
            return None
        return _clean_query(query, keep)

    def url(self, url: str) -> str:
        """A URL or reference without credentials and without what `query_string` removes."""
        address, question, query = url.partition("?")
        address = re.sub(r"//[^/@]*@", f"//{FILTERED}@", address, count=1)
        if not question:
            return address
        query, mark, fragment = query.partition("#")
        cleaned = self.query_string(query)
        return address if cleaned is None else f"{address}?{cleaned}{mark}{fragment}"


def _clean_query(query: str, keep: Callable[[str], bool]) -> str:
    # ";" separates for some parsers, so a secret may hide after it; it is put back as it was.
    return "".join(
        piece if piece in {"&", ";"} else _clean_parameter(piece, keep)
        for piece in re.split(r"([&;])", query)
    )


def _clean_parameter(piece: str, keep: Callable[[str], bool]) -> str:
    name, equals, _ = piece.partition("=")
    plain = unquote_plus(name)
    if equals and (is_secret(plain) or not keep(plain)):
        return f"{name}={FILTERED}"
    return piece


def clean_cookies(header: str) -> str:
    """A Cookie header with the values of secret cookies replaced."""
    pairs = (pair.partition("=") for pair in header.split(";"))
    return ";".join(
        f"{name}={FILTERED}" if equals and is_secret(name.strip()) else f"{name}{equals}{value}"
        for name, equals, value in pairs
    )


def privacy(options: Mapping[str, Any]) -> Privacy:
    """What a client's options allow, in any of their forms."""
    collection = options.get("data_collection")
    if isinstance(collection, Mapping) and collection.get("provided_by_user", True):
        headers = collection.get("http_headers") or {}
        return Privacy(
            user_info=bool(collection.get("user_info", False)),
            keep_header=_keeper(headers.get("request")),
            keep_parameter=_keeper(collection.get("url_query_params")),
        )
    if options.get("send_default_pii"):
        return Privacy(user_info=True, keep_header=_anything, keep_parameter=_anything)
    return Privacy(user_info=False, keep_header=_impersonal, keep_parameter=_anything)


def _anything(name: str) -> bool:  # noqa: ARG001
    return True


def _impersonal(name: str) -> bool:
    return name != "cookie" and not _is_personal(name)


def _keeper(behaviour: Any) -> Callable[[str], bool] | None:
    """What a `data_collection` behaviour (`mode`, `terms`) keeps; None for the mode `off`."""
    if not isinstance(behaviour, Mapping):
        return _impersonal
    mode = behaviour.get("mode", "denylist")
    terms = [str(term).lower() for term in behaviour.get("terms") or () if term]
    if mode == "off":
        return None
    if mode == "allowlist":
        return lambda name: any(term in name.lower() for term in terms)
    return lambda name: not any(term in name.lower() for term in terms)
