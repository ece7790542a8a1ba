"""Talking HTTP to what runs on this machine, and where it is found.

The rules:

- Past any proxy that the environment names: no proxy knows this machine's loopback names.
- A server that listens on every address is named by the loopback one: browsers go to no other.
"""

from __future__ import annotations

import urllib.request
from typing import Final

fetch: Final = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
"""As `urllib.request.urlopen`, but past all proxies."""


def url_of(host: str, port: int) -> str:
    """The URL, without a final slash, at which this machine reaches what listens there."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"
