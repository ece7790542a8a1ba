"""The command line: `sentry-asgi`, or `python -m sentry_asgi`. It needs the extra `inspector`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; without the extra, say how to get it, with exit status 2."""
    try:
        from .inspector.cli import cli  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.exit(_without(error.name))
    cli(prog_name="sentry-asgi")


def _without(module: str | None) -> int:
    message = f"This needs {module}; run: pip install 'sentry-asgi[inspector]'"
    print(message, file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    main()
