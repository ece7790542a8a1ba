"""Who asks, and whom: the client's address, and the host that it named. As of `request`, no function raises."""

from __future__ import annotations

import re
from typing import Final

from .request import Connection, headers

# RFC 3986, 3.2.2: a reg-name, IPv4 address or bracketed IP literal, and maybe a port.
_HOST: Final = re.compile(r"(\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]+)(?::([0-9]*))?")

# RFC 7239, 4: the node of a `for` parameter, which may be quoted.
_FOR: Final = re.compile(r"(?:^|;)\s*for\s*=\s*(\"[^\"]*\"|[^;\s]+)", re.IGNORECASE)
_BRACKETED: Final = re.compile(r"\A\[([^\]]*)\]")


def client_address(connection: Connection) -> str | None:
    """The client's address: the peer's as the server knows it, or what trusted proxies say of it.

    Each proxy adds the address of its own peer at the right of `X-Forwarded-For` or `Forwarded` (RFC 7239). What
    stands further left than as many entries as there are trusted proxies was written by anybody.
    """
    hops = connection.settings.trusted_hops
    if hops:
        entry = _forwarded(connection, hops)
        if entry is not None:
            return _address(entry)
    client = connection.scope.get("client")
    if isinstance(client, (list, tuple)) and client and isinstance(client[0], str):
        return client[0] or None
    return None


def _forwarded(connection: Connection, hops: int) -> str | None:
    """Return what the outermost trusted proxy says of its peer; None where there are fewer entries."""
    values = headers(connection)
    given = values.get("x-forwarded-for")
    chain = values.get("forwarded", "") if given is None else given
    entries = chain.rsplit(",", hops)[-hops:] if chain else []
    if len(entries) < hops:
        return None
    if given is not None:
        return entries[0]
    match = _FOR.search(entries[0])
    return match[1] if match else ""


def _address(text: str) -> str | None:
    """The IP address in an entry, without port and brackets; None if it holds none."""
    import ipaddress  # noqa: PLC0415  # for those behind proxies

    text = text.strip().strip('"')
    match = _BRACKETED.match(text)
    bare = match[1] if match else text.partition(":")[0] if text.count(":") == 1 else text
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return None


_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def is_localhost(connection: Connection) -> bool:
    """Whether the request comes from this machine, or asks for it by name: what Relay's filter goes by.

    https://docs.sentry.io/concepts/data-management/filtering/ ("Filter out events coming from localhost")
    """
    forwarded = headers(connection).get("x-forwarded-host", "")
    hosts = {host_and_port(connection)[0], forwarded.partition(":")[0]}
    return any(
        host.strip("[]") in _LOOPBACK or host.endswith(".localhost")
        for host in {*hosts, client_address(connection) or ""}
    )


def address(connection: Connection) -> tuple[str | None, int | None]:
    """Host and port that the client asked for, as in the URL; None where it named none."""
    host, port = host_and_port(connection)
    return host or None, int(port) if port.isdecimal() and port.isascii() else None


def host_and_port(connection: Connection) -> tuple[str, str]:
    return _named_host(connection) or _server_host(connection) or ("", "")


def _named_host(connection: Connection) -> tuple[str, str] | None:
    value = headers(connection).get("host", "")
    # Whoever puts credentials before the host, or what no host may contain, is not followed.
    match = _HOST.fullmatch(value.rpartition("@")[2].strip())
    return (match[1], match[2] or "") if match else None


def _server_host(connection: Connection) -> tuple[str, str] | None:
    server = connection.scope.get("server")
    if not isinstance(server, (list, tuple)) or len(server) != 2 or server[1] is None:  # noqa: PLR2004
        return None  # absent, or the path of a unix socket
    host, port = server
    if not isinstance(host, str) or not host:
        return None
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return host, str(port)
