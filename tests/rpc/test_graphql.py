"""Strawberry, Ariadne and graphene: one event for each failing resolver, none for the caller's mistakes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sentry_asgi import SentryMiddleware
from tests.rpc.calls import told
from tests.rpc.graphql_apps import Broken, ariadne, graphene, strawberry
from tests.support import Sentry

pytest.importorskip("graphql", reason="nox -s rpc")


@pytest.mark.parametrize("make", [strawberry, ariadne, graphene])
@pytest.mark.filterwarnings("ignore")
def test_each_failing_resolver_is_one_event_that_names_it(
    sentry: Sentry, make: Any, integrated: bool
) -> None:
    sentry.init(auto_enabling_integrations=integrated)
    app = SentryMiddleware(make())

    async def ask() -> None:
        for query, operation, fields in (
            ("query Later { later }", "Later", ["later"]),
            ("{ sync }", None, ["sync"]),
            ("query Both { later sync }", "Both", ["later", "sync"]),
            ("{ wrapped }", None, ["wrapped"]),
        ):
            found = await told(sentry, app, "/graphql", {"query": query})
            assert sorted(one.rpc["field"] for one in found) == fields, query
            for one in found:
                assert one.handled
                assert one.types[0] in {"Broken", "GraphQLError"}
                assert one.rpc["system"] == "graphql"
                assert one.rpc.get("operation") == operation
                assert one.transaction.endswith(operation or one.rpc["field"])
        assert await told(sentry, app, "/graphql", {"query": "{ fine }"}) == []

    asyncio.run(ask())


@pytest.mark.parametrize("make", [strawberry, ariadne, graphene])
@pytest.mark.filterwarnings("ignore")
def test_what_the_caller_does_wrong_is_no_failure(
    sentry: Sentry, make: Any, integrated: bool
) -> None:
    """Though the libraries log it as errors, and the SDK's integrations report it."""
    sentry.init(auto_enabling_integrations=integrated)
    app = SentryMiddleware(make())
    variable = "query($x: Int!) { add(x: $x) }"

    async def ask() -> None:
        for said in (
            {"query": "{ fine"},
            {"query": "{ unknown }"},
            {"query": variable, "variables": {"x": "no number"}},
            {"query": "{ add }"},
        ):
            assert await told(sentry, app, "/graphql", said) == [], said

    asyncio.run(ask())


@pytest.mark.parametrize("make", [strawberry, ariadne, graphene])
@pytest.mark.filterwarnings("ignore")
def test_ignoring_errors_means_what_the_resolver_raised(
    sentry: Sentry, make: Any, integrated: bool
) -> None:
    sentry.init(ignore_errors=[Broken], auto_enabling_integrations=integrated)
    app = SentryMiddleware(make())

    async def ask() -> None:
        for query in ("{ later }", "{ sync }", "{ wrapped }"):
            assert await told(sentry, app, "/graphql", {"query": query}) == [], query

    asyncio.run(ask())
