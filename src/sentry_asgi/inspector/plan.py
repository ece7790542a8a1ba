"""What `sentry-asgi dev` tells the processes of the app, by their environment."""

from __future__ import annotations

import json

PLAN = "_SENTRY_ASGI_DEV"
"""The environment variable with the plan: `target`, `factory` and the inspector's `url`."""


def plan(target: str, *, factory: bool, url: str) -> dict[str, str]:
    """The environment that makes `dev_app.create` serve `target`, and SDKs report to the inspector."""
    return {
        PLAN: json.dumps({"target": target, "factory": factory, "url": url}),
        "SENTRY_SPOTLIGHT": f"{url}/stream",
        # Under Django the SDK would put Spotlight's own pages in place of Django's.
        "SENTRY_SPOTLIGHT_MIDDLEWARE": "0",
        "SENTRY_SPOTLIGHT_ON_ERROR": "0",
    }
