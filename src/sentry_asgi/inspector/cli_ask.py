"""The commands that ask an inspector, and `mcp`, by which a coding agent does.

Each asks one question, prints the answer, and ends: status 0 if there is something, 1 if there is nothing, 2 if it
could not be asked.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

import click

_STATUS = "Status 0: there is something; 1: there is nothing; 2: no inspector answers."

Command = Callable[..., None]

_url = click.option(
    "--url",
    default="http://127.0.0.1:8969",
    envvar="SENTRY_ASGI_INSPECTOR",
    show_default=True,
    show_envvar=True,
    help="The inspector's.",
)
_json = click.option("--json", "as_json", is_flag=True, help="JSON, for scripts.")
_since = click.option(
    "--since", default="", metavar="WHEN", help="5m, an ISO 8601 moment, or an event's id."
)
_text = click.option(
    "--text",
    default="",
    metavar="WORDS",
    help="A search: words, route:/orders, status:5xx, >200ms, !word.",
)
_limit = click.option("-n", "--limit", default="20", show_default=True, help="So many at most.")


def _lists(command: Command) -> Command:
    for option in (_url, _json, _limit, _text, _since):
        command = option(command)
    return command


@click.command(epilog=_STATUS)
@_lists
@click.option("--each", is_flag=True, help="Each error, equal ones too.")
def errors(*, url: str, as_json: bool, **params: Any) -> None:
    """List errors, equal ones as one, the newest first."""
    _answer("errors", url, as_json=as_json, **{**params, "each": params["each"] or ""})


@click.command(epilog=_STATUS)
@_lists
@click.option(
    "--slow",
    is_flag=False,
    flag_value="0",
    default="",
    metavar="[MS]",
    help="The slowest first; with a number, of so many milliseconds at least.",
)
@click.option("--status", default="", help="With this status: 422, or 5xx.")
def requests(*, url: str, as_json: bool, **params: Any) -> None:
    """List requests, the newest first."""
    _answer("requests", url, as_json=as_json, **params)


@click.command(epilog=_STATUS)
@_lists
@click.option("--level", default="", help="This level at least: debug, info, warning, ...")
@click.option("--trace", default="", metavar="ID", help="Of this trace.")
def logs(*, url: str, as_json: bool, **params: Any) -> None:
    """List logs, the newest first."""
    _answer("logs", url, as_json=as_json, **params)


@click.command(epilog=_STATUS)
@_url
@_json
@_since
def findings(*, url: str, as_json: bool, **params: Any) -> None:
    """Say what is wrong with the newest requests, such as N+1 queries."""
    _answer("findings", url, as_json=as_json, **params)


@click.command(epilog=_STATUS)
@_url
@_json
def figures(*, url: str, as_json: bool) -> None:
    """Tell how long routes and SQL take, and before the last reload."""
    _answer("figures", url, as_json=as_json)


@click.command(epilog=_STATUS)
@click.argument("name", metavar="ID")
@_url
@_json
def show(*, name: str, url: str, as_json: bool) -> None:
    """Show an error, a request or a trace, by its id.

    `latest` is the newest error, `latest-request` the newest request.
    """
    _answer("show", url, as_json=as_json, id=name)


@click.command(epilog=_STATUS)
@click.argument("request", metavar="ID")
@_url
@_json
def again(*, request: str, url: str, as_json: bool) -> None:
    """Send a request again to the app that `dev` serves.

    As it was, by its id; after a reload without what was secret in it. Shows what was answered
    then, and what is answered now.
    """
    _answer("again", url, as_json=as_json, id=request)


@click.command(epilog=_STATUS)
@click.option(
    "--for",
    "for_",
    default="error",
    show_default=True,
    type=click.Choice(["error", "request"]),
    help="What to wait for.",
)
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait, at most.")
@_url
@_json
@_since
def wait(*, url: str, as_json: bool, for_: str, timeout: float, since: str) -> None:
    """Wait for the next error or request, and show it.

    With --since, one that has come since then is shown at once.
    """
    _answer("wait", url, as_json=as_json, **{"for": for_, "timeout": timeout, "since": since})


@click.command()
@_url
def mcp(*, url: str) -> None:
    """Serve what an inspector knows to coding agents (MCP over stdio).

    Over HTTP the inspector does it itself, at /mcp. It needs the extra `mcp`.
    """
    try:
        from .mcp_server import serve_stdio  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"This needs {error.name}; run: pip install 'sentry-asgi[mcp]'"
        ) from error
    serve_stdio(url.rstrip("/"))


COMMANDS = (again, errors, requests, logs, findings, figures, show, wait, mcp)


def _answer(question: str, url: str, *, as_json: bool, **params: Any) -> None:
    from .ask import AskError, ask, found_something, printed  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    url = url.rstrip("/")
    try:
        answer = ask(url, question, params)
    except AskError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    click.echo(printed(answer, url, as_json=as_json))
    sys.exit(0 if found_something(answer) else 1)
