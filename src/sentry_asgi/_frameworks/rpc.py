"""What protocols that answer failures with a 200 say in their messages: GraphQL, JSON-RPC, MCP.

The rules:

- Of an answer: an error beside GraphQL's `data` that has a path (https://spec.graphql.org, "Errors"), a JSON-RPC
  `error` (https://www.jsonrpc.org/specification), an MCP result that `isError` (https://modelcontextprotocol.io).
- What the caller did wrong is no failure: GraphQL's errors of parsing and validating, which have no path; JSON-RPC's
  codes for those.
- Of a call: its system, its operation, method or tool, if that looks like a name; nothing else that it holds.
- Functions of what was parsed; whatever it holds, they do not raise. Lists are followed as far as `_MANY`.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from sentry_asgi._python.exceptions import attribute_of, cause_of, is_a, names_of

WRAPPERS: Final = frozenset(
    {
        *("GraphQLError", "GraphQLLocatedError"),
        *("ToolError", "ResourceError", "PromptError", "FastMCPError", "McpError", "MCPError"),
        *("JSONRPCError", "JsonRpcError", "JsonRpcException"),
    }
)
"""The names of classes that a protocol's library, or an application, raises around what has failed."""

CALLERS_MISTAKES: Final = frozenset({-32700, -32600, -32601, -32602})
"""JSON-RPC's codes: parse error, invalid request, method not found, invalid params."""

_WORDS: Final = ("graphql", "graphene", "strawberry", "ariadne", "rpc", "mcp")
_MANY: Final = 20
_NAME: Final = re.compile(r"[A-Za-z_][\w./:-]{0,99}")
_OPERATION: Final = re.compile(r"\b(?:query|mutation|subscription)\s+([A-Za-z_]\w{0,99})")


class Failed(NamedTuple):
    """One failure that an answer tells."""

    call: Any  # the JSON-RPC id of the call, if it has one
    field: str | None = None  # of GraphQL, where
    message: str | None = None


def speaks(library: str) -> bool:
    """Whether a library, by its package's name, is of one of these protocols."""
    return any(word in library for word in _WORDS)


def is_mcp(library: str) -> bool:
    """Whether a library, by its package's name, is an MCP server's."""
    return "mcp" in library


def may_refuse(library: str) -> bool:
    """Whether what a library raises can be how an MCP server refuses a call: by itself, or as pydantic has it."""
    return is_mcp(library) or library == "pydantic"


def is_wrapper(exception: BaseException) -> bool:
    """Whether an exception is of the kind that such a library raises around what has failed."""
    return any(names_of(kind)[1] in WRAPPERS for kind in type(exception).__mro__)


def original_of(exception: BaseException) -> Any:
    """What an exception of such a library's was made of, beside its cause; None if of nothing."""
    original = attribute_of(exception, "original_error") if is_wrapper(exception) else None
    return original if is_a(original, BaseException) else None


def looked_through(exception: Exception) -> Exception:
    """What has failed, in what such a library has raised around it."""
    for _ in range(_MANY):
        if not is_wrapper(exception):
            break
        cause: Any = cause_of(exception)
        if cause is None:
            cause = original_of(exception)
        if not is_a(cause, Exception):
            break
        exception = cause
    return exception


def is_callers_mistake(exception: BaseException) -> bool:
    """Whether such a library raised an exception, which is a wrapper, for what the caller did wrong."""
    error = attribute_of(exception, "error")
    code = attribute_of(error, "code") if error is not None else attribute_of(exception, "code")
    if _is_code(code):
        return code in CALLERS_MISTAKES
    is_graphqls = hasattr(type(exception), "locations")
    return is_graphqls and not attribute_of(exception, "path") and cause_of(exception) is None


def field_of(exception: BaseException) -> str | None:
    """Where in an operation of GraphQL's an exception was raised, if it is GraphQL's own and tells."""
    path = attribute_of(exception, "path") if is_wrapper(exception) else None
    return _field(path) if isinstance(path, list) and path else None


def failures(answer: Any) -> list[Failed]:
    """The failures that a message tells: of a response, or of a websocket."""
    found: list[Failed] = []
    for one in answer[:_MANY] if isinstance(answer, list) else [answer]:
        if isinstance(one, dict):
            found.extend(_jsonrpc(one) if "jsonrpc" in one else _graphql(one))
    return found


def _jsonrpc(answer: dict[str, Any]) -> list[Failed]:
    error, result = answer.get("error"), answer.get("result")
    if isinstance(error, dict):
        mistake = error.get("code") in CALLERS_MISTAKES if _is_code(error.get("code")) else False
        return [] if mistake else [Failed(answer.get("id"), None, _text(error.get("message")))]
    if isinstance(result, dict) and result.get("isError") is True:
        return [Failed(answer.get("id"))]
    return []


def _is_code(value: Any) -> bool:
    return isinstance(value, int)


def _graphql(answer: dict[str, Any]) -> list[Failed]:
    payload, kind = answer.get("payload"), answer.get("type")
    if kind in {"next", "data"} and isinstance(payload, dict):
        answer = payload  # graphql-transport-ws, and what was before it
    elif kind == "error" and isinstance(payload, list):
        answer = {"data": None, "errors": payload}
    errors = answer.get("errors")
    # A `next` tells of no mistake of the caller's: those are `error`s. What a subscription's source raises has no path.
    executed = kind == "next"
    if not isinstance(errors, list) or not (executed or "data" in answer):
        return []
    return [
        Failed(None, _field(one["path"]) if one.get("path") else None, _text(one.get("message")))
        for one in errors[:_MANY]
        if isinstance(one, dict) and _is_failure(one.get("path"), executed=executed)
    ]


def _is_failure(path: Any, *, executed: bool) -> bool:
    return bool(path) if isinstance(path, list) else executed and path is None


def _field(path: list[Any]) -> str | None:
    return ".".join(str(part) for part in path[:_MANY] if isinstance(part, (str, int)))[:200]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def called(call: Any, which: Any = None) -> dict[str, str] | None:
    """What a message calls: `system`, and what it names; of several, the one that has this JSON-RPC id.

    None if it is no call of these, or of several.
    """
    if isinstance(call, list):
        calls = [one for one in call[:_MANY] if isinstance(one, dict)]
        if len(calls) > 1:
            calls = [one for one in calls if which is not None and one.get("id") == which]
        call = calls[0] if len(calls) == 1 else None
    if not isinstance(call, dict):
        return None
    if isinstance(call.get("jsonrpc"), str):
        return _method(call)
    if call.get("type") in {"subscribe", "start"} and isinstance(call.get("payload"), dict):
        call = call["payload"]
    query = call.get("query")
    if not isinstance(query, str):
        return None
    named = _OPERATION.search(query[:_LONG])
    operation = _name(call.get("operationName")) or (named[1] if named else None)
    # `query` alone is the field of any search.
    if operation is None and "{" not in query:
        return None
    return _without_none({"system": "graphql", "operation": operation})


_LONG: Final = 10_000


def _method(call: dict[str, Any]) -> dict[str, str] | None:
    method, parameters = _name(call.get("method")), call.get("params")
    if method is None:
        return None
    kind, _, verb = method.partition("/")
    if not verb:
        return {"system": "jsonrpc", "method": method}
    name = _name(parameters.get("name")) if isinstance(parameters, dict) else None
    what = {"tools": "tool", "prompts": "prompt"}.get(kind, "name")
    return _without_none({"system": "mcp", "method": method, what: name})


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and _NAME.fullmatch(value) else None


def _without_none(facts: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in facts.items() if value is not None}


def detail(facts: dict[str, str]) -> str | None:
    """The one name that says what was called."""
    names = ("operation", "tool", "prompt", "name", "method", "field")
    return next((facts[name] for name in names if name in facts), None)
