"""Strawberry: FastAPI's router of it, and the ASGI application, mounted. What fails is answered with a 200."""

from __future__ import annotations

from typing import Any

import strawberry
from fastapi import FastAPI
from strawberry.asgi import GraphQL
from strawberry.fastapi import GraphQLRouter

from tests.frameworks.failing import fail, lifespan_of
from tests.invariants.requests import Request, posted

# GraphQL has neither.
WITHOUT = {"handled", "stream", "websocket"}


@strawberry.type
class Query:
    @strawberry.field(name="raise")
    async def raising(self) -> str:
        fail("raise")

    @strawberry.field
    def sync(self) -> str:
        fail("sync")

    @strawberry.field
    async def mounted(self) -> str:
        fail("mounted")

    @strawberry.field
    async def fine(self) -> str:
        return "fine"


def request_of(cell: str) -> Request:
    path = "/sub/42/graphql/" if cell == "mounted" else "/graphql"
    return posted(cell, path, {"query": f"{{ {'fine' if cell == 'left' else cell} }}"})


def make(startup_fails: bool) -> Any:
    schema = strawberry.Schema(Query)
    app = FastAPI(lifespan=lifespan_of(startup_fails))
    app.include_router(GraphQLRouter(schema), prefix="/graphql")
    app.mount("/sub/{name}/graphql", GraphQL(schema))
    return app
