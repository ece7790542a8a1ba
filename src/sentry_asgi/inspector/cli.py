"""The commands of `sentry-asgi`; each is a few lines over a module that does the work."""

from __future__ import annotations

import signal
import sys
import threading

import click

from sentry_asgi import __version__

from .demo import run, running
from .server import ServerError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sentry-asgi")
def cli() -> None:
    """Sentry for any ASGI application: tools for development."""


@cli.command()
@click.option("--once", is_flag=True, help="End by itself; status 0 only if everything arrived.")
def demo(*, once: bool) -> None:
    """Run an app that fails, and show its failures in a local Sentry."""
    # As Ctrl-C does, it shall end the app's process and remove what was kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running() as started:
            click.echo(f"A small shop is open at {started.app_url}. Four requests:\n")
            complete = run(started)
            if not once:
                _serve_until_interrupted(started.url)
    except ServerError as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0 if complete else 1)


def _serve_until_interrupted(url: str) -> None:
    click.echo(f"\nSee it at {click.style(url, underline=True)} (Ctrl-C ends)")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo()
