"""The variables that an event's frames show: those of this package and of libraries go."""

from __future__ import annotations

from typing import Any

from sentry_asgi._python.in_app import PACKAGE, application
from sentry_asgi._sdk import events

from .layout import frames_of


def hide_own_variables(event: dict[str, Any]) -> None:
    """Takes the variables from the frames of this package: they are the request, and nothing else."""
    for frame in frames_of(event):
        if is_own(frame):
            frame.pop("vars", None)


def hide_library_variables(event: dict[str, Any]) -> None:
    """Takes the variables from the frames of libraries, as the project's own events have none.

    The SDK's integrations show them. A library's thread goes on: by the time that a frame of its loop is looked at, its
    variables may be another request's.
    """
    for frame in frames_of(event):
        filename = frame.get("abs_path")
        if isinstance(filename, str) and not application[filename]:
            frame.pop("vars", None)


def is_own(frame: dict[str, Any]) -> bool:
    """Whether a frame is of this package."""
    return str(frame.get("module") or "").partition(".")[0] == PACKAGE


def render_variables(event: dict[str, Any]) -> None:
    # Unless an earlier call has done it.
    for frame in frames_of(event):
        if frame.get("vars") and events.metadata_of(frame["vars"]) is None:
            frame["vars"] = events.rendered_variables(frame["vars"])
