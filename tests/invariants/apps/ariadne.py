"""Ariadne's ASGI application, mounted in Starlette. What fails is answered with a 200."""

from __future__ import annotations

from typing import Any

from ariadne import QueryType, make_executable_schema
from ariadne.asgi import GraphQL
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.frameworks.failing import fail, lifespan_of
from tests.invariants.requests import Request, posted

# GraphQL has none of these.
WITHOUT = {"handled", "stream", "websocket"}

query = QueryType()


@query.field("raise")
async def raising(root: Any, info: Any) -> str:
    fail("raise")


@query.field("sync")
def sync(root: Any, info: Any) -> str:
    fail("sync")


@query.field("mounted")
async def mounted(root: Any, info: Any) -> str:
    fail("mounted")


@query.field("fine")
async def fine(root: Any, info: Any) -> str:
    return "fine"


def request_of(cell: str) -> Request:
    path = "/sub/42/graphql/" if cell == "mounted" else "/graphql/"
    return posted(cell, path, {"query": f"{{ {'fine' if cell == 'left' else cell} }}"})


def make(startup_fails: bool) -> Any:
    types = "type Query { raise: String, sync: String, mounted: String, fine: String }"
    graphql = GraphQL(make_executable_schema(types, query))
    routes = [Mount("/graphql", graphql), Mount("/sub/{name}/graphql", graphql)]
    return Starlette(routes=routes, lifespan=lifespan_of(startup_fails))
