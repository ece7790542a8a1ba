"""What an inspector knows, for coding agents, by the Model Context Protocol.

The only module that imports the package `mcp`: it is imported when somebody asks. The rules:

- A tool's answer is compact Markdown. What makes no sense is told as the tool's error, so that an
  agent can ask again.
- Over HTTP each request stands alone: no session is kept, and no stream from the server is open.
- Who may ask is decided further out, for all pages alike: by `guard`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import mcp_types as types
from anyio import to_thread
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Receive, Scope, Send

from sentry_asgi import __version__

from .ask import AskError, ask
from .brief import markdown_of
from .digest import Data
from .questions import QuestionError
from .tools import INSTRUCTIONS, TOOLS, Tool

Ask = Callable[[str, Mapping[str, Any]], Awaitable[Data]]

_TOOLS = {tool.name: tool for tool in TOOLS}


def server_for(asked: Ask, url: str) -> Server[Any]:
    """A server whose tools ask that; `url` is the inspector's, for links."""

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_told(tool) for tool in TOOLS])

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        tool = _TOOLS.get(params.name)
        if tool is None:
            return _result(f"There is no tool {params.name!r}.", failed=True)
        given = {**dict(tool.defaults), **(params.arguments or {})}
        missing = [name for name in tool.required if not given.get(name)]
        if missing:
            return _result(f"{params.name} needs {', '.join(missing)}.", failed=True)
        unknown = given.keys() - tool.parameters.keys()
        if unknown:
            return _result(f"{params.name} takes no {', '.join(sorted(unknown))}.", failed=True)
        try:
            return _result(markdown_of(await asked(tool.question, given), url))
        except (AskError, QuestionError) as error:
            return _result(str(error), failed=True)

    return Server(
        "sentry-asgi",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _told(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.schema,
        annotations=types.ToolAnnotations(read_only_hint=tool.reads, open_world_hint=False),
    )


def _result(text: str, *, failed: bool = False) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], is_error=failed
    )


async def serve_request(asked: Ask, url: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one HTTP request."""
    manager = StreamableHTTPSessionManager(
        server_for(asked, url), json_response=True, stateless=True
    )
    async with manager.run():
        await manager.handle_request(scope, receive, send)


def serve_stdio(url: str) -> None:
    """Serve standard input and output, until the input ends, of what the inspector at `url` knows."""

    async def asked(question: str, params: Mapping[str, Any]) -> Data:
        return await to_thread.run_sync(ask, url, question, params, abandon_on_cancel=True)

    async def serve() -> None:
        server = server_for(asked, url)
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())

    anyio.run(serve)
