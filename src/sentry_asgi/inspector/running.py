"""The inspector as a program: its file, its port, and what to do where the port is taken.

The rules:

- It listens on loopback unless told otherwise, opens nothing else, and calls nobody.
- What it keeps is gone when it ends, unless a file is named for it.
- A file is of one inspector at a time: what two of them write in turn, neither would show live.
- A port that is taken is told with what to do about it, which depends on who has it.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from .app import NAME, create_app
from .database import StoreError
from .guard import LOOPBACK
from .local import fetch, url_of
from .server import HOST, ServerError, serve_in_thread
from .store import Store

PORT = 8969
"""Where SDKs look for Spotlight, and so for this, without being told."""


class PortTakenError(ServerError):
    """Somebody else listens there; `inspector` tells whether it is an inspector like this."""

    def __init__(self, message: str, *, inspector: bool) -> None:
        """Take what to say, and who it is."""
        super().__init__(message)
        self.inspector = inspector


@contextmanager
def inspecting(
    *, host: str = HOST, port: int = PORT, file: Path | None = None, editor: str = "vscode"
) -> Iterator[str]:
    """An inspector while the block runs; the value is its URL, without a final slash.

    `file` is where it keeps what comes, also afterwards; without, it keeps it while the block runs.
    Raises PortTakenError, or ServerError where the host or the file cannot be used.
    """
    if file and is_inspector(url_of(host, port)):  # which may be the one that has the file
        raise _shared(url_of(host, port))
    with tempfile.TemporaryDirectory(prefix="sentry-asgi-") as folder, _claimed(file):
        try:
            store = Store(file or Path(folder) / "events.sqlite3")
        except (StoreError, OSError) as error:
            raise ServerError(str(error)) from error
        app = create_app(store, hosts=names(host), editor=editor)
        with closing(store):
            try:
                serving = serve_in_thread(app, host=host, port=port, ending=app.close)
                url = serving.__enter__()
            except OSError as error:
                raise _refused(error, host, port) from error
            try:
                yield url
            finally:
                serving.__exit__(None, None, None)


@contextmanager
def _claimed(file: Path | None) -> Iterator[None]:
    """Nobody else's inspector uses the file meanwhile. Raises ServerError if somebody's does."""
    if file is None:
        yield
        return
    # SQLite locks as each system does, and whoever is killed holds nothing any more.
    path = Path(f"{file}.lock")
    try:
        lock = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        with closing(lock):
            lock.execute("BEGIN EXCLUSIVE")
            try:
                yield
            finally:
                with suppress(OSError):
                    path.unlink()
    except sqlite3.OperationalError as error:
        raise ServerError(f"{file} cannot be used: {_why(error)}.") from error


def _why(error: sqlite3.OperationalError) -> str:
    locked = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
    return "another inspector keeps what it gets there" if locked else str(error)


def names(host: str) -> frozenset[str]:
    """The names that an inspector on this host answers for."""
    own = {host, socket.gethostname().lower()} if not is_loopback(host) else set()
    return LOOPBACK | own


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def exposed(host: str) -> str:
    """What to know before others can reach the inspector."""
    return (
        f"The inspector listens on {host}: whoever reaches this machine can read what it shows,"
        f" secrets in it included, and can clear it. Without that option it listens on {HOST} only."
    )


def _refused(error: OSError, host: str, port: int) -> ServerError:
    if error.errno != errno.EADDRINUSE:
        return ServerError(f"Cannot listen on {host}:{port}: {error.strerror or error}.")
    url = url_of(host, port)
    if is_inspector(url):
        return _shared(url)
    return PortTakenError(
        f"Port {port} is taken by another program. End that, or take another port, such as"
        f" {port + 1}.",
        inspector=False,
    )


def _shared(url: str) -> PortTakenError:
    return PortTakenError(f"An inspector runs at {url} already; it can be used.", inspector=True)


def is_inspector(url: str) -> bool:
    """Whether an inspector answers at this URL, within a second or so."""
    try:
        with fetch(f"{url}/health", timeout=1) as response:
            health = json.loads(response.read(10_000))
    except (OSError, ValueError):
        return False
    return isinstance(health, dict) and health.get("name") == NAME
