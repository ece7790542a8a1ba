"""One schema in Strawberry, Ariadne and graphene, whose resolvers fail; the first two speak it over websockets, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest


class Broken(Exception):
    """What a resolver raises."""


def fail(message: str = "nope") -> Any:
    raise Broken(message)


def wrapped() -> Any:
    from graphql import GraphQLError

    try:
        fail()
    except Broken as cause:
        raise GraphQLError("wrapped") from cause


def strawberry() -> Any:
    library = pytest.importorskip("strawberry")
    from fastapi import FastAPI
    from strawberry.fastapi import GraphQLRouter

    @library.type
    class Query:
        @library.field
        async def later(self) -> str | None:
            fail("later")

        @library.field
        def sync(self) -> str | None:
            fail("sync")

        @library.field
        async def slow(self, after: int, secret: str) -> str | None:
            await asyncio.sleep(after / 20)
            fail(f"slow of {secret[6:]}, not {secret}")

        @library.field
        def fine(self) -> str:
            return "fine"

        @library.field
        def add(self, x: int) -> int:
            return x

        @library.field
        def wrapped(self) -> str | None:
            wrapped()

    @library.type
    class Subscription:
        @library.subscription
        async def ticks(self) -> AsyncIterator[int]:
            yield 1
            fail("ticks")

    app = FastAPI()
    schema = library.Schema(Query, subscription=Subscription)
    app.include_router(GraphQLRouter(schema), prefix="/graphql")
    return app


def ariadne() -> Any:
    library = pytest.importorskip("ariadne")
    from ariadne.asgi import GraphQL
    from ariadne.asgi.handlers import GraphQLTransportWSHandler
    from starlette.applications import Starlette
    from starlette.routing import Mount

    query, subscription = library.QueryType(), library.SubscriptionType()

    async def later(*_: Any) -> None:
        fail("later")

    async def slow(*_: Any, after: int, secret: str) -> None:
        await asyncio.sleep(after / 20)
        fail(f"slow of {secret[6:]}, not {secret}")

    async def ticks(*_: Any) -> AsyncIterator[int]:
        yield 1
        fail("ticks")

    query.set_field("later", later)
    query.set_field("slow", slow)
    subscription.set_source("ticks", ticks)
    subscription.set_field("ticks", lambda tick, *_: tick)
    query.set_field("sync", lambda *_: fail("sync"))
    query.set_field("fine", lambda *_: "fine")
    query.set_field("add", lambda *_, x: x)
    query.set_field("wrapped", lambda *_: wrapped())
    types = """
        type Query {
            later: String sync: String fine: String add(x: Int!): Int wrapped: String
            slow(after: Int!, secret: String!): String
        }
        type Subscription { ticks: Int! }
    """
    schema = library.make_executable_schema(types, query, subscription)
    app = GraphQL(schema, websocket_handler=GraphQLTransportWSHandler())
    return Starlette(routes=[Mount("/", app)])


def graphene() -> Any:
    library = pytest.importorskip("graphene")
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    class Query(library.ObjectType):
        later = library.String()
        sync = library.String()
        fine = library.String()
        add = library.Int(x=library.Int(required=True))
        wrapped = library.String()

        async def resolve_later(self, info: Any) -> None:
            fail("later")

        def resolve_sync(self, info: Any) -> None:
            fail("sync")

        def resolve_fine(self, info: Any) -> str:
            return "fine"

        def resolve_add(self, info: Any, x: int) -> int:
            return x

        def resolve_wrapped(self, info: Any) -> None:
            wrapped()

    schema = library.Schema(query=Query)

    async def endpoint(request: Any) -> Any:
        said = await request.json()
        result = await schema.execute_async(said["query"], variables=said.get("variables"))
        errors = [error.formatted for error in result.errors or ()]
        answer = {"data": result.data, "errors": errors} if errors else {"data": result.data}
        return JSONResponse(answer)

    return Starlette(routes=[Route("/graphql", endpoint, methods=["POST"])])
