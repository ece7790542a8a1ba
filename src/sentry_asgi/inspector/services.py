"""What a service is called, where several report to one inspector. Pure."""

from __future__ import annotations

import re
from typing import Any

from .values import as_dict, as_line

_SHA = re.compile(r"[0-9a-f]{40}")


def service_name(project: str, event: dict[str, Any], data: dict[str, Any]) -> str:
    """What tells one service from another, best first: its name, its release's, its project.

    A project is a name where `dev` gave it one. The SDK's name is its language's alone: the
    rest tells which libraries happen to be installed.
    """
    name = own_name(event, data)
    if name or (not project.isdigit() and project != "spotlight"):
        return name or project
    sdk = (
        as_line(as_dict(event.get("sdk")).get("name"), 60).removeprefix("sentry.").partition(".")[0]
    )
    where = "" if project == "spotlight" else f"project {project}"
    return " · ".join(filter(None, (where, sdk))) or "app"


def own_name(event: dict[str, Any], data: dict[str, Any]) -> str:
    """A service's name as it calls itself, or nothing."""
    name = as_line(data.get("service.name"), 60)
    release = as_line(event.get("release") or data.get("sentry.release"), 120)
    named = release.partition("@")[0]
    return name or ("" if _SHA.fullmatch(named) else named)
