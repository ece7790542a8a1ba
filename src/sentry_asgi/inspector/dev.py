"""`sentry-asgi dev`: an app under uvicorn with reload, and an inspector, in one command.

The rules:

- uvicorn's own command line reads uvicorn's options, so all of them work and are checked by it.
- The inspector lives in this process, the app in others: a reload loses nothing, and the SDK in the
  app never reports the inspector's own requests to the inspector, which would go on forever.
- An inspector that is there already is used, so several apps share one and their traces meet.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from uvicorn.main import main as uvicorn_command

from .local import url_of
from .plan import plan
from .running import PortTakenError, exposed, inspecting, is_loopback
from .server import MAX_PORT, ServerError

# How long an app may take to end, in seconds; and of that, its open connections: uvicorn by itself waits for a
# browser's event stream for ever, before a reload, too.
_PATIENCE = 30
_GRACE = 2
_CREATE = f"{__package__}.dev_app:create"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the inspector is to listen, and which editor its pages open."""

    host: str
    port: int
    editor: str


def run(target: str, arguments: Sequence[str], place: Place, *, reload: bool) -> int:
    """Serve the app `target` until interrupted; returns an exit status.

    `arguments` are uvicorn's. Raises click.UsageError where uvicorn does not know one, ServerError
    where a port is taken or cannot be had.
    """
    chosen = uvicorn_command.make_context("sentry-asgi dev", [*arguments, target]).params
    _check_port(chosen)
    if not is_loopback(chosen["host"]):
        _warn(f"The app listens on {chosen['host']}: other machines may reach it.")
    reload = reload and not chosen["workers"]
    given = [argument for argument in arguments if argument not in {"--factory", "--reload"}]
    if chosen["timeout_graceful_shutdown"] is None:
        given += ["--timeout-graceful-shutdown", str(_GRACE)]
    with _inspector(place) as url:
        os.environ.update(plan(target, factory=chosen["factory"], url=url))
        click.echo(f"Inspector at {click.style(url, underline=True)}", err=True)
        return _serve([*given, *(["--reload"] if reload else []), "--factory", _CREATE])


@contextmanager
def _inspector(place: Place) -> Iterator[str]:
    """An inspector's URL: of a new one, or of one that has that port already."""
    own = inspecting(host=place.host, port=place.port, editor=place.editor)
    try:
        url = own.__enter__()
    except PortTakenError as error:
        if not error.inspector:
            raise ServerError(f"{error} For the inspector that is --inspector-port.") from error
        click.echo(f"{error}", err=True)
        yield url_of(place.host, place.port)
        return
    if not is_loopback(place.host):
        _warn(exposed(place.host))
    try:
        yield url
    finally:
        own.__exit__(None, None, None)


def _serve(arguments: list[str]) -> int:
    with subprocess.Popen([sys.executable, "-m", "uvicorn", *arguments]) as process:  # noqa: S603
        try:
            return process.wait()
        except KeyboardInterrupt:
            # A terminal tells both; a second interrupt would make uvicorn drop its connections.
            process.terminate()
            return _ended(process)


def _ended(process: subprocess.Popen[bytes]) -> int:
    try:
        process.wait(_PATIENCE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
    return 0


def _check_port(chosen: dict[str, Any]) -> None:
    """Say what to do about a port that is taken, before anything is started."""
    if chosen["uds"] or chosen["fd"] is not None:
        return
    host, port = chosen["host"], chosen["port"]
    if not 0 <= port <= MAX_PORT:
        raise ServerError(f"{port} is no port: they go from 0 to {MAX_PORT}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServerError(
                f"Port {port} is taken by another program. End that, or give the app another with"
                f" --port {port + 1}."
            ) from error
        raise ServerError(f"Cannot listen on {host}:{port}: {error.strerror or error}.") from error


def _warn(text: str) -> None:
    click.secho(f"Warning: {text}", fg="yellow", err=True)
