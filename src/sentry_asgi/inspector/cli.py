"""The commands of `sentry-asgi`; each is a few lines over a module that does the work.

Those modules are imported by the commands themselves: none waits for what another one needs.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
from pathlib import Path

import click

from sentry_asgi import __version__

from .cli_ask import COMMANDS
from .editor import EDITORS
from .server import HOST, MAX_PORT, ServerError

PORT = 8969
_APP = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_PORTS = click.IntRange(0, MAX_PORT)

_editor = click.option(
    "--editor",
    type=click.Choice(sorted(EDITORS)),
    default="vscode",
    envvar="SENTRY_ASGI_EDITOR",
    show_default=True,
    show_envvar=True,
    help="Which editor source lines open in.",
)


_keep = click.option(
    "--keep",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file that keeps what comes; without, it is gone at the end.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sentry-asgi")
def cli() -> None:
    """Sentry for any ASGI application: tools for development."""


_open = click.option("--open", "look", is_flag=True, help="Open the inspector in a browser.")
_inspector_host = click.option(
    "--inspector-host", default=HOST, show_default=True, help="Where the inspector listens."
)
_inspector_port = click.option(
    "--inspector-port", type=_PORTS, default=PORT, show_default=True, help="Its port."
)


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[APP] [UVICORN OPTIONS]...")
@click.option("--traceback", is_flag=True, help="Print tracebacks whole, with frames of libraries.")
@click.option("--no-reload", is_flag=True, help="Leave the app running when its files change.")
@_open
@_inspector_host
@_inspector_port
@_keep
@_editor
def dev(
    arguments: tuple[str, ...],
    *,
    traceback: bool,
    no_reload: bool,
    look: bool,
    inspector_host: str,
    inspector_port: int,
    keep: Path | None,
    editor: str,
) -> None:
    """Run an app with reload, reporting to a local Sentry.

    APP is MODULE:APP, a module, or a file; without, the app in main.py, app.py, api.py or asgi.py.
    It runs under uvicorn, wrapped in SentryMiddleware if it is not already. If it calls
    sentry_sdk.init itself, its options and its DSN stay. All other options after APP are
    uvicorn's, such as --port 8001 or --app-dir src.
    """
    from .dev import Place, run  # noqa: PLC0415

    app, options = _chosen(list(arguments))
    place = Place(inspector_host, inspector_port, editor, keep)
    _end_as_interrupted()
    try:
        status = run(app, options, place, reload=not no_reload, traceback=traceback, look=look)
    except ServerError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(status)


def _chosen(arguments: list[str]) -> tuple[str, list[str]]:
    """The app as MODULE:APP, and uvicorn's options."""
    given = ""
    if arguments and not arguments[0].startswith("-"):
        given = arguments.pop(0)
    elif arguments and _APP.fullmatch(arguments[-1]):  # behind uvicorn's options
        given = arguments.pop()
    if ":" in given:
        return given, arguments
    from .targets import NoTargetError, find  # noqa: PLC0415

    try:
        target = find(given, Path.cwd())
    except NoTargetError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"The app is {target.name}, in {target.file}", err=True)
    return target.name, ["--app-dir", str(target.folder), *arguments]  # of two, the user's holds


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True, metavar="-- COMMAND...")
@click.option("--service", default="", help="What to call it; by itself the app or the folder.")
@_open
@_inspector_host
@_inspector_port
@_keep
@_editor
def run(
    command: tuple[str, ...],
    *,
    service: str,
    look: bool,
    inspector_host: str,
    inspector_port: int,
    keep: Path | None,
    editor: str,
) -> None:
    """Run any command, whose app reports to a local Sentry.

    Such as `sentry-asgi run -- python manage.py runserver`. Its environment says where to report
    (SENTRY_SPOTLIGHT), which holds for apps that call sentry_sdk.init; what it prints becomes logs.
    Its exit status is this command's.
    """
    from .dev import Place, run_command  # noqa: PLC0415

    place = Place(inspector_host, inspector_port, editor, keep)
    _end_as_interrupted()
    try:
        status = run_command(command, place, service, look=look)
    except ServerError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(status)


@cli.command()
@click.option("--host", default=HOST, show_default=True, help="Where to listen.")
@click.option("--port", type=_PORTS, default=PORT, show_default=True, help="The port.")
@_keep
@_editor
def inspect(*, host: str, port: int, keep: Path | None, editor: str) -> None:
    """Run a local Sentry, for apps that run elsewhere."""
    from .running import exposed, inspecting, is_loopback  # noqa: PLC0415

    _end_as_interrupted()
    try:
        with inspecting(host=host, port=port, file=keep, editor=editor) as url:
            if not is_loopback(host):
                click.secho(f"Warning: {exposed(host)}", fg="yellow", err=True)
            click.echo("Point an app at it in one of these ways:\n")
            dsn = f"{url.replace('://', '://dev@')}/1"
            click.echo(f'    sentry_sdk.init(dsn="{dsn}", traces_sample_rate=1.0)')
            click.echo(f'    sentry_sdk.init(..., spotlight="{url}/stream")\n')
            click.echo(f"See it at {click.style(url, underline=True)} (Ctrl-C ends)")
            threading.Event().wait()
    except ServerError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo()


@cli.command()
@click.option("--url", default=f"http://{HOST}:{PORT}", show_default=True, help="The inspector's.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, events whole.")
@click.option("-n", "--last", default=10, show_default=True, help="So many from before.")
def tail(*, url: str, as_json: bool, last: int) -> None:
    """Print what an inspector is told, as it comes."""
    from rich.console import Console  # noqa: PLC0415

    from .tail import GoneError, follow, printer  # noqa: PLC0415

    _end_as_interrupted()
    show = printer(Console(highlight=False), url.rstrip("/"), as_json=as_json)
    try:
        for told in follow(url.rstrip("/"), last=last, full=as_json):
            show(told)
    except GoneError as error:
        raise click.ClickException(str(error)) from error
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stderr.close()  # nor does Python complain about the pipe when it ends


@cli.command()
@click.argument("app", metavar="MODULE:APP")
@click.option("--app-dir", default=".", show_default=True, help="Where to look for the module.")
@click.option("--factory", is_flag=True, help="MODULE:APP makes the app when called.")
@click.option("--no-startup", is_flag=True, help="Don't run the app's lifespan start-up.")
@click.option("--send", is_flag=True, help="Send a test event and wait until it was taken.")
@click.option("--strict", is_flag=True, help="Fail for what is unwise, too.")
@click.option("--report", "to_paste", is_flag=True, help="Print it for an issue, with versions.")
def doctor(
    app: str,
    *,
    app_dir: str,
    factory: bool,
    no_startup: bool,
    send: bool,
    strict: bool,
    to_paste: bool,
) -> None:
    """Say what is wrong or unwise about an app's reporting.

    Each finding says how to mend it. Status 0: nothing is wrong; 1: something is; 2: the app could
    not be loaded.
    """
    from .doctor import examine, report, status  # noqa: PLC0415

    sys.path.insert(0, app_dir)
    findings = examine(app, factory=factory, startup=not no_startup, send=send)
    if to_paste:
        from .report import written  # noqa: PLC0415

        click.echo(written(app, findings, factory=factory))
    else:
        report(findings)
    sys.exit(status(findings, strict=strict))


@cli.command()
@click.option("--once", is_flag=True, help="End by itself; status 0 only if everything arrived.")
def demo(*, once: bool) -> None:
    """Run an app that fails, and show its failures in a local Sentry.

    Serves the pages until Ctrl-C. Ends by itself if its output is not a terminal, as in CI.
    """
    from .demo import EXPECTED, run, running  # noqa: PLC0415

    _end_as_interrupted()
    try:
        with running() as started:
            click.echo(f"A small shop is open at {started.app_url}. {len(EXPECTED)} requests:\n")
            complete = run(started)
            if not once and sys.stdout.isatty():
                _serve_until_interrupted(started.url)
    except ServerError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0 if complete else 1)


for _command in COMMANDS:
    cli.add_command(_command)


def _end_as_interrupted() -> None:
    # As Ctrl-C does, SIGTERM shall end what was started and remove what was kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    closed = getattr(signal, "SIGHUP", None)  # its terminal; `nohup` has it ignored
    if closed is not None and signal.getsignal(closed) is signal.SIG_DFL:
        signal.signal(closed, signal.default_int_handler)


def _serve_until_interrupted(url: str) -> None:
    click.echo(f"\nSee it at {click.style(url, underline=True)} (Ctrl-C ends)")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo()
