"""What a coding agent may ask an inspector: the tools, as tables, without any protocol. Pure.

A tool asks one question of `plain`, and its parameters are that question's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

INSTRUCTIONS = (
    "What an ASGI application under development has just done: errors with source lines, requests, SQL, logs."
    " Begin with show_error: it has the newest error's failing line, request, SQL and logs. After a change, call"
    " send_again with the request's id, which stands there, or wait_for_error."
)

_SINCE: dict[str, Any] = {
    "type": "string",
    "description": "Only what came since then: 5m, an ISO 8601 moment, or an event's id.",
}
_TEXT = {
    "type": "string",
    "description": "Words, all of which must be there; also route:/orders, status:5xx, >200ms, !not.",
}
_LIMIT: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 200, "default": 20}
_LIST: dict[str, dict[str, Any]] = {"since": _SINCE, "text": _TEXT, "limit": _LIMIT}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: its name, the question that it asks, what it says of itself, and its parameters."""

    name: str
    question: str
    description: str
    parameters: dict[str, dict[str, Any]]
    required: tuple[str, ...] = ()
    reads: bool = True
    defaults: tuple[tuple[str, Any], ...] = ()

    @property
    def schema(self) -> dict[str, Any]:
        """Its parameters as a JSON Schema."""
        return {
            "type": "object",
            "properties": self.parameters,
            "required": list(self.required),
            "additionalProperties": False,
        }


TOOLS = (
    Tool(
        "show_error",
        "show",
        "One error: the failing line, variables, request, SQL, last logs, and a curl command that sends the"
        " request again. Without an id, the newest.",
        {"id": {"type": "string", "description": "The event's id."}},
        defaults=(("id", "latest"),),
    ),
    Tool(
        "list_errors",
        "errors",
        "Errors, the newest first, equal ones as one with their number.",
        _LIST,
    ),
    Tool(
        "wait_for_error",
        "wait",
        "Wait for the next error and show it, as show_error does; with since, one that has come since then at once.",
        {
            "timeout": {"type": "number", "minimum": 0, "maximum": 600, "default": 30},
            "since": _SINCE,
        },
    ),
    Tool(
        "list_requests",
        "requests",
        "Requests with status and time taken, the newest first; with slow, the slowest first.",
        {
            **_LIST,
            "slow": {"type": "number", "description": "Only those of so many milliseconds."},
            "status": {"type": "string", "description": "Such as 422, or 5xx."},
        },
    ),
    Tool(
        "show_request",
        "show",
        "One request: what was asked and answered, why it was refused, its SQL, calls, logs and errors in"
        " order of time, and what is wrong with it. Without an id, the newest.",
        {"id": {"type": "string", "description": "The request's id, or a trace's."}},
        defaults=(("id", "latest-request"),),
    ),
    Tool(
        "send_again",
        "again",
        "Send a request again, as it was, to the app that `sentry-asgi dev` serves: what it answered then, and what it"
        " answers now. For after a change.",
        {"id": {"type": "string", "description": "The request's id."}},
        required=("id",),
        reads=False,
    ),
    Tool(
        "list_logs",
        "logs",
        "Log records, the newest first.",
        {
            **_LIST,
            "level": {"enum": ["debug", "info", "warning", "error", "fatal"]},
            "trace": {"type": "string", "description": "Only those of this trace."},
        },
    ),
    Tool(
        "list_findings",
        "findings",
        "What is wrong with the newest requests: N+1 and slow queries, repeated calls, a blocked loop, gaps.",
        {"since": _SINCE},
    ),
    Tool(
        "show_figures",
        "figures",
        "Each route's requests, failures and times, compared with before the last reload; each SQL query's number and"
        " times.",
        {},
    ),
)
