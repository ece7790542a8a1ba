"""Strawberry, Ariadne and graphene: one event for each failing resolver, none for the caller's mistakes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sentry_asgi import SentryMiddleware
from tests.rpc.calls import told
from tests.support import Sentry

pytest.importorskip("graphql", reason="nox -s rpc")


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
        def fine(self) -> str:
            return "fine"

        @library.field
        def add(self, x: int) -> int:
            return x

        @library.field
        def wrapped(self) -> str | None:
            wrapped()

    app = FastAPI()
    app.include_router(GraphQLRouter(library.Schema(Query)), prefix="/graphql")
    return app


def ariadne() -> Any:
    library = pytest.importorskip("ariadne")
    from ariadne.asgi import GraphQL
    from starlette.applications import Starlette
    from starlette.routing import Mount

    query = library.QueryType()

    async def later(*_: Any) -> None:
        fail("later")

    query.set_field("later", later)
    query.set_field("sync", lambda *_: fail("sync"))
    query.set_field("fine", lambda *_: "fine")
    query.set_field("add", lambda *_, x: x)
    query.set_field("wrapped", lambda *_: wrapped())
    types = (
        "type Query { later: String sync: String fine: String add(x: Int!): Int wrapped: String }"
    )
    schema = library.make_executable_schema(types, query)
    return Starlette(routes=[Mount("/graphql", GraphQL(schema))])


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

    return Starlette(routes=[Route("/graphql/", endpoint, methods=["POST"])])


@pytest.fixture(params=[False, True], ids=["plain", "integrations"])
def integrated(request: pytest.FixtureRequest) -> bool:
    given: bool = request.param
    return given


@pytest.mark.parametrize("make", [strawberry, ariadne, graphene])
@pytest.mark.filterwarnings("ignore")
def test_each_failing_resolver_is_one_event_that_names_it(
    sentry: Sentry, make: Any, integrated: bool
) -> None:
    sentry.init(auto_enabling_integrations=integrated)
    app = SentryMiddleware(make())
    path = "/graphql" if make is strawberry else "/graphql/"

    async def ask() -> None:
        for query, operation, fields in (
            ("query Later { later }", "Later", ["later"]),
            ("{ sync }", None, ["sync"]),
            ("query Both { later sync }", "Both", ["later", "sync"]),
            ("{ wrapped }", None, ["wrapped"]),
        ):
            found = await told(sentry, app, path, {"query": query})
            assert sorted(one.rpc["field"] for one in found) == fields, query
            for one in found:
                assert one.handled
                assert one.types[0] in {"Broken", "GraphQLError"}
                assert one.rpc["system"] == "graphql"
                assert one.rpc.get("operation") == operation
                assert one.transaction.endswith(operation or one.rpc["field"])
        assert await told(sentry, app, path, {"query": "{ fine }"}) == []

    asyncio.run(ask())


@pytest.mark.parametrize("make", [strawberry, ariadne, graphene])
@pytest.mark.filterwarnings("ignore")
def test_what_the_caller_does_wrong_is_no_failure(
    sentry: Sentry, make: Any, integrated: bool
) -> None:
    """Though the libraries log it as errors, and the SDK's integrations report it."""
    sentry.init(auto_enabling_integrations=integrated)
    app = SentryMiddleware(make())
    path = "/graphql" if make is strawberry else "/graphql/"
    variable = "query($x: Int!) { add(x: $x) }"

    async def ask() -> None:
        for said in (
            {"query": "{ fine"},
            {"query": "{ unknown }"},
            {"query": variable, "variables": {"x": "no number"}},
            {"query": "{ add }"},
        ):
            assert await told(sentry, app, path, said) == [], said

    asyncio.run(ask())


@pytest.mark.parametrize("make", [strawberry, ariadne, graphene])
@pytest.mark.filterwarnings("ignore")
def test_ignoring_errors_means_what_the_resolver_raised(
    sentry: Sentry, make: Any, integrated: bool
) -> None:
    sentry.init(ignore_errors=[Broken], auto_enabling_integrations=integrated)
    app = SentryMiddleware(make())
    path = "/graphql" if make is strawberry else "/graphql/"

    async def ask() -> None:
        for query in ("{ later }", "{ sync }", "{ wrapped }"):
            assert await told(sentry, app, path, {"query": query}) == [], query

    asyncio.run(ask())
