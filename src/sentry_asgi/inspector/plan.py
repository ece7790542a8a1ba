"""What `sentry-asgi dev` tells the processes of the app, by their environment.

An app is a service of a trace, and is named by its module; by its folder, where half of all apps
have a module of that name. The name stands in the addresses that its SDK reports to.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

PLAN = "_SENTRY_ASGI_DEV"
"""The environment variable with the plan: `target`, `factory`, the inspector's `url`, the `service`,
whether a `traceback` is whole, and the app's own `address`."""

_EVERYBODYS = frozenset(
    {"api", "app", "application", "asgi", "main", "server", "src", "web", "wsgi"}
)


def plan(
    target: str, *, factory: bool, url: str, traceback: bool = False, address: str = ""
) -> dict[str, str]:
    """The environment that makes `dev_app.create` serve `target`, and SDKs report to the inspector."""
    service = service_of(target, Path.cwd())
    told = {"target": target, "factory": factory, "url": url, "service": service}
    return {
        PLAN: json.dumps({**told, "traceback": traceback, "address": address}),
        **reporting(url, service),
    }


def reporting(url: str, service: str) -> dict[str, str]:
    """The environment in which an SDK that is initialised reports to the inspector, too."""
    return {
        "SENTRY_SPOTLIGHT": stream(url, service),
        # Under Django the SDK would put Spotlight's own pages in place of Django's.
        "SENTRY_SPOTLIGHT_MIDDLEWARE": "0",
        "SENTRY_SPOTLIGHT_ON_ERROR": "0",
    }


def service_of(target: str, folder: Path) -> str:
    """What to call the app `module:attribute` that is started in this folder."""
    module = target.partition(":")[0].partition(".")[0]
    name = folder.name if module in _EVERYBODYS else module
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.") or "app"


def stream(url: str, service: str) -> str:
    """Where the SDK's Spotlight client of that service reports."""
    return f"{url}/stream/{service}"


def dsn(url: str, service: str) -> str:
    """What its `sentry_sdk.init` is given, if `dev` does that."""
    return f"{url.replace('://', '://dev@')}/{service}/1"
