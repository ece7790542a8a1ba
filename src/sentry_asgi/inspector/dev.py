"""`sentry-asgi dev`: an app under uvicorn with reload, and an inspector, in one command.

The rules:

- uvicorn's own command line reads uvicorn's options, so all of them work and are checked by it.
- The inspector lives in this process, the app in others: a reload loses nothing, and the SDK in the
  app never reports the inspector's own requests to the inspector, which would go on forever.
- An inspector that is there already is used, so several apps share one and their traces meet. When it
  ends, one of the others takes its place, and says so.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from uvicorn.main import main as uvicorn_command

from .local import url_of
from .plan import plan
from .running import PortTakenError, exposed, inspecting, is_inspector, is_loopback
from .server import MAX_PORT, ServerError
from .wrapped import serve, service_named

# How long an app may take to end, in seconds; and of that, its open connections: uvicorn by itself waits for a
# browser's event stream for ever, before a reload, too.
_PATIENCE = 30
_GRACE = 2
# How often another command's inspector is looked for, in seconds.
_LOOK = 1.0
_SUCCEEDED = (
    "The inspector at {url} has ended. A new one took its place, without what that one had."
)
_CREATE = f"{__package__}.dev_app:create"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the inspector is to listen, which editor its pages open, and which file keeps what comes."""

    host: str
    port: int
    editor: str
    keep: Path | None = None


def run(
    target: str,
    arguments: Sequence[str],
    place: Place,
    *,
    reload: bool,
    traceback: bool = False,
    look: bool = False,
) -> int:
    """Serve the app `target` until interrupted; returns an exit status.

    `arguments` are uvicorn's; `traceback`: the terminal shows frames of libraries, too; `look`: a
    browser opens the inspector.
    Raises click.UsageError where uvicorn does not know one, ServerError where a port is taken or
    cannot be had.
    """
    chosen = uvicorn_command.make_context("sentry-asgi dev", [*arguments, target]).params
    _check_port(chosen)
    if not is_loopback(chosen["host"]):
        _warn(f"The app listens on {chosen['host']}: other machines may reach it.")
    reload = reload and not chosen["workers"]
    given = [argument for argument in arguments if argument not in {"--factory", "--reload"}]
    if chosen["timeout_graceful_shutdown"] is None:
        given += ["--timeout-graceful-shutdown", str(_GRACE)]
    with shared_inspector(place) as url:
        if look:
            webbrowser.open(url)
        address = url_of(chosen["host"], chosen["port"]) if chosen["port"] else ""
        told = plan(
            target, factory=chosen["factory"], url=url, traceback=traceback, address=address
        )
        os.environ.update(told)
        click.echo(f"Inspector at {click.style(url, underline=True)}", err=True)
        return _serve([*given, *(["--reload"] if reload else []), "--factory", _CREATE])


def run_command(command: Sequence[str], place: Place, service: str, *, look: bool = False) -> int:
    """Run any command beside an inspector; returns its exit status. Raises ServerError."""
    with shared_inspector(place) as url:
        if look:
            webbrowser.open(url)
        click.echo(f"Inspector at {click.style(url, underline=True)}", err=True)
        try:
            return serve(command, url, service or service_named(command))
        except OSError as error:
            raise ServerError(f"{command[0]} cannot be run: {error.strerror or error}.") from error


@contextmanager
def shared_inspector(place: Place) -> Iterator[str]:
    """An inspector's URL: of a new one, or of one that has that port already."""
    own = _own(place)
    try:
        url = own.__enter__()
    except PortTakenError as error:
        if not error.inspector:
            raise ServerError(f"{error} For the inspector that is --inspector-port.") from error
        click.echo(f"{error}", err=True)
        with _successor(place) as url:
            yield url
        return
    if not is_loopback(place.host):
        _warn(exposed(place.host))
    try:
        yield url
    finally:
        own.__exit__(None, None, None)


def _own(place: Place) -> AbstractContextManager[str]:
    return inspecting(host=place.host, port=place.port, file=place.keep, editor=place.editor)


@contextmanager
def _successor(place: Place) -> Iterator[str]:
    """The URL of another command's inspector; when that ends, one of this command takes its place."""
    url, ending = url_of(place.host, place.port), threading.Event()

    def succeed() -> None:
        while not ending.wait(_LOOK):
            if is_inspector(url):
                continue
            try:
                with _own(place):
                    click.echo(_SUCCEEDED.format(url=url), err=True)
                    ending.wait()
            except PortTakenError:
                continue  # a third one was faster
            except ServerError as error:
                _warn(f"The inspector at {url} has ended, and none takes its place: {error}")
                return

    watching = threading.Thread(target=succeed, name="inspector's successor", daemon=True)
    watching.start()
    try:
        yield url
    finally:
        ending.set()
        watching.join(_PATIENCE)


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
